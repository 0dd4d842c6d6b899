"""User names that are held for UIA sessions: which session has one, until when, and how many."""

from __future__ import annotations

from collections import Counter
from typing import Any, Optional

import attr
from twisted.trial.unittest import TestCase

from regsys.errors import UsernameHeld
from regsys.model import NewAccount
from regsys.model.uia import HOLD_MS, MOST_HELD, NameHold
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, together
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.values import CLIENT, PLENTY, RECOVERY, session

OVER_MS = NOW_MS + HOLD_MS


class NameHolds(Tables):
    @property
    def store(self) -> SessionStore:
        return SessionStore(self.db)

    async def begin(
        self, session_id: str, name: Optional[str] = "alice", now_ms: int = NOW_MS, **more: Any
    ) -> bool:
        """A new session that names this name."""
        until_ms = None if name is None else now_ms + HOLD_MS
        more = {"expires_ms": OVER_MS * 2, "created_ms": now_ms, **more}
        asking = session(session_id, held_name=name, held_until_ms=until_ms, **more)
        return await self.store.add(asking, PLENTY)

    async def rename(self, session_id: str, name: Optional[str], now_ms: int = NOW_MS) -> bool:
        hold = NameHold(name=name, now_ms=now_ms)
        return await self.store.save(session_id, CLIENT, None, {name or "": True}, hold=hold)

    async def holder(self: Any, name: str = "alice", now_ms: int = NOW_MS) -> Optional[str]:
        found = await self.store.holder_of(name, now_ms)
        rows = await self.rows("SELECT session_id FROM uia_sessions WHERE held_name = ?", name)
        self.assertLessEqual(len(rows), 1)
        return found

    async def test_held(self: Any) -> None:
        """A name is its session's for ten minutes; no other session is stored that names it, and
        one that names another, or none, is."""
        self.assertTrue(await self.begin("one"))
        self.assertTrue(await self.begin("one"))
        with self.assertRaises(UsernameHeld):
            await self.begin("two")
        self.assertIsNone(await self.store.get("two", NOW_MS))
        self.assertTrue(await self.begin("three", "bob"))
        self.assertTrue(await self.begin("four", None))
        self.assertEqual(await self.holder(), "one")
        self.assertEqual(await self.holder(now_ms=OVER_MS - 1), "one")
        self.assertIsNone(await self.holder(now_ms=OVER_MS))

    async def test_overtaken(self: Any) -> None:
        """Of those who want a name whose hold is over one gets it, however many want it at once,
        and the session that had it goes on without."""
        await self.begin("old")
        begun = [self.begin(f"{number}", now_ms=OVER_MS) for number in range(2)]
        answers = await together(begun)
        self.assertEqual(Counter(type(answer) for answer in answers), {bool: 1, UsernameHeld: 1})
        self.assertEqual(await self.holder(now_ms=OVER_MS), str(answers.index(True)))
        old = await self.store.get("old", OVER_MS)
        self.assertEqual((old.held_name, old.held_until_ms), (None, None))
        self.assertFalse(await self.rename("old", "alice", OVER_MS))

    async def test_sixteen(self: Any) -> None:
        """Of sixteen new sessions one has the name, and of sixteen that change to it."""
        answers = await together([self.begin(f"{number}") for number in range(16)])
        self.assertEqual(Counter(type(answer) for answer in answers), {bool: 1, UsernameHeld: 15})
        for number in range(16):
            await self.begin(f"none {number}", None)
        renamed = await together([self.rename(f"none {number}", "bob") for number in range(16)])
        self.assertEqual(Counter(renamed), {True: 1, False: 15})
        self.assertEqual(await self.holder("bob"), f"none {renamed.index(True)}")

    async def test_renamed(self: Any) -> None:
        """A session that changes its name has the new one in place of the old; one that is
        another's it gets not, and what it has done is saved all the same."""
        await self.begin("one")
        await self.begin("two", "bob")
        self.assertTrue(await self.rename("one", "carl", NOW_MS + 1))
        self.assertEqual([await self.holder(name) for name in ("alice", "carl")], [None, "one"])
        self.assertEqual(await self.holder("carl", OVER_MS), "one")
        self.assertFalse(await self.rename("one", "bob"))
        self.assertEqual([await self.holder(name) for name in ("bob", "carl")], ["two", None])
        found = await self.store.get("one", NOW_MS)
        self.assertEqual(found.results, {"carl": True, "bob": True})
        self.assertTrue(await self.rename("two", None))
        self.assertIsNone(await self.holder("bob"))

    async def test_neverLonger(self: Any) -> None:
        """Naming it again lengthens nothing, also when the time is over; other progress changes
        nothing either."""
        await self.begin("one")
        for now_ms in (NOW_MS + 1, OVER_MS - 1, OVER_MS, OVER_MS + 1):
            self.assertTrue(await self.rename("one", "alice", now_ms))
            await self.store.save("one", CLIENT, {}, {"more": True})
        self.assertIsNone(await self.holder(now_ms=OVER_MS))
        self.assertEqual(await self.holder(), "one")

    async def test_most(self: Any) -> None:
        """An address holds so many names, and a /48 eight times as many: further sessions go on
        without. What is over, or elsewhere, is not counted."""
        for number in range(MOST_HELD):
            await self.begin(f"{number}", f"name{number}")
        self.assertTrue(await self.begin("more", "another"))
        self.assertTrue(await self.rename("more", "third"))
        self.assertEqual([await self.holder(name) for name in ("another", "third")], [None, None])
        await self.begin("elsewhere", "another", address="192.0.2.2")
        self.assertEqual(await self.holder("another"), "elsewhere")
        await self.rename("0", None)
        await self.rename("more", "third")
        self.assertEqual(await self.holder("third"), "more")
        await self.begin("later", "later", OVER_MS)
        self.assertEqual(await self.holder("later", OVER_MS), "later")

    async def test_mostOfASite(self: Any) -> None:
        """The networks of a /48 share eight times that bound."""
        for number in range(8 * MOST_HELD + 1):
            of = {"address": f"network {number // 10}", "site": "2001:db8::/48"}
            self.assertTrue(await self.begin(f"{number}", f"name{number}", **of))
        last = f"name{8 * MOST_HELD}"
        self.assertEqual([await self.holder(name) for name in ("name9", last)], ["9", None])

    async def test_account(self: Any) -> None:
        """Nobody else's account gets a name that is held, whatever was checked before, but an
        administrator's does; that of the session itself ends the hold."""
        await self.begin("one")
        await self.begin("two", "bob")
        users, embedded = UserStore(self.db), EmbeddedAccountStore(self.db)
        client = account("other", "alice", yields_to_holds=True)
        for refused in (
            users.create_account(client),
            embedded.claim(attr.evolve(client, key="embedded"), RECOVERY),
        ):
            with self.assertRaises(UsernameHeld):
                await refused
        self.assertEqual(await self.rows("SELECT * FROM outcomes"), [])
        await users.create_account(attr.evolve(client, created_ms=OVER_MS))
        await users.create_account(account("admin", "bob"))
        await self.begin("three", "carl")
        own: NewAccount = account(
            "three", "carl", session_id="three", session_until_ms=OVER_MS, yields_to_holds=True
        )
        await users.create_account(own)
        self.assertIsNone(await self.holder("carl"))
        left = "SELECT session_id FROM uia_sessions WHERE held_until_ms > 0 AND held_name IS NULL"
        self.assertEqual(await self.rows(left), [])
        await self.rename("three", "dora")
        self.assertIsNone(await self.holder("dora"))


class MemoryTests(InMemory, NameHolds, TestCase):
    pass


class FileTests(InFile, NameHolds, TestCase):
    pass


class PostgresTests(OnPostgreSQL, NameHolds, TestCase):
    pass
