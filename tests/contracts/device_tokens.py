"""The contract of DeviceStore: pairs of tokens, and how one succeeds another (B4.6)."""

from __future__ import annotations

from typing import Optional

from regsys.model import Login, UserID
from regsys.model.token_text import token_hash
from regsys.storage.devices import DeviceStore
from regsys.testing.contracts.case import Contract, login, user
from tests.support.values import TERMS, access_hash, refresh_hash


class DeviceTokensContract(Contract):
    """A DeviceStore."""

    def make(self) -> DeviceStore:
        """An empty store."""
        raise NotImplementedError()

    async def log_in(self, user_id: UserID, pair: Login) -> None:
        """Put the pair's device on this account, which may not be there yet."""
        raise NotImplementedError()

    async def deactivate(self, user_id: UserID) -> None:
        """Deactivate this account, but leave its tokens."""
        raise NotImplementedError()

    async def started(self) -> DeviceStore:
        """A store with one pair of alice's, ``first``."""
        store = self.make()
        await self.log_in(user("alice"), login("first", **TERMS))
        return store

    async def succeed(self, store: DeviceStore, old: str, new: str) -> bool:
        """Let one of alice's pairs succeed another."""
        return await store.succeed(access_hash(old), user("alice"), login(new, **TERMS))

    async def confirm(self, store: DeviceStore, name: str) -> None:
        await store.confirm(access_hash(name))

    async def states(self, store: DeviceStore, *names: str) -> list[Optional[str]]:
        """Each pair's state: ``new``, ``spent`` or ``live``; None if it does not exist."""
        found: list[Optional[str]] = []
        for name in names:
            pair = await store.by_access(access_hash(name))
            if pair is None:
                found.append(None)
            else:
                state = "new" if pair.replaces else "live"
                found.append("spent" if pair.spent else state)
        return found

    # --- Finding -------------------------------------------------------------------------

    async def test_found(self) -> None:
        """A pair is found by either of its tokens, with its terms, even if it has expired."""
        store = await self.started()
        by_access = await store.by_access(access_hash("first"))
        by_refresh = await store.by_refresh(refresh_hash("first"))
        assert by_access is not None
        self.assertEqual(by_access, by_refresh)
        self.assertEqual(by_access.user_id, user("alice"))
        self.assertEqual(by_access.terms, login("first", **TERMS).terms)
        self.assertEqual(by_access.access_hash, access_hash("first"))
        self.assertEqual((by_access.spent, by_access.replaces), (False, None))
        self.assertFalse(by_access.deactivated)

    async def test_notFound(self) -> None:
        """Neither token is taken for the other; unknown ones are not found."""
        store = await self.started()
        for text in ("syr_first", "other"):
            self.assertIsNone(await store.by_access(token_hash(text)))
        for text in ("syt_first", "other"):
            self.assertIsNone(await store.by_refresh(token_hash(text)))

    async def test_withoutRefreshToken(self) -> None:
        """A login may have an access token alone, which never expires."""
        store = self.make()
        await self.log_in(user("alice"), login("only"))
        pair = await store.by_access(access_hash("only"))
        assert pair is not None
        self.assertEqual(pair.terms, login("only").terms)

    async def test_deactivated(self) -> None:
        """A pair says whether its account is deactivated."""
        store = await self.started()
        await self.deactivate(user("alice"))
        pair = await store.by_access(access_hash("first"))
        assert pair is not None
        self.assertTrue(pair.deactivated)

    # --- Succeeding ----------------------------------------------------------------------

    async def test_bothAreGoodUntilOneIsUsed(self) -> None:
        """A pair and its successor exist side by side; the successor names the pair it replaces."""
        store = await self.started()
        self.assertTrue(await self.succeed(store, "first", "second"))
        self.assertEqual(await self.states(store, "first", "second"), ["live", "new"])
        pair = await store.by_access(access_hash("second"))
        assert pair is not None
        self.assertEqual(pair.replaces, access_hash("first"))

    async def test_refreshRepeated(self) -> None:
        """A successor that was never used is replaced by another one."""
        store = await self.started()
        for name in ("second", "third"):
            self.assertTrue(await self.succeed(store, "first", name))
        self.assertEqual(
            await self.states(store, "first", "second", "third"), ["live", None, "new"]
        )
        self.assertIsNone(await store.by_refresh(refresh_hash("second")))

    async def test_usedSuccessorSpendsItsPredecessor(self) -> None:
        """Once the new pair is used the old one is spent: it is found, and has no successor."""
        store = await self.started()
        await self.succeed(store, "first", "second")
        for _ in range(2):
            await self.confirm(store, "second")
            self.assertEqual(await self.states(store, "first", "second"), ["spent", "live"])
        self.assertFalse(await self.succeed(store, "first", "third"))
        self.assertEqual(
            await self.states(store, "first", "second", "third"), ["spent", "live", None]
        )

    async def test_chain(self) -> None:
        """The successor of a successor spends its own predecessor only."""
        store = await self.started()
        await self.succeed(store, "first", "second")
        await self.confirm(store, "second")
        self.assertTrue(await self.succeed(store, "second", "third"))
        await self.confirm(store, "third")
        self.assertEqual(
            await self.states(store, "first", "second", "third"), ["spent", "spent", "live"]
        )

    async def test_nothingToConfirm(self) -> None:
        """Confirming a pair that replaces none, or that is unknown, changes nothing."""
        store = await self.started()
        await self.succeed(store, "first", "second")
        for name in ("first", "unknown"):
            await self.confirm(store, name)
        self.assertEqual(await self.states(store, "first", "second"), ["live", "new"])

    async def test_noPredecessor(self) -> None:
        """An unknown pair, or one whose device has been logged out, has no successor."""
        store = await self.started()
        self.assertFalse(await self.succeed(store, "unknown", "second"))
        await store.log_out(user("alice"), "PHONE")
        self.assertFalse(await self.succeed(store, "first", "second"))
        self.assertEqual(await self.states(store, "first", "second"), [None, None])

    # --- Logging out ---------------------------------------------------------------------

    async def several(self) -> DeviceStore:
        """Alice with two devices, one of them refreshed, and bob with one."""
        store = await self.started()
        await self.succeed(store, "first", "second")
        await self.log_in(user("alice"), login("laptop", "LAPTOP"))
        await self.log_in(user("bob"), login("bobs"))
        return store

    async def test_hasDevice(self) -> None:
        """A device belongs to its user alone, until it is logged out."""
        store = await self.several()
        for name, device_id, has in (
            ("alice", "PHONE", True),
            ("alice", "LAPTOP", True),
            ("alice", "phone", False),
            ("bob", "LAPTOP", False),
            ("nobody", "PHONE", False),
        ):
            found = await store.has_device(user(name), device_id)
            self.assertIs(found, has, (name, device_id))
        await store.log_out(user("alice"), "PHONE")
        self.assertFalse(await store.has_device(user("alice"), "PHONE"))

    async def test_logOutOne(self) -> None:
        """A device is deleted with all of its pairs; others stay. Idempotent."""
        store = await self.several()
        for _ in range(2):
            await store.log_out(user("alice"), "PHONE")
            states = await self.states(store, "first", "second", "laptop", "bobs")
            self.assertEqual(states, [None, None, "live", "live"])

    async def test_logOutAll(self) -> None:
        """All devices of a user are deleted, and no other user's."""
        store = await self.several()
        await store.log_out(user("alice"), None)
        states = await self.states(store, "first", "second", "laptop", "bobs")
        self.assertEqual(states, [None, None, None, "live"])
