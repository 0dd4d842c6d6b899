"""The contract of SessionStore: UIA sessions, and what they remember."""

from __future__ import annotations

from typing import Any, Optional

import attr

from regsys.model import Client, NewAccount, UIASession
from regsys.storage.sessions import SessionStore
from regsys.testing.contracts.case import NOW_MS, Contract, account, device, together, user
from tests.support.values import CLIENT, END_MS, PLENTY, session

OTHER_CLIENT = Client("192.0.2.2", "another browser")
# All that JSON can say, and characters that a database could stumble over.
PARAMS = {"username": "zoë 🦊 '\"\\%s", "list": [1, -1.5, None, True, {"": ""}], "empty": {}}


class SessionStoreContract(Contract):
    """A SessionStore."""

    def make(self) -> SessionStore:
        """An empty store."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, which finishes the session ``new.session_id``."""
        raise NotImplementedError()

    async def finish(self, session_id: str = "session", until_ms: int = END_MS) -> None:
        new = account(session_id, session_id=session_id, session_until_ms=until_ms)
        await self.create_account(new)

    async def saved(self, store: SessionStore, client: Client = CLIENT, **more: Any) -> UIASession:
        """The session after one more ``save``."""
        params, results = more.get("params"), more.get("results", {})
        await store.save("session", client, params, results)
        found = await store.get("session", NOW_MS)
        assert found is not None
        return found

    # --- Adding and getting --------------------------------------------------------------

    async def test_added(self) -> None:
        """A session is found as it was added, whatever JSON and characters are in it."""
        store = self.make()
        added = session(
            user_id=user("alice"),
            params=PARAMS,
            results={"m.login.dummy": True, "m.login.terms": {"a": "1"}},
            clients=(CLIENT, OTHER_CLIENT),
            password_id="mark",
            hashing_until_ms=END_MS,
            guest_id=user("1"),
        )
        self.assertTrue(await store.add(added, PLENTY))
        self.assertEqual(await store.get("session", NOW_MS), added)

    async def test_unknown(self) -> None:
        """An unknown session is not found."""
        self.assertIsNone(await self.make().get("session", NOW_MS))

    async def test_expired(self) -> None:
        """An expired session is not found."""
        store = self.make()
        await store.add(session(), PLENTY)
        self.assertIsNotNone(await store.get("session", END_MS - 1))
        self.assertIsNone(await store.get("session", END_MS))

    async def test_addedTwice(self) -> None:
        """The same session added again, as after a lost connection, is stored once."""
        store = self.make()
        for _ in range(2):
            self.assertTrue(await store.add(session(), 1))
        self.assertFalse(await store.add(session("other"), 1))

    async def test_cap(self) -> None:
        """An address has a limit of unfinished sessions; other addresses have their own."""
        store = self.make()
        for number in range(2):
            self.assertTrue(await store.add(session(f"{number}"), 2))
        self.assertFalse(await store.add(session("third"), 2))
        self.assertIsNone(await store.get("third", NOW_MS))
        self.assertTrue(await store.add(session("elsewhere", address="192.0.2.2"), 2))

    async def test_capOfASite(self) -> None:
        """The networks of a /48 together have eight times that limit; other sites, and addresses
        without one, have their own."""
        store = self.make()

        def of(number: int, site: str) -> UIASession:
            return session(f"{site} {number}", address=f"{site} {number // 2}", site=site)

        self.assertTrue(await store.add(session("no site"), 2))
        for number in range(16):
            self.assertTrue(await store.add(of(number, "2001:db8::/48"), 2))
        self.assertFalse(await store.add(of(16, "2001:db8::/48"), 2))
        self.assertTrue(await store.add(of(16, "2001:db8:1::/48"), 2))
        self.assertTrue(await store.add(session("no site either"), 2))
        found = await store.get("2001:db8::/48 7", NOW_MS)
        self.assertEqual(found, of(7, "2001:db8::/48"))
        await self.finish("2001:db8::/48 7")
        self.assertTrue(await store.add(of(17, "2001:db8::/48"), 2))
        self.assertFalse(await store.add(of(18, "2001:db8::/48"), 2))

    async def test_capCountsWhatIsOpen(self) -> None:
        """Neither finished sessions nor expired ones count against an address."""
        store = self.make()
        await store.add(session("finished"), 1)
        self.assertFalse(await store.add(session("second"), 1))
        await self.finish("finished")
        self.assertTrue(await store.add(session("second"), 1))
        self.assertTrue(await store.add(session("third", created_ms=END_MS), 1))

    # --- Saving --------------------------------------------------------------------------

    async def test_savedResults(self) -> None:
        """Results are added to what is there; parameters stay, unless they are replaced."""
        store = self.make()
        await store.add(session(params={"username": "alice"}, results={"one": True}), PLENTY)
        found = await self.saved(store, results={"two": PARAMS})
        self.assertEqual(found.results, {"one": True, "two": PARAMS})
        self.assertEqual(found.params, {"username": "alice"})
        found = await self.saved(store, params=PARAMS)
        self.assertEqual(found.params, PARAMS)
        self.assertEqual(found.results, {"one": True, "two": PARAMS})
        self.assertEqual((await self.saved(store, params={})).params, {})

    async def test_savedClients(self) -> None:
        """Every client of the session is kept once, in the order of its first request."""
        store = self.make()
        await store.add(session(), PLENTY)
        for client in (OTHER_CLIENT, CLIENT, OTHER_CLIENT):
            found = await self.saved(store, client)
        self.assertEqual(found.clients, (CLIENT, OTHER_CLIENT))

    async def test_savedAtOnce(self) -> None:
        """Concurrent requests lose none of what they save."""
        store = self.make()
        await store.add(session(), PLENTY)
        stages = {f"stage{number}": number for number in range(6)}
        await together(
            store.save("session", CLIENT, None, {name: value}) for name, value in stages.items()
        )
        found = await store.get("session", NOW_MS)
        assert found is not None
        self.assertEqual(found.results, stages)

    async def test_goneStaysGone(self) -> None:
        """Saving to a session that does not exist creates none."""
        store = self.make()
        await store.save("session", CLIENT, {}, {"one": True})
        await store.keep_hash("session", "mark", "hash")
        self.assertIsNone(await store.get("session", NOW_MS))

    async def test_removed(self) -> None:
        """A session is deleted once, and others stay."""
        store = self.make()
        await store.add(session(), PLENTY)
        await store.add(session("other"), PLENTY)
        told = await together(store.remove("session") for _ in range(3))
        self.assertEqual(sorted(told), [False, False, True])
        self.assertIsNone(await store.get("session", NOW_MS))
        self.assertIsNotNone(await store.get("other", NOW_MS))

    # --- The password's hash, and the end ------------------------------------------------

    async def test_hash(self) -> None:
        """The hash of the session's password is kept until a new password comes; the hash of a
        password that is not the latest is not kept, however late it was made."""
        store = self.make()
        for name in ("session", "another"):
            await store.add(session(name, password_id="first"), PLENTY)

        async def kept() -> Optional[str]:
            return (await self.saved(store)).password_hash

        await store.keep_hash("session", "other", "of no password")
        self.assertIsNone(await kept())
        await store.keep_hash("session", "first", "of the first")
        self.assertEqual(await kept(), "of the first")
        another = await store.get("another", NOW_MS)
        assert another is not None
        self.assertIsNone(another.password_hash)
        await store.save("session", CLIENT, None, {}, password_id="second")
        self.assertIsNone(await kept())
        await store.keep_hash("session", "second", "of the second")
        await store.keep_hash("session", "first", "of the first")
        await store.save("session", CLIENT, None, {"passed": True})
        self.assertEqual(await kept(), "of the second")
        await store.save("session", CLIENT, None, {}, password_id="second")
        self.assertEqual(await kept(), "of the second")

    async def test_hashing(self) -> None:
        """Each new password has a time until which its hash may be computed; it is cleared once the
        hash is kept or given up. Other sessions stay as they are."""
        store = self.make()
        await store.add(session(password_id="first", hashing_until_ms=1), PLENTY)
        await store.add(session("neighbour", password_id="theirs", hashing_until_ms=7), PLENTY)

        async def until_ms() -> Optional[int]:
            neighbour = await store.get("neighbour", NOW_MS)
            assert neighbour is not None
            self.assertEqual((neighbour.hashing_until_ms, neighbour.password_hash), (7, None))
            return (await self.saved(store)).hashing_until_ms

        self.assertEqual(await until_ms(), 1)
        await store.save("session", CLIENT, None, {}, "second", hashing_until_ms=2)
        self.assertEqual(await until_ms(), 2)
        await store.keep_hash("session", "first", "late")
        await store.give_up_hashes({"session": "first"})
        await store.give_up_hashes({})
        self.assertEqual(await until_ms(), 2)
        await store.keep_hash("session", "second", "hash")
        self.assertIsNone(await until_ms())
        await store.save("session", CLIENT, None, {}, "second", hashing_until_ms=2)
        self.assertIsNone(await until_ms())
        await store.save("session", CLIENT, None, {}, "third", hashing_until_ms=3)
        self.assertEqual(await until_ms(), 3)
        await store.give_up_hashes({"session": "third", "gone": "fourth"})
        self.assertIsNone(await until_ms())
        await store.save("session", CLIENT, None, {}, "fifth", hashing_until_ms=None)
        self.assertIsNone(await until_ms())

    async def test_guest(self) -> None:
        """The guest whose token was sent last is remembered."""
        store = self.make()
        await store.add(session(), PLENTY)
        await store.add(session("neighbour"), PLENTY)
        self.assertIsNone((await self.saved(store)).guest_id)
        for guest in (user("1"), user("2")):
            await store.save("session", CLIENT, None, {}, guest_id=guest)
            self.assertEqual((await self.saved(store)).guest_id, guest)
        neighbour = await store.get("neighbour", NOW_MS)
        assert neighbour is not None
        self.assertIsNone(neighbour.guest_id)

    async def test_finished(self) -> None:
        """A finished session has its outcome, until its new expiry."""
        store = self.make()
        await store.add(session(), PLENTY)
        made = device("token")
        await self.create_account(
            account("session", session_id="session", session_until_ms=END_MS + 5, device=made)
        )
        found = await store.get("session", END_MS + 4)
        assert found is not None and found.outcome is not None
        self.assertEqual(found.outcome.user_id, user("alice"))
        self.assertTrue(found.outcome.finished)
        self.assertIsNone(await store.get("session", END_MS + 5))

    async def test_endReplays(self) -> None:
        """A deleted device ends the session that has registered it. Other users' sessions, those
        without a login and those without an account yet stay."""
        store = self.make()
        made = {"alice": "PHONE", "bob": "PHONE", "carl": "LAPTOP", "dora": None}
        await store.add(session("open", user_id=user("alice")), PLENTY)
        for name, device_id in made.items():
            await store.add(session(name), PLENTY)
            new = account(name, name, session_id=name, session_until_ms=END_MS)
            if device_id is not None:
                new = attr.evolve(new, device=device(name, device_id))
            await self.create_account(new)

        async def left() -> set[str]:
            names = ("open", *made)
            return {name for name in names if await store.get(name, NOW_MS) is not None}

        for name, device_id, gone in (
            ("alice", "LAPTOP", set()),
            ("alice", "PHONE", {"alice"}),
            ("alice", "PHONE", {"alice"}),
            ("carl", None, {"alice", "carl"}),
            ("dora", None, {"alice", "carl"}),
        ):
            await store.end_replays(user(name), device_id)
            self.assertEqual(await left(), {"open", *made} - gone, (name, device_id))

    async def test_noHashForAFinishedSession(self) -> None:
        """A hash for a finished session is not kept."""
        store = self.make()
        await store.add(session(password_id="mark"), PLENTY)
        await self.finish()
        await store.keep_hash("session", "mark", "late")
        found = await store.get("session", NOW_MS)
        assert found is not None
        self.assertIsNone(found.password_hash)
