"""Jobs and idempotency keys in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from regsys.interfaces.internal import IExpiring
from regsys.model.jobs import NewJob
from regsys.storage import jobs as jobs_module
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.idempotency_keys import KEPT_MS, IdempotencyKeyStore
from regsys.storage.jobs import JobStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account
from tests.contracts.embedded_accounts import EmbeddedAccountStoreContract
from tests.contracts.expiring import ExpiringContract
from tests.contracts.jobs import JobStoreContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables
from tests.support.threads import InThreads
from tests.support.values import LATER_MS, RECOVERY, jobs


class OwnJobs(Tables, JobStoreContract):
    def make(self) -> JobStore:
        return JobStore(self.db)

    async def test_visible(self: Any) -> None:
        """The final error of a job can be seen in its row."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await store.claim({"greet": 1}, NOW_MS, 1)
        await store.postpone("one", NOW_MS + 1, "no luck")
        self.assertEqual(
            await self.rows("SELECT attempts, last_error, created_ms FROM jobs"),
            [(1, "no luck", NOW_MS)],
        )

    async def test_words(self: Any) -> None:
        """A deduplication key is known once it was noted, or a job has had it; from then on no job
        with it is written."""
        store = self.make()
        long = "é" * 3000
        self.assertIs(await store.has_key(long), False)
        for _ in range(2):
            await store.add_key(long)
            self.assertIs(await store.has_key(long), True)
        self.assertIs(await store.has_key("é"), False)
        begun = [NewJob(kind="greet", dedup_key=word) for word in (long, "é")]
        self.assertEqual(list(await store.begin(begun, NOW_MS)), begun[1:])
        self.assertIs(await store.has_key("é"), True)
        # They name users, who may be gone one day, and are never removed.
        stored = await self.rows("SELECT word FROM first_times")
        self.assertEqual({len(word) for (word,) in stored}, {64})


class RetriedInBatches(Tables):
    """Very many jobs are retried some at a time, each time in a transaction of its own."""

    async def test_retryMany(self: Any) -> None:
        """All failed jobs are retried, each once and in any order; the others are unchanged.
        Between two batches the database is free for other calls."""
        self.patch(jobs_module, "RETRIED_AT_ONCE", 3)
        store, names = JobStore(self.db), [f"{number:02}" for number in range(11)]
        await store.add(jobs(*names), NOW_MS)
        failed = [name for name in names if name not in ("00", "03", "04", "05", "10")]
        for number, name in enumerate(reversed(failed)):
            await store.postpone(name, NOW_MS + 1000 + number, "no luck")
        for name in ("00", "03"):  # held
            await self.change("UPDATE jobs SET due_ms = ? WHERE job_id = ?", NOW_MS + 1000, name)
        retrying = Deferred.fromCoroutine(store.retry(None, NOW_MS + 1))
        # This one fails anew during the call, and is not retried once more by it.
        await store.postpone("01", NOW_MS + 2000, "no luck")
        found = []
        for _ in range(3):
            self.assertFalse(retrying.called)
            found.append(await self.due_at(NOW_MS + 1))
            self.db.clock.advance(1)
        while not retrying.called:  # batches of the neighbour's jobs
            self.db.clock.advance(1)
        self.assertEqual(await retrying, len(failed))
        # The first batch also had "01", and the second has no such job.
        self.assertEqual(found, [["02"], ["02"], ["02", "06", "07", "08"]])
        self.assertEqual(await self.due_at(NOW_MS + 1), [*found[-1], "09"])

    async def due_at(self, moment_ms: int) -> list[str]:
        due = await self.rows("SELECT job_id FROM jobs WHERE due_ms = ? ORDER BY 1", moment_ms)
        return [row[0] for row in due]

    async def test_retryNone(self: Any) -> None:
        """If there is no job, there is nothing to wait for."""
        self.assertEqual(await JobStore(self.db).retry(None, NOW_MS), 0)


class OwnIdempotencyKeys(Tables, EmbeddedAccountStoreContract):
    def make(self) -> tuple[EmbeddedAccountStore, SessionStore, JobStore]:
        return EmbeddedAccountStore(self.db), SessionStore(self.db), JobStore(self.db)


class ExpiringIdempotencyKeys(Tables, ExpiringContract):
    """Finished keys, a day later."""

    def make(self) -> IExpiring:
        return IdempotencyKeyStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        new = account(f"{number}", f"user{number}", created_ms=ends_ms - KEPT_MS)
        await UserStore(self.db).create_account(new)

    async def test_unfinishedStays(self: Any) -> None:
        """A key that is under way does not expire: its recovery job will finish it."""
        await EmbeddedAccountStore(self.db).claim(account("key"), RECOVERY)
        self.assertEqual(await self.make().delete_expired(LATER_MS + KEPT_MS, 10), 0)


class MemoryJobTests(InMemory, OwnJobs, TestCase):
    pass


class FileJobTests(InFile, OwnJobs, TestCase):
    pass


class PostgresJobTests(OnPostgreSQL, OwnJobs, TestCase):
    pass


class MemoryIdempotencyKeyTests(InMemory, OwnIdempotencyKeys, TestCase):
    pass


class FileIdempotencyKeyTests(InFile, OwnIdempotencyKeys, TestCase):
    pass


class PostgresIdempotencyKeyTests(OnPostgreSQL, OwnIdempotencyKeys, TestCase):
    pass


class MemoryExpiringTests(InMemory, ExpiringIdempotencyKeys, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringIdempotencyKeys, TestCase):
    pass


class ThreadedJobTests(InThreads, OwnJobs, TestCase):
    """Here the races are real ones."""


class UnusualPlansJobTests(OnPostgreSQLWithUnusualPlans, OwnJobs, TestCase):
    pass


class UnusualPlansExpiringTests(OnPostgreSQLWithUnusualPlans, ExpiringIdempotencyKeys, TestCase):
    pass


class MemoryRetryTests(InMemory, RetriedInBatches, TestCase):
    pass


class PostgresRetryTests(OnPostgreSQL, RetriedInBatches, TestCase):
    pass
