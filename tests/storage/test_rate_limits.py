"""Limits that several processes share over PostgreSQL."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from regsys import deadlines
from regsys.errors import Unavailable
from regsys.interfaces.internal import IBucketStore, IExpiring
from regsys.limits.shared import CircuitBreaker
from regsys.model.buckets import Bucket
from regsys.storage import rate_limits
from regsys.storage.database import Database
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.rate_limits import GRACE_MS, EmptyBuckets, RateLimitStore
from regsys.wiring.process import _opened
from tests.contracts.expiring import ExpiringContract
from tests.contracts.limits import BucketStoreContract, SharedLimiterContract
from tests.support import postgres
from tests.support.databases import (
    InMemory,
    OnPostgreSQL,
    OnPostgreSQLWithUnusualPlans,
    empty_postgres,
    postgres_database,
)
from tests.support.patience import PATIENCE_S
from tests.support.tables import Tables
from tests.support.threads import InThreads, threaded_database
from tests.support.values import NEIGHBOUR

_MOVE = "UPDATE rate_limits SET empty_us = empty_us - ? WHERE key <> ?"


BUCKET = Bucket("a", 10**8, 2)


def beside(case: TestCase, database: Database) -> RateLimitStore:
    store = RateLimitStore.beside(database, reactor, lambda: _opened(database.dialect))
    case.addCleanup(store.close)
    return store


class Buckets(Tables, BucketStoreContract):
    def make(self) -> IBucketStore:
        return RateLimitStore(self.db)

    async def advance(self, seconds: float) -> None:
        await self.change(_MOVE, round(seconds * 1_000_000), NEIGHBOUR)

    async def kept(self) -> int:
        return len(await self.rows("SELECT key FROM rate_limits"))


class PostgresTests(OnPostgreSQL, Buckets, TestCase):
    pass


class UnusualPlansTests(OnPostgreSQLWithUnusualPlans, Buckets, TestCase):
    pass


class OwnThreadTests(InThreads, Buckets, TestCase):
    """As in the service, over connections of the stores' own."""

    def make(self) -> IBucketStore:
        # Patient, because a decision that takes long on a loaded machine is no failure here.
        self.patch(rate_limits, "DEADLINE_S", PATIENCE_S)
        return beside(self, self.db)


class LimiterTests(OnPostgreSQL, Tables, SharedLimiterContract, TestCase):
    def store(self) -> IBucketStore:
        return RateLimitStore(self.db)

    async def advance(self, seconds: float) -> None:
        await self.change(_MOVE, round(seconds * 1_000_000), NEIGHBOUR)


class ExpiringBuckets(Tables, ExpiringContract):
    def make(self) -> IExpiring:
        return EmptyBuckets(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        await self.change(
            "INSERT INTO rate_limits VALUES (?, ?, ?)",
            f"{number}",
            (ends_ms - GRACE_MS) * 1000,
            False,
        )


class MemoryExpiringTests(InMemory, ExpiringBuckets, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringBuckets, TestCase):
    pass


class StatementTests(TestCase):
    """What a decision costs."""

    def setUp(self) -> None:
        self.args = postgres.dsn(self, log_statements=True)
        self.db = postgres_database(self, None, self.args)

    async def test_oneStatement(self) -> None:
        """Each decision is one statement, whichever it is."""
        store, bucket = RateLimitStore(self.db), Bucket("a", 10**8, 1)
        for asked in (store.peek, store.take, store.take, store.peek, store.give_back):
            with postgres.statement_log(self.args) as statements:
                await asked([bucket])
            self.assertEqual(len(statements), 1, statements)


class AwayTests(TestCase):
    """A table that does not answer, while the database does, or the other way around."""

    def setUp(self) -> None:
        self.args = empty_postgres(self)
        self.db = threaded_database(self, PostgreSQL(self.args), threads=1)
        self.store = beside(self, self.db)

    def locked(self, sql: str) -> Any:
        """A connection with a transaction that has executed this."""
        import psycopg2

        holder = psycopg2.connect(**PostgreSQL(self.args).connect_args())
        self.addCleanup(holder.close)
        holder.cursor().execute(sql)
        return holder

    async def test_locked(self) -> None:
        """A decision that waits for a lock is given up, quietly; the database's other calls go on
        meanwhile, those of the same request included. Afterwards it works again."""
        holder = self.locked("LOCK TABLE rate_limits")
        request = deadlines.for_request(reactor)
        with request, capturedLogs() as events:
            taking = Deferred.fromCoroutine(self.store.take([BUCKET]))
            await self.db.autocommit("test", lambda txn: txn.one("SELECT 1"))
            self.assertFalse(taking.called)
            error = await self.assertFailure(taking, Unavailable)
            left_s = request.left_s(reactor.seconds())
            assert left_s is not None
            self.assertGreater(left_s, deadlines.LAST_CALL_S)
            await self.db.autocommit("test", lambda txn: txn.one("SELECT 1"))
        self.assertIn("no answer within the deadline", str(error.__cause__))
        self.assertEqual([event for event in events if event["log_level"] > LogLevel.info], [])
        holder.rollback()
        self.patch(self.store.db, "_deadline_s", PATIENCE_S)
        self.assertEqual(await self.store.take([BUCKET]), 0)

    async def test_crowded(self) -> None:
        """A pool whose threads are all busy does not hold a decision up."""
        self.patch(self.store.db, "_deadline_s", PATIENCE_S)
        holder = self.locked("LOCK TABLE users")
        waiting = Deferred.fromCoroutine(
            self.db.autocommit("test", lambda txn: txn.one("SELECT COUNT(*) FROM users"))
        )
        self.assertEqual(await self.store.take([BUCKET]), 0)
        self.assertFalse(waiting.called)
        holder.rollback()
        await waiting

    async def test_connectionLost(self) -> None:
        """When the server has closed the connection, the decision is made over another."""
        self.patch(self.store.db, "_deadline_s", PATIENCE_S)
        await self.store.take([BUCKET])
        await self.db.autocommit("test", lambda txn: txn.all(_TERMINATE))
        self.assertEqual(await self.store.take([BUCKET]), 0)
        self.assertGreater(await self.store.take([BUCKET]), 0)

    async def test_tableGone(self) -> None:
        """Without its table there is no decision, and the log of the breaker can say why."""
        self.locked("ALTER TABLE rate_limits RENAME TO gone").commit()
        self.addCleanup(lambda: self.locked("ALTER TABLE gone RENAME TO rate_limits").commit())
        breaker = CircuitBreaker(store=self.store, name="PostgreSQL", seconds=reactor.seconds)
        with capturedLogs() as events:
            await self.assertFailure(Deferred.fromCoroutine(breaker.take([BUCKET])), Unavailable)
        (event,) = (event for event in events if event["log_level"] > LogLevel.info)
        self.assertIn('relation "rate_limits" does not exist', formatEvent(event))

    async def test_close(self) -> None:
        """``close`` closes the connection; a later call opens another."""
        self.patch(self.store.db, "_deadline_s", PATIENCE_S)
        await self.store.take([BUCKET])
        self.store.close()
        while await self.db.autocommit("test", lambda txn: txn.all(_OTHERS)):
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.store.take([BUCKET]), 0)


_OTHERS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TERMINATE = _OTHERS.replace("pid FROM", "pg_terminate_backend(pid) FROM")
