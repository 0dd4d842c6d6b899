"""The layer over the database's threads: transactions, retries and deadlines."""

from __future__ import annotations

import os
import sqlite3
from typing import Any, Callable, Optional, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys import deadlines
from regsys.errors import Unavailable, UsernameTaken
from regsys.http.serving import InFlight
from regsys.storage.database import ATTEMPTS, DEADLINE_S, Database, Transaction
from regsys.storage.sqlite import SQLite
from regsys.testing.database import InlinePool
from tests.support.databases import HeldPool

INSERT = "INSERT INTO things VALUES (?)"


class Cursor(sqlite3.Cursor):
    """Records what it executes; ``Connection.script`` maps statements to what they raise."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        self.connection.executed.append(sql)
        error = self.connection.script.get(sql)
        if error is not None:
            raise error
        return super().execute(sql, values)


class Connection(sqlite3.Connection):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.executed: list[str] = []
        self.script: dict[str, Exception] = {}
        self.is_closed = False

    def cursor(self) -> Any:
        return super().cursor(Cursor)

    def close(self) -> None:
        self.is_closed = True
        super().close()


class DatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.clock = Clock()
        self.observed: list[tuple[str, float]] = []
        self.pool = InlinePool(self.connect)
        self.addCleanup(self.pool.close)
        self.connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY)")
        self.db = self.database(self.pool)

    def connect(self) -> Connection:
        args = {**SQLite(self.path).connect_args(), "timeout": 0}
        return sqlite3.connect(**args, factory=Connection)

    def database(self, pool: Any) -> Database:
        observe = lambda name, seconds: self.observed.append((name, seconds))  # noqa: E731
        return Database(pool, SQLite(self.path), self.clock, observe=observe)

    @property
    def connection(self) -> Connection:
        assert isinstance(self.pool.connection, Connection)
        return self.pool.connection

    def start(self, work: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(work)

    def wait(self, work: Any) -> Any:
        return self.successResultOf(self.start(work))

    def refusal(self, work: Any) -> Unavailable:
        with capturedLogs():
            return self.failureResultOf(self.start(work), Unavailable).value

    def things(self) -> list[str]:
        return [name for (name,) in self.connection.execute("SELECT name FROM things")]

    def fails(self, error: Optional[Exception], times: int) -> Callable[[Transaction], int]:
        """A body that adds ``one``, and fails so many times before it succeeds."""
        self.tries = 0

        def body(txn: Transaction) -> int:
            self.tries += 1
            txn.run(INSERT, ("one",))
            if self.tries <= times and error is not None:
                raise error
            return self.tries

        return body

    # --- One run -------------------------------------------------------------------------

    def test_written(self) -> None:
        """A write is one transaction around the body, and returns once that is committed."""
        self.assertEqual(self.wait(self.db.transaction("add", self.fails(None, 0))), 1)
        self.assertEqual(self.connection.executed, ["BEGIN IMMEDIATE", INSERT, "COMMIT"])
        self.assertEqual(self.things(), ["one"])

    def test_read(self) -> None:
        """A read is the statements of the body, and nothing around them; the values reach the
        body."""
        sql = "SELECT ? || ?"
        body = lambda txn, *values: (txn.one(sql, values), txn.all(sql, values))  # noqa: E731
        self.assertEqual(self.wait(self.db.autocommit("ask", body, "a", "b")), (("ab",), [("ab",)]))
        self.assertEqual(self.connection.executed, [sql, sql])

    def test_insert(self) -> None:
        """The result says whether a row was inserted; an existing row is unchanged."""
        insert = lambda txn: txn.insert("things", name="one")  # noqa: E731
        self.assertEqual(
            [self.wait(self.db.transaction("add", insert)) for _ in range(2)], [True, False]
        )

    def test_refused(self) -> None:
        """An exception of the body itself is raised unchanged, once, and nothing is kept."""
        for error in (UsernameTaken(), ValueError("a bug"), sqlite3.OperationalError("no such x")):
            failed = self.start(self.db.transaction("add", self.fails(error, 9)))
            self.assertIs(self.failureResultOf(failed).value, error)
            self.assertEqual((self.tries, self.things()), (1, []))
            self.assertFalse(self.connection.in_transaction)

    def test_observed(self) -> None:
        """The duration of each call, its retries included, is reported under the call's name."""
        locked = sqlite3.OperationalError("database is locked")
        written = self.start(self.db.transaction("add", self.fails(locked, 1)))
        self.clock.advance(0.02)
        self.successResultOf(written)
        self.assertEqual(self.observed, [("add", 0.02)])

    # --- Retries -------------------------------------------------------------------------

    def test_retried(self) -> None:
        """A lost race is retried, from the start, after a random pause that may be longer each
        time; only the last try is kept."""
        locked = sqlite3.OperationalError("database is locked")
        written = self.start(self.db.transaction("add", self.fails(locked, ATTEMPTS - 1)))
        pauses = []
        for attempt in range(ATTEMPTS - 1):
            self.assertEqual(self.tries, attempt + 1)
            self.assertNoResult(written)
            (timer,) = self.clock.getDelayedCalls()
            pauses.append(timer.getTime() - self.clock.seconds())
            self.assertTrue(0 <= pauses[-1] < 0.01 * 2**attempt, pauses)
            self.clock.advance(pauses[-1])
        self.assertEqual(self.successResultOf(written), ATTEMPTS)
        self.assertGreater(len(set(pauses)), 1)
        self.assertEqual(self.things(), ["one"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_givenUp(self) -> None:
        """After so many tries the call fails, at once, with a hint when to retry."""
        locked = sqlite3.OperationalError("database is locked")
        with capturedLogs() as logs:
            written = self.start(self.db.transaction("add", self.fails(locked, 99)))
            while self.tries < ATTEMPTS:
                self.clock.advance(0.01)
            refusal = self.failureResultOf(written, Unavailable).value
        self.assertEqual(refusal.status, 503)
        self.assertGreater(refusal.retry_after_ms or 0, 0)
        self.assertEqual((self.things(), self.observed), ([], []))
        (event,) = [event for event in logs if event["log_level"] is LogLevel.error]
        self.assertEqual(event["name"], "add")
        self.assertEqual(
            event["cause"],
            f"database is locked (the SQLite file {self.path}): another program is using it",
        )

    def test_down(self) -> None:
        """An error that a retry cannot mend is not retried."""
        full = sqlite3.OperationalError("database or disk is full")
        self.refusal(self.db.transaction("add", self.fails(full, 99)))
        self.assertEqual((self.tries, self.things()), (1, []))

    def test_commitFails(self) -> None:
        """A commit that fails leaves nothing, and the connection can be used for the next call."""
        self.connection.script["COMMIT"] = sqlite3.OperationalError("disk I/O error")
        self.refusal(self.db.transaction("add", self.fails(None, 0)))
        self.assertEqual(self.things(), [])
        self.connection.script.clear()
        self.wait(self.db.transaction("add", self.fails(None, 0)))
        self.assertEqual(self.things(), ["one"])

    def test_rollbackFails(self) -> None:
        """A connection that cannot even roll back is closed, and its transaction is undone."""
        broken = self.connection
        for sql in ("COMMIT", "ROLLBACK"):
            broken.script[sql] = sqlite3.OperationalError("disk I/O error")
        self.refusal(self.db.transaction("add", self.fails(None, 0)))
        self.assertTrue(broken.is_closed)
        self.wait(self.db.transaction("add", self.fails(None, 0)))
        self.assertIsNot(self.connection, broken)
        self.assertEqual(self.things(), ["one"])

    def test_notReachable(self) -> None:
        """A database that cannot be connected to is unavailable, and used again when it is back."""
        self.pool.close()
        path, self.path = self.path, self.mktemp() + "/nowhere"
        self.refusal(self.db.autocommit("ask", lambda txn: txn.one("SELECT 1")))
        self.path = path
        self.assertEqual(
            self.wait(self.db.autocommit("ask", lambda txn: txn.one("SELECT 1"))), (1,)
        )

    # --- Deadlines -----------------------------------------------------------------------

    def test_noThread(self) -> None:
        """A call that gets no thread ends at its deadline, and never begins after that."""
        pool = HeldPool(self.pool)
        db = self.database(pool)
        written = self.start(db.transaction("add", self.fails(None, 0)))
        self.clock.advance(DEADLINE_S - 0.001)
        self.assertNoResult(written)
        self.clock.advance(0.002)
        self.failureResultOf(written, Unavailable)
        self.connection.executed.clear()
        pool.run()
        self.assertEqual((self.tries, self.connection.executed), (0, []))

    def test_givenUpWithoutConnecting(self) -> None:
        """A call that is no longer awaited opens no connection, which may take long."""
        pool = HeldPool(self.pool)
        written = self.start(self.database(pool).transaction("add", self.fails(None, 0)))
        self.clock.advance(DEADLINE_S)
        self.failureResultOf(written, Unavailable)
        self.pool.close()
        pool.run()
        self.assertIsNone(self.pool.connection)

    def test_givenUpWhileConnecting(self) -> None:
        """A connection that came too late for one call is used for the next."""
        self.pool.close()
        connect = self.connect
        self.connect = lambda: self.clock.advance(DEADLINE_S) or connect()  # type: ignore
        self.pool = InlinePool(self.connect)
        self.pool.close()
        self.refusal(self.database(self.pool).transaction("add", self.fails(None, 0)))
        self.assertFalse(self.connection.is_closed)
        self.assertEqual(self.connection.executed, [])

    def test_deadlineCoversAllTries(self) -> None:
        """All tries share one deadline."""
        locked = sqlite3.OperationalError("database is locked")
        pool = HeldPool(self.pool)
        written = self.start(self.database(pool).transaction("add", self.fails(locked, 99)))
        for _ in range(2):
            self.clock.advance(DEADLINE_S * 0.4)
            pool.run()
            self.clock.advance(0.02)
        self.assertEqual(self.tries, 2)
        self.assertNoResult(written)
        self.clock.advance(DEADLINE_S * 0.2)
        self.failureResultOf(written, Unavailable)

    def test_cut(self) -> None:
        """A call that is under way at its deadline is cut off, and its connection is closed."""
        used = self.connection

        def stall(txn: Transaction) -> None:
            txn.run(INSERT, ("one",))
            self.clock.advance(DEADLINE_S)

        self.refusal(self.db.transaction("add", stall))
        self.assertTrue(used.is_closed)
        self.assertNotIn("COMMIT", used.executed)
        self.assertEqual(
            self.wait(self.db.autocommit("ask", lambda txn: txn.all("SELECT 1"))), [(1,)]
        )
        self.assertEqual(self.things(), [])

    # --- Requests ------------------------------------------------------------------------

    def answer(self, *waits_s: float, calls: int = 1) -> Deferred[Any]:
        """A request that waits so long before its calls, each of which is refused or answered."""

        async def serve() -> list[Any]:
            with InFlight(self.clock).deadline():
                for wait_s in waits_s:
                    await deferLater(self.clock, wait_s)
                return await calling()

        async def calling() -> list[Any]:
            ended: list[Any] = []
            for _ in range(calls):
                try:
                    ended.append(await self.db.autocommit("ask", lambda txn: txn.one("SELECT 1")))
                except Unavailable as refusal:
                    ended.append(refusal)
            return ended

        return self.start(serve())

    def test_oneDeadlineForARequest(self) -> None:
        """A request has one deadline for all of its calls: the answer is there within ten
        seconds."""
        self.db = self.database(HeldPool(self.pool))
        with capturedLogs():
            answered = self.answer(calls=3)
            self.clock.advance(deadlines.REQUEST_S - 0.001)
            self.assertNoResult(answered)
            self.clock.advance(0.002)
        refusals = self.successResultOf(answered)
        self.assertEqual([type(refusal) for refusal in refusals], [Unavailable] * 3)
        self.assertLess(deadlines.REQUEST_S + deadlines.LAST_CALL_S, 10)

    def test_waitedElsewhere(self) -> None:
        """Time that a request spends waiting for other things shortens its calls, except for a last
        one: a healthy database is not blamed for slow hashes."""
        self.db = self.database(HeldPool(self.pool))
        with capturedLogs():
            answered = self.answer(5.0)
            self.clock.advance(5.0)
            self.clock.advance(deadlines.REQUEST_S - 5.0 - 0.001)
            self.assertNoResult(answered)
            self.clock.advance(0.002)
            self.assertIsInstance(self.successResultOf(answered)[0], Unavailable)
            answered = self.answer(60.0)
            self.clock.advance(60.0)
            self.clock.advance(deadlines.LAST_CALL_S - 0.001)
            self.assertNoResult(answered)
            self.clock.advance(0.002)
            self.assertIsInstance(self.successResultOf(answered)[0], Unavailable)
        self.db = self.database(self.pool)
        answered = self.answer(60.0, calls=2)
        self.clock.advance(60.0)
        self.assertEqual(self.successResultOf(answered), [(1,), (1,)])

    def test_begunByARequest(self) -> None:
        """Work that a request has started, and that goes on after its answer, has a deadline for
        each call."""
        pool = HeldPool(self.pool)
        self.db = self.database(pool)
        begun: list[Deferred[Any]] = []

        async def work() -> Any:
            await deferLater(self.clock, 60.0)
            return await self.db.autocommit("ask", lambda txn: txn.one("SELECT 1"))

        async def serve() -> None:
            with InFlight(self.clock).deadline():
                begun.append(self.start(work()))

        self.wait(serve())
        self.clock.advance(60.0)
        self.clock.advance(DEADLINE_S - 0.001)
        self.assertNoResult(begun[0])
        pool.run()
        self.assertEqual(self.successResultOf(begun[0]), (1,))

    def test_neighbours(self) -> None:
        """The deadline of one request does not affect others."""
        pool = HeldPool(self.pool)
        self.db = self.database(pool)
        with capturedLogs():
            first = self.answer()
            self.clock.advance(5.0)
            second = self.answer()
            other = self.start(self.db.autocommit("ask", lambda txn: txn.one("SELECT 1")))
            self.clock.advance(deadlines.REQUEST_S - 5.0)
            self.successResultOf(first)
            self.assertNoResult(second)
            self.clock.advance(5.0)
            self.successResultOf(second)
            self.assertNoResult(other)
        pool.run()
        self.assertEqual(self.successResultOf(other), (1,))
