"""Attempts to make an account at the homeserver whose auth service this is."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.errors import UserNotFound
from regsys.model import UserID
from regsys.model.accounts import CLOCKS_APART_MS
from regsys.model.audit import Allowed, AuditFilter
from regsys.model.jobs import NewJob
from regsys.model.provisioning import Attempt
from regsys.storage.audit import AuditStore
from regsys.storage.earlier_accounts import EarlierAccountStore
from regsys.storage.provisioning import ATTEMPT_MS, PROVISION_ACCOUNT, ProvisioningStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, user
from tests.support.databases import InMemory, OnPostgreSQL

ALICE = user("alice")
LATER_MS = NOW_MS + ATTEMPT_MS
JOB = NewJob(kind=PROVISION_ACCOUNT, job_id="a job")


class ProvisioningContract:
    def setUp(self: Any) -> None:
        super().setUp()
        clock = Clock()
        clock.advance(NOW_MS / 1000)
        database = self.database(clock)
        self.users, self.store = UserStore(database), ProvisioningStore(database)
        self.earlier = EarlierAccountStore(database)
        self.audit = AuditStore(database, 1)

    async def born(self: Any) -> Attempt:
        """The attempt with which an account is made."""
        self.new = account("a key", jobs=(JOB,), allowed=Allowed(rule="flow"))
        await self.users.write(self.new)
        return Attempt.first(ALICE, JOB.job_id, self.new.created_ms)

    async def again(self: Any, now_ms: int) -> Optional[Attempt]:
        return await self.store.attempt(ALICE, JOB.job_id, now_ms)  # type: ignore[no-any-return]

    async def test_lease(self: Any) -> None:
        """The account is born with its first attempt; the next begins when its time is over, and
        knows that there was one."""
        first = await self.born()
        self.assertIsNone(await self.again(LATER_MS - 1))
        second = await self.again(LATER_MS)
        self.assertEqual((second.number, second.earlier_ms), (2, first.began_ms))
        self.assertIsNone(await self.again(LATER_MS))
        self.assertIsNone(await self.store.attempt(ALICE, "another job", 2 * LATER_MS))

    async def test_wrongClock(self: Any) -> None:
        """A lease that a wrong clock has made longer than any is over."""
        await self.born()
        self.assertIsNone(await self.again(NOW_MS - CLOCKS_APART_MS))
        self.assertIsNotNone(await self.again(NOW_MS - CLOCKS_APART_MS - 1))

    async def test_released(self: Any) -> None:
        """After an attempt that failed another may begin. What is known of it, that one knows."""
        attempt = await self.born()
        for is_made, is_clear, earlier_ms in (
            (False, True, None),
            (False, False, NOW_MS + 1),
            (False, True, NOW_MS + 1),
            (True, False, NOW_MS + 1),
        ):
            await self.store.release(attempt, is_made, is_clear)
            attempt = await self.again(NOW_MS + 1)
            self.assertEqual((attempt.earlier_ms, attempt.is_made), (earlier_ms, is_made))

    async def test_late(self: Any) -> None:
        """An attempt whose time is over ends nothing that a later one has."""
        first = await self.born()
        second = await self.again(LATER_MS)
        await self.store.release(first, False, True)
        self.assertIsNone(await self.again(LATER_MS))
        self.assertFalse(await self.users.undo(self.new, first, LATER_MS))
        self.assertIsNotNone(await self.users.find("alice"))
        self.assertIsNotNone(await self.store.pending(ALICE))
        self.assertEqual(len(await self.audit.list(AuditFilter(), 9)), 1)
        self.assertTrue(await self.users.undo(self.new, second, LATER_MS))
        self.assertIsNone(await self.users.find("alice"))
        self.assertEqual(await self.audit.list(AuditFilter(), 9), [])

    async def test_earlier(self: Any) -> None:
        """An account that was made without a homeserver is made there once; what cannot be had
        there stays as it was."""
        await self.users.write(account("1"))
        await self.users.write(account("2", "bob", jobs=(JOB,)))
        await self.users.write(account("3", "carol"))
        self.assertEqual(await self.earlier.after(""), (None, [ALICE, user("carol")]))
        self.assertFalse((await self.store.pending(ALICE)).has_begun)
        job = NewJob(kind="go on")
        attempt = await self.earlier.begin(ALICE, job, NOW_MS)
        self.assertEqual(attempt, Attempt.first(ALICE, job.job_id, NOW_MS))
        self.assertIsNone(await self.earlier.begin(ALICE, job, NOW_MS))
        self.assertEqual((await self.store.pending(ALICE)).kind, "go on")
        self.assertEqual(await self.earlier.after(""), (None, [user("carol")]))
        self.assertTrue(await self.earlier.give_up(attempt))
        self.assertFalse(await self.earlier.give_up(attempt))
        self.assertFalse((await self.store.pending(ALICE)).has_begun)
        attempt = await self.earlier.begin(ALICE, job, NOW_MS)
        await self.earlier.lost(ALICE)
        await self.store.complete(ALICE, job.job_id, (), NOW_MS)
        self.assertIsNone(await self.store.pending(ALICE))
        await self.earlier.lost(ALICE)
        self.assertFalse((await self.store.pending(ALICE)).has_begun)
        with self.assertRaises(UserNotFound):
            await self.earlier.begin(UserID("nobody", ALICE.server), job, NOW_MS)
        with self.assertRaises(UserNotFound):
            await self.earlier.find(UserID("nobody", ALICE.server))


class MemoryTests(InMemory, ProvisioningContract, TestCase):
    pass


class PostgresTests(OnPostgreSQL, ProvisioningContract, TestCase):
    pass
