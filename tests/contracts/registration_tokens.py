"""The contract of RegistrationTokenStore: tokens, and their reserved and completed uses."""

from __future__ import annotations

from typing import Any, Optional

import attr

from regsys.errors import InvalidRegistrationToken
from regsys.model import NewAccount
from regsys.model.registration_tokens import RESERVED_MS, RegistrationToken, TokenUse
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.testing.contracts.case import NOW_MS, Contract, together, user
from tests.support.values import NEIGHBOUR, OVER_MS, TOKEN, token, using

CONTENDERS = 8


class RegistrationTokenStoreContract(Contract):
    """A RegistrationTokenStore, with the accounts beside it."""

    def make(self) -> RegistrationTokenStore:
        """A store without any token, but for one that is named NEIGHBOUR."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, which uses ``new.registration_token`` up."""
        raise NotImplementedError()

    async def started(self, **more: Any) -> RegistrationTokenStore:
        """A store with TOKEN."""
        self.store = self.make()
        await self.store.create(token(**more))
        return self.store

    async def listed(
        self, store: RegistrationTokenStore, now_ms: int = NOW_MS
    ) -> list[RegistrationToken]:
        return [item for item in await store.list(now_ms) if item.token != NEIGHBOUR]

    async def uses(self, now_ms: int = NOW_MS, name: str = TOKEN) -> Optional[tuple[int, int]]:
        """The token's pending and completed uses."""
        found = await self.store.get(name, now_ms)
        return None if found is None else (found.pending, found.completed)

    # --- Tokens --------------------------------------------------------------------------

    async def test_created(self) -> None:
        """A token is found as it was created; one that was never created is not found."""
        store = self.make()
        whole = token(
            uses_allowed=3,
            expiry_ms=OVER_MS,
            note="zoë's 🦊",
            creator=str(user("root")),
            revoked=True,
        )
        for made in (whole, token("bare"), token("most", uses_allowed=2**63 - 1)):
            self.assertTrue(await store.create(made))
            self.assertEqual(await store.get(made.token, NOW_MS), made)
        self.assertIsNone(await store.get("Welcome", NOW_MS))

    async def test_createdTwice(self) -> None:
        """A second token of a name is refused, and changes nothing; exactly the same one again, as
        after a lost connection, is stored once."""
        store = await self.started(uses_allowed=3)
        self.assertTrue(await store.create(token(uses_allowed=3)))
        self.assertFalse(await store.create(token(uses_allowed=4)))
        self.assertFalse(await store.create(token(uses_allowed=3, created_ms=NOW_MS + 1)))
        self.assertEqual(await self.listed(store), [token(uses_allowed=3)])

    async def test_listed(self) -> None:
        """All tokens are listed, the oldest first, with their present uses."""
        store = self.make()
        self.assertEqual(await self.listed(store), [])
        for name, created_ms in (("b", NOW_MS), ("c", NOW_MS - 1), ("a", NOW_MS)):
            await store.create(token(name, created_ms=created_ms))
        await store.reserve("b", "session", NOW_MS)
        await self.create_account(using("alice", "c"))
        found = [(item.token, item.pending, item.completed) for item in await self.listed(store)]
        self.assertEqual(found, [("c", 0, 1), ("a", 0, 0), ("b", 1, 0)])
        self.assertEqual([item.pending for item in await self.listed(store, OVER_MS)], [0, 0, 0])

    async def test_pages(self) -> None:
        """Tokens are listed a page at a time, each one once, also if several were created at the
        same moment; so are the accounts that used one."""
        store = await self.started()
        for number in range(4):
            await store.create(token(f"t{number}", created_ms=NOW_MS + number // 3))
            used_ms = NOW_MS + number // 3
            await self.create_account(using(f"u{number}", created_ms=used_ms))
            await self.create_account(using(f"v{number}", f"t{number}", created_ms=used_ms))
        pages, after = [], None
        while page := await store.list(NOW_MS, after, 2):
            pages.append([item.token for item in page if item.token != NEIGHBOUR])
            after = page[-1]
        self.assertEqual(pages, [["t0", "t1"], ["t2", TOKEN], ["t3"]])
        used: list[list[str]] = []
        last: Optional[TokenUse] = None
        while uses := await store.uses(TOKEN, last, 3):
            used.append([use.user_id for use in uses])
            last = uses[-1]
        users = [str(user(f"u{number}")) for number in range(4)]
        self.assertEqual(used, [users[:3], users[3:]])

    async def test_firstUses(self) -> None:
        """The first uses of several tokens are found together, up to a number of each."""
        store = await self.started()
        for name in ("other", "none", "another"):
            await store.create(token(name))
        self.assertEqual(dict(await store.first_uses([], 2)), {})
        for number in range(3):
            moment = NOW_MS + 3 - number
            await self.create_account(using(f"u{number}", created_ms=moment))
        for name in ("other", "another"):
            await self.create_account(using(f"of{name}", name))
        found = await store.first_uses([TOKEN, "other", "none", "gone"], 2)
        self.assertEqual(
            {name: [(use.user_id, use.used_ms) for use in uses] for name, uses in found.items()},
            {
                TOKEN: [(str(user("u2")), NOW_MS + 1), (str(user("u1")), NOW_MS + 2)],
                "other": [(str(user("ofother")), NOW_MS)],
            },
        )

    async def test_changed(self) -> None:
        """The named settings are changed, also to None, and no others; False if it is unknown."""
        store = await self.started(uses_allowed=3, note="old", expiry_ms=OVER_MS)
        expected = token(uses_allowed=3, note="old", expiry_ms=OVER_MS)
        for changes in (
            {"uses_allowed": 5, "revoked": True},
            {"uses_allowed": None, "expiry_ms": None, "note": None},
            {"revoked": False},
            {"expiry_ms": OVER_MS, "note": "new"},
            {},
        ):
            self.assertTrue(await store.change(TOKEN, changes))
            expected = attr.evolve(expected, **changes)
            self.assertEqual(await store.get(TOKEN, NOW_MS), expected, changes)
            self.assertFalse(await store.change("other", changes), changes)

    async def test_deleted(self) -> None:
        """A token is deleted with its reserved uses; a new one of its name has none. The accounts
        that used it are still listed."""
        store = await self.started(uses_allowed=3)
        await store.reserve(TOKEN, "one", NOW_MS)
        await self.create_account(using("two"))
        self.assertTrue(await store.delete(TOKEN))
        self.assertFalse(await store.delete(TOKEN))
        self.assertIsNone(await store.get(TOKEN, NOW_MS))
        await self.refusal(InvalidRegistrationToken, self.create_account(using("one")))
        await store.create(token(uses_allowed=1))
        self.assertEqual(await self.uses(), (0, 0))
        self.assertEqual(await store.uses(TOKEN), [TokenUse(str(user("two")), NOW_MS)])

    # --- Holding a use -------------------------------------------------------------------

    async def test_reserved(self) -> None:
        """As many sessions can reserve a use as there are uses, one each. Idempotent."""
        store = await self.started(uses_allowed=2)
        for name, held in (("one", True), ("one", True), ("two", True), ("three", False)):
            self.assertIs(await store.reserve(TOKEN, name, NOW_MS), held, name)
        self.assertEqual(await self.uses(), (2, 0))

    async def test_reservationEnds(self) -> None:
        """A reservation expires; reserving again before that prolongs it."""
        store = await self.started(uses_allowed=1)
        await store.reserve(TOKEN, "one", NOW_MS)
        await store.reserve(TOKEN, "one", NOW_MS + 10)
        self.assertFalse(await store.reserve(TOKEN, "two", OVER_MS + 9))
        self.assertEqual(await self.uses(OVER_MS + 9), (1, 0))
        self.assertEqual(await self.uses(OVER_MS + 10), (0, 0))
        self.assertTrue(await store.reserve(TOKEN, "two", OVER_MS + 10))
        self.assertFalse(await store.reserve(TOKEN, "one", OVER_MS + 10))

    async def test_anotherToken(self) -> None:
        """A session that reserves another token's use frees its first one, unless it is refused."""
        store = await self.started(uses_allowed=1)
        await store.create(token("other", uses_allowed=1))
        await store.create(token("none", uses_allowed=0))
        await store.reserve(TOKEN, "one", NOW_MS)
        self.assertFalse(await store.reserve("none", "one", NOW_MS))
        self.assertEqual(await self.uses(), (1, 0))
        self.assertTrue(await store.reserve("other", "one", NOW_MS))
        self.assertEqual((await self.uses(), await self.uses(name="other")), ((0, 0), (1, 0)))

    async def test_validity(self) -> None:
        """An unknown, revoked, expired or used-up token can be neither reserved nor used."""
        store = self.make()
        cases: list[tuple[dict[str, Any], bool]] = [
            ({}, True),
            ({"uses_allowed": 1}, True),
            ({"uses_allowed": 0}, False),
            ({"uses_allowed": 5, "completed": 4}, True),
            ({"uses_allowed": 5, "completed": 5}, False),
            ({"completed": 10**9}, True),
            ({"expiry_ms": NOW_MS + 1}, True),
            ({"expiry_ms": NOW_MS}, False),
            ({"revoked": True}, False),
        ]
        for number, (more, good) in enumerate(cases):
            name = f"token{number}"
            await store.create(token(name, **more))
            new = using(f"user{number}", name)
            self.assertIs(await store.reserve(name, f"user{number}", NOW_MS), good, more)
            if good:
                await self.create_account(new)
            else:
                await self.refusal(InvalidRegistrationToken, self.create_account(new))
            found = await store.get(name, NOW_MS)
            assert found is not None
            completed = more.get("completed", 0) + good
            self.assertEqual((found.pending, found.completed), (0, completed), more)
        self.assertFalse(await store.reserve("other", "session", NOW_MS))

    async def test_reservedAtOnce(self) -> None:
        """Of several concurrent sessions as many reserve a use as there are uses."""
        store = await self.started(uses_allowed=3)
        held = await together(
            store.reserve(TOKEN, f"{number}", NOW_MS) for number in range(CONTENDERS)
        )
        self.assertEqual(sorted(map(bool, held)), [False] * (CONTENDERS - 3) + [True] * 3, held)
        self.assertEqual(await self.uses(), (3, 0))

    # --- Using it up ---------------------------------------------------------------------

    async def test_used(self) -> None:
        """A session's reservation becomes its account's use; other reservations stay."""
        store = await self.started(uses_allowed=2)
        for name in ("mine", "other"):
            await store.reserve(TOKEN, name, NOW_MS)
        await self.refusal(InvalidRegistrationToken, self.create_account(using("third")))
        await self.create_account(using("mine", created_ms=NOW_MS + 5))
        self.assertEqual(await self.uses(), (1, 1))
        self.assertEqual(await store.uses(TOKEN), [TokenUse(str(user("mine")), NOW_MS + 5)])
        await self.refusal(InvalidRegistrationToken, self.create_account(using("third")))
        self.assertEqual(await self.uses(), (1, 1))

    async def test_usedOnce(self) -> None:
        """The same account again, under the same key, counts no second use."""
        await self.started()
        for _ in range(2):
            await self.create_account(using("alice"))
        self.assertEqual(await self.uses(), (0, 1))

    async def test_takenAgain(self) -> None:
        """An account whose reservation has expired takes a use, if one is left."""
        store = await self.started(uses_allowed=1)
        for name in ("one", "two"):
            self.assertTrue(await store.reserve(TOKEN, name, NOW_MS - RESERVED_MS))
            await store.change(TOKEN, {"uses_allowed": 2})
        await store.change(TOKEN, {"uses_allowed": 1})
        await self.create_account(using("one"))
        await self.refusal(InvalidRegistrationToken, self.create_account(using("two")))
        self.assertEqual(await self.uses(), (0, 1))

    async def test_endedMeanwhile(self) -> None:
        """A reservation of a revoked token cannot be used, and can again once it is un-revoked."""
        store = await self.started(uses_allowed=1)
        await store.reserve(TOKEN, "one", NOW_MS)
        await store.change(TOKEN, {"revoked": True})
        await self.refusal(InvalidRegistrationToken, self.create_account(using("one")))
        self.assertEqual((await self.uses(), await store.uses(TOKEN)), ((1, 0), []))
        await store.change(TOKEN, {"revoked": False})
        await self.create_account(using("one"))
        self.assertEqual(await self.uses(), (0, 1))

    async def test_usedAtOnce(self) -> None:
        """Of several concurrent accounts as many are created as there are uses."""
        await self.started(uses_allowed=3)
        names = [f"user{number}" for number in range(CONTENDERS)]
        ended = await together(self.create_account(using(name)) for name in names)
        refused = [item for item in ended if isinstance(item, InvalidRegistrationToken)]
        self.assertEqual((len(refused), ended.count(None)), (CONTENDERS - 3, 3), ended)
        self.assertEqual(await self.uses(), (0, 3))
        self.assertEqual(len(await self.store.uses(TOKEN)), 3)
