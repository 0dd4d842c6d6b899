"""The audit log's rows: what is found, counted, erased and deleted."""

from __future__ import annotations

from typing import Any, Sequence

import attr
from twisted.trial.unittest import TestCase

from regsys.errors import UsernameTaken
from regsys.interfaces.internal import IExpiring
from regsys.model.audit import Allowed, AuditEntry, AuditFilter
from regsys.model.jobs import NewJob
from regsys.storage.audit import SOMEBODY_ERASED, AuditStore
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, user
from tests.contracts.expiring import ExpiringContract
from tests.support.databases import (
    InFile,
    InMemory,
    OnPostgreSQL,
    OnPostgreSQLWithUnusualPlans,
)
from tests.support.tables import Tables

ALICE, BOB, ADMIN = (str(user(name)) for name in ("alice", "bob", "admin"))
WHY = Allowed(rule="flow", address="192.0.2.0/24", details={"stages": ["m.login.dummy"]})


def entry(when_ms: int = NOW_MS, what: str = "changed", **more: Any) -> AuditEntry:
    return AuditEntry(when_ms=when_ms, what=what, **more)


class AuditTests(Tables, ExpiringContract):
    def store(self) -> AuditStore:
        return AuditStore(self.db, 1000)

    def make(self) -> IExpiring:
        return self.store()

    async def add(self, number: int, ends_ms: int) -> None:
        await self.store().add([entry(ends_ms - 1000, what=f"row {number}")])

    async def found(self, at_most: int = 9, **wanted: Any) -> Sequence[AuditEntry]:
        listed = await self.store().list(AuditFilter(**wanted), at_most + 1)
        # Without the neighbour's.
        return [item for item in listed if item.when_ms < 2**52][:at_most]

    async def test_account(self: Any) -> None:
        """An account's entry is written with it, once; of one that is refused there is none, and
        without a reason there is none either."""
        users = UserStore(self.db)
        made = account("key", "alice", allowed=WHY)
        for _ in range(2):
            await users.create_account(made)
        await users.create_account(account("other", "carol"))
        with self.assertRaises(UsernameTaken):
            await users.create_account(account("third", "alice", allowed=WHY))
        (row,) = await self.found()
        self.assertEqual((row.what, row.user_id, row.by), ("registered", ALICE, None))
        self.assertEqual((row.when_ms, row.rule, row.address), (NOW_MS, WHY.rule, WHY.address))
        self.assertEqual((row.details, row.times), (WHY.details, 1))
        self.assertNotIn("key", row.entry_id)

    async def test_embeddedAccount(self: Any) -> None:
        """In an embedder's store: once the account is complete."""
        store, made = EmbeddedAccountStore(self.db), account("key", "alice", allowed=WHY)
        await store.claim(made, NewJob(kind="recover", job_id="recovery"))
        self.assertEqual(await self.found(), [])
        for _ in range(2):
            await store.complete(made, "recovery")
        self.assertEqual([row.user_id for row in await self.found()], [ALICE])

    async def test_list(self: Any) -> None:
        """The newest come first, at most so many; each filter finds its own, several all of them
        together."""
        rows = [
            entry(1, user_id=ALICE, by="cli", rule="stage m.login.dummy", address="192.0.2.1"),
            entry(2, user_id=BOB, by=ADMIN, rule="stage", address="192.0.2.2"),
            entry(3, "refused", rule="stages", address="192.0.2.2"),
        ]
        await self.store().add(rows)
        self.assertEqual(await self.found(), rows[::-1])
        self.assertEqual(await self.found(2), [rows[2], rows[1]])
        for wanted, expected in (
            ({"user_id": ALICE}, [0]),
            ({"by": ADMIN}, [1]),
            ({"what": "refused"}, [2]),
            ({"rule": "stage"}, [1, 0]),
            ({"rule": "stage m.login.dummy"}, [0]),
            ({"rule": "sta_e"}, []),
            ({"addresses": ("192.0.2.2", "x")}, [2, 1]),
            ({"since_ms": 2}, [2, 1]),
            ({"until_ms": 2}, [0]),
            ({"since_ms": 2, "addresses": ("192.0.2.2",), "by": ADMIN}, [1]),
            ({"user_id": ALICE, "by": ADMIN}, []),
        ):
            self.assertEqual(await self.found(**wanted), [rows[n] for n in expected], wanted)

    async def test_counts(self: Any) -> None:
        """An entry that is written again has the later count, and nothing else of it changes."""
        first = entry(rule="rate-limit", times=2)
        again = attr.evolve(first, times=5, rule="other", when_ms=NOW_MS + 1)
        await self.store().add([first, entry(1)])
        await self.store().add([again, entry(2)])
        self.assertEqual((await self.found())[0], attr.evolve(first, times=5))
        self.assertEqual(len(await self.found()), 3)
        await self.store().add([])

    async def test_erase(self: Any) -> None:
        """The entries about a person go; in those about others their name goes, and where they were
        then; the entry that says so stays. Others' entries are as before."""
        about = [entry(1, user_id=ALICE), entry(2, user_id=ALICE, by=ADMIN)]
        by = entry(3, user_id=BOB, by=ALICE, address="192.0.2.0/24")
        others = entry(4, user_id=BOB, by=ADMIN, address="192.0.2.0/24")
        await self.store().add([*about, by, others])
        done = entry(5, "erased", by="cli")
        for _ in range(2):
            await self.store().erase(user("alice"), [done])
        anonymous = attr.evolve(by, by=SOMEBODY_ERASED, address=None)
        self.assertEqual(await self.found(), [done, others, anonymous])


class MemoryTests(InMemory, AuditTests, TestCase):
    pass


class FileTests(InFile, AuditTests, TestCase):
    pass


class PostgreSQLTests(OnPostgreSQL, AuditTests, TestCase):
    pass


class UnusualPlansTests(OnPostgreSQLWithUnusualPlans, AuditTests, TestCase):
    pass
