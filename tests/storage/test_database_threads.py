"""The database layer on real threads: a stalled call is cut off, and the next call works again."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any, Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from regsys.errors import Unavailable
from regsys.storage.database import Database, Transaction
from regsys.storage.migrations import migrate
from regsys.storage.pool import IDLE_S
from regsys.storage.postgresql import SILENCE_S, PostgreSQL
from regsys.storage.sqlite import SQLite
from tests.support import postgres
from tests.support.threads import migrated, proxied, threaded_database

DEADLINE_S = 0.4
# Allowance for a slow machine; nothing waits for it where all is well. With it, a deadline is still
# shorter than the one that calls have otherwise.
GRACE_S = 9.0
# The same for a call that must end long before the deadline.
SLOW_S = 4.0
TEN = 10


def add(txn: Transaction) -> None:
    txn.insert("secrets", name="one", value="x")


def names(txn: Transaction) -> list[str]:
    return [name for (name,) in txn.all("SELECT name FROM secrets ORDER BY name")]


class ThreadCase(TestCase):
    """``self.db`` has one thread, so that a call which holds it up holds up all calls."""

    db: Database

    @property
    def patient(self) -> Database:
        """The same with a deadline for a slow machine."""
        return Database(self.db.pool, self.db.dialect, reactor)

    async def refused(self, call: Any) -> None:
        """It must be refused by its deadline."""
        started = time.monotonic()
        with capturedLogs():
            await self.assertFailure(Deferred.fromCoroutine(call), Unavailable)
        self.assertLess(time.monotonic() - started, DEADLINE_S + GRACE_S)

    async def assertWorks(self, *expected: str) -> None:
        """This is there, and a row can be added, in the same thread."""
        db = self.patient
        self.assertEqual(await db.autocommit("names", names), list(expected))
        await db.transaction("add", add)
        self.assertEqual(await db.autocommit("names", names), ["one"])


class PostgreSQLTests(ThreadCase):
    def setUp(self) -> None:
        args = {"options": "-c statement_timeout=1s", "connect_timeout": 2}
        self.dialect = PostgreSQL({**migrated(self).args, **args})
        self.db = threaded_database(self, self.dialect, 1, DEADLINE_S)

    def execute(self, sql: str) -> None:
        """Do something from outside."""
        postgres.shared().execute(sql)

    async def test_stalledStatement(self) -> None:
        """A statement that takes too long is cut off with its transaction. The server, which is not
        told, ends it some time later: its rows do not stay locked."""

        def stall(txn: Transaction) -> None:
            add(txn)
            txn.one("SELECT pg_sleep(600)")

        await self.refused(self.db.transaction("stall", stall))
        await self.assertWorks()

    async def test_stalledConnection(self) -> None:
        """A stalled server, in a read or at a commit, is cut off alike."""
        proxy, args = proxied(self, self.dialect.args)
        self.db = threaded_database(self, PostgreSQL(args), 1, DEADLINE_S)
        await self.patient.autocommit("names", names)

        def stall(txn: Transaction) -> None:
            add(txn)
            proxy.is_stalled = True

        for call in (self.db.transaction("stall", stall), self.db.autocommit("names", names)):
            await self.refused(call)
            self.assertTrue(proxy.is_stalled)
        proxy.is_stalled = False
        await self.assertWorks()

    async def test_stalledAtConnecting(self) -> None:
        """So is one that stalls from the beginning; calls that came meanwhile have ended."""
        proxy, args = proxied(self, self.dialect.args)
        proxy.is_stalled = True
        self.db = threaded_database(self, PostgreSQL(args), 1, DEADLINE_S)
        begun: list[str] = []
        await self.refused(self.db.autocommit("first", names))
        await self.refused(self.db.autocommit("second", lambda txn: begun.append("second")))
        proxy.is_stalled = False
        await self.assertWorks()
        self.assertEqual(begun, [])

    async def test_exhausted(self) -> None:
        """If all threads are busy a call ends by its deadline too, and never begins later."""
        busy, begun = threading.Event(), threading.Event()
        first = Deferred.fromCoroutine(self.db.autocommit("busy", lambda txn: busy.wait(60)))
        await self.refused(self.db.transaction("second", lambda txn: begun.set()))
        with capturedLogs():
            await self.assertFailure(first, Unavailable)
        busy.set()
        await self.assertWorks()
        self.assertFalse(begun.is_set())

    async def test_terminated(self) -> None:
        """If a session is ended in the middle of a transaction, the transaction is run again in a
        new one."""
        sessions = []

        def body(txn: Transaction) -> None:
            add(txn)
            (session,) = txn.one("SELECT pg_backend_pid()") or ()
            sessions.append(session)
            if len(sessions) == 1:
                self.execute(f"SELECT pg_terminate_backend({session})")

        await self.patient.transaction("add", body)
        self.assertEqual(len(set(sessions)), 2)
        await self.assertWorks("one")

    async def test_terminatedWhileIdle(self) -> None:
        """Idle sessions that were ended are replaced without an error."""
        self.db = threaded_database(self, self.dialect, 4)
        calls = [Deferred.fromCoroutine(self.db.autocommit("names", names)) for _ in range(8)]
        for call in calls:
            await call
        name = self.dialect.args["dbname"]
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        for call in [Deferred.fromCoroutine(self.db.transaction("add", add)) for _ in range(8)]:
            await call
        await self.assertWorks("one")

    async def test_readOnly(self) -> None:
        """While the database is read-only writes fail; when it is not, they work again."""
        name = self.dialect.args["dbname"]
        self.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await self.refused(self.db.transaction("add", add))
        self.assertEqual(await self.patient.autocommit("names", names), [])
        self.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await self.assertWorks()

    async def test_nowhere(self) -> None:
        """If no server is found, the error comes soon."""
        self.db = threaded_database(self, PostgreSQL({"host": "/nowhere"}), 1, DEADLINE_S)
        await self.refused(self.db.autocommit("names", names))


class ForgottenTests(TestCase):
    """A pool of ten whose connections a firewall has forgotten, or a server has closed."""

    async def setUp(self) -> None:
        self.args = migrated(self).args
        self.proxy, args = proxied(self, self.args)
        dialect = PostgreSQL(args)
        self.db = threaded_database(self, dialect, TEN)
        self.pair_result = threading.Barrier(TEN)
        await self.fill()

    def begin(self, seconds: float = 0.0) -> Deferred[Any]:
        """A read that takes so long in the database."""
        read = lambda txn: txn.one("SELECT 1 FROM pg_sleep(?)", (seconds,))  # noqa: E731
        return Deferred.fromCoroutine(self.db.autocommit("ask", read))

    async def fill(self) -> None:
        """Each thread has a connection, and has used it just now."""

        def read(txn: Transaction) -> Any:
            self.pair_result.wait(GRACE_S)
            return txn.one("SELECT 1")

        for call in [Deferred.fromCoroutine(self.db.autocommit("ask", read)) for _ in range(TEN)]:
            await call
        self.proxy.made = 0

    async def rest(self) -> None:
        """Nothing is called for so long that connections count as idle."""
        await deferLater(reactor, IDLE_S + 0.05)

    async def assertSoon(self) -> None:
        """The next call, and ten more after it, are answered, and no deadline passes."""
        started = time.monotonic()
        self.assertEqual(await self.begin(), (1,))
        for call in [self.begin() for _ in range(TEN)]:
            self.assertEqual(await call, (1,))
        self.assertLess(time.monotonic() - started, SILENCE_S + SLOW_S)

    def connect(self) -> Any:
        """A cursor that does not go through the proxy."""
        import psycopg2

        connection = psycopg2.connect(**self.args)
        self.addCleanup(connection.close)
        connection.autocommit = True
        return connection.cursor()

    async def test_forgotten(self) -> None:
        """The first call finds out by a probe, and all the others need not."""
        self.proxy.forget()
        await self.rest()
        await self.assertSoon()
        self.assertLessEqual(self.proxy.made, TEN)

    async def test_usedJustNow(self) -> None:
        """A single call, on a connection that was used just now and is not probed therefore, is
        freed as well: another connection is probed on its behalf."""
        self.proxy.forget()
        await self.assertSoon()

    async def test_callsUnderWay(self) -> None:
        """A call that waits on a forgotten connection already is freed when another proves dead."""
        # None of them is idle, so that none is probed before its use.
        self.proxy.forget()
        waiting = [self.begin() for _ in range(TEN - 1)]
        await self.rest()
        started = time.monotonic()
        self.assertEqual(await self.begin(), (1,))
        for call in waiting:
            self.assertEqual(await call, (1,))
        self.assertLess(time.monotonic() - started, SILENCE_S + SLOW_S)

    async def test_slow(self) -> None:
        """A connection that the server closes does not lead to closing connections in use."""
        slow = self.begin(0.5)
        cursor = self.connect()
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while cursor.execute(sleeping) or cursor.fetchone() is None:
            await deferLater(reactor, 0.01)
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        )
        await self.assertSoon()
        self.assertEqual(await slow, (1,))
        self.assertLessEqual(self.proxy.made, TEN - 1)

    async def test_idle(self) -> None:
        """Connections that were only idle are kept."""
        await self.rest()
        await self.assertSoon()
        self.assertEqual(self.proxy.made, 0)

    async def test_stalledServer(self) -> None:
        """While a server is stopped no thread is held for long at connecting: when it goes on, the
        next call is answered soon."""
        self.proxy.is_stalled = True
        await self.rest()
        with capturedLogs():
            hurried = Database(self.db.pool, self.db.dialect, reactor, deadline_s=2.5)
            calls = [hurried.autocommit("ask", names) for _ in range(2 * TEN)]
            for call in [Deferred.fromCoroutine(call) for call in calls]:
                await self.assertFailure(call, Unavailable)
        self.proxy.is_stalled = False
        await self.assertSoon()


class SQLiteTests(ThreadCase):
    def setUp(self) -> None:
        self.dialect = SQLite(self.mktemp())
        self.other = sqlite3.connect(**self.dialect.connect_args())
        self.addCleanup(self.other.close)
        self.dialect.opened(self.other)
        migrate(self.other, self.dialect)
        self.db = threaded_database(self, self.dialect, 1, DEADLINE_S)

    def test_oneThread(self) -> None:
        """There is one thread, whatever was asked for: SQLite has one writer at a time."""
        pool = threaded_database(self, self.dialect, 4).pool
        self.assertEqual((pool.min, pool.max), (1, 1))

    async def test_locked(self) -> None:
        """While another process writes, writes fail, and afterwards they work; a refused call is
        not done after all."""
        self.other.execute("BEGIN IMMEDIATE")
        await self.refused(
            self.db.transaction("add", lambda txn: txn.insert("secrets", name="late", value="x"))
        )
        self.other.execute("COMMIT")
        await self.assertWorks()

    async def test_stalledStatement(self) -> None:
        """A statement that takes too long is cut off with its transaction."""
        endless = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT COUNT(*) FROM n"
        )

        def stall(txn: Transaction) -> None:
            add(txn)
            txn.one(endless)

        await self.refused(self.db.transaction("stall", stall))
        await self.assertWorks()

    async def test_readOnly(self) -> None:
        """While the database is read-only writes fail; when it is not, they work again."""
        await self.patient.autocommit("off", lambda txn: txn.run("PRAGMA query_only = ON"))
        await self.refused(self.db.transaction("add", add))
        self.assertEqual(await self.patient.autocommit("names", names), [])
        await self.patient.autocommit("on", lambda txn: txn.run("PRAGMA query_only = OFF"))
        await self.assertWorks()

    async def test_full(self) -> None:
        """While the disk is full writes fail; when there is room, they work again."""
        blob = lambda txn: txn.run("INSERT INTO secrets VALUES ('b', hex(zeroblob(1000000)))")  # noqa: E731

        def pages(number: int) -> Callable[[Transaction], Any]:
            return lambda txn: txn.one(f"PRAGMA max_page_count = {number}")

        await self.patient.autocommit("less", pages(1))
        await self.refused(self.db.transaction("add", blob))
        await self.patient.autocommit("more", pages(1_000_000))
        await self.assertWorks()
