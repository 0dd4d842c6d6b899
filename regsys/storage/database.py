"""The thin layer over twisted.enterprise.adbapi that every store runs through.

A store passes plain functions of (txn, values). ``transaction`` runs one between BEGIN and COMMIT.
``autocommit`` runs one without, so that each statement commits by itself. Both are retried after a
serialization conflict or a lost connection. So a function may run more than once, even after a
commit whose reply was lost: its writes must be idempotent.

A deadline covers the whole call: waiting for a thread, the statements, the commit and the retries.
Where the call is made on behalf of a request, the request's deadline covers all of its calls. When
the deadline passes, the caller gets Unavailable and the connection is cut, since nothing else frees
a thread whose database has stalled.
"""

from __future__ import annotations

import functools
import secrets
import threading
from typing import Any, Callable, Generic, Optional, Sequence, TypeVar, Union, cast

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from regsys import deadlines
from regsys.errors import Unavailable
from regsys.storage.dialects import Dialect
from regsys.storage.pool import Place, Pool
from regsys.storage.sqlite import SQLite
from regsys.storage.trouble import Trouble

log = Logger()
T = TypeVar("T")
Row = Sequence[Any]

DEADLINE_S = 10.0
ATTEMPTS = 6


@functools.lru_cache(maxsize=512)
def _text(dialect_name: str, sql: str) -> str:
    return sql if dialect_name == SQLite.name else sql.replace("?", "%s")


@functools.lru_cache(maxsize=64)
def _insertion(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"


@attr.frozen
class Transaction:
    """A cursor with the few calls that stores need; ``?`` is the placeholder in both dialects."""

    cursor: Any
    dialect: Dialect

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute; returns the number of changed rows."""
        self.cursor.execute(_text(self.dialect.name, sql), values)
        return int(self.cursor.rowcount)

    def one(self, sql: str, values: Sequence[Any] = ()) -> Optional[Row]:
        """The first row; None if there is none."""
        self.cursor.execute(_text(self.dialect.name, sql), values)
        return cast("Optional[Row]", self.cursor.fetchone())

    def all(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        self.cursor.execute(_text(self.dialect.name, sql), values)
        return cast("Sequence[Row]", self.cursor.fetchall())

    def insert(self, table: str, **values: Any) -> bool:
        """Insert a row unless one of the table's unique keys is taken; True if it was inserted."""
        return self.run(_insertion(table, tuple(values)), tuple(values.values())) == 1


class _Failed(Exception):
    """Carries a driver's exception out of the thread, with what it means."""

    def __init__(self, trouble: Trouble, cause: Exception) -> None:
        super().__init__(str(cause))
        self.trouble = trouble
        self.cause = cause


class _Call(Generic[T]):
    """One run of a function in a database thread; it can be given up."""

    def __init__(
        self, dialect: Dialect, in_transaction: bool, work: Callable[[Transaction], T]
    ) -> None:
        self.dialect = dialect
        self.in_transaction = in_transaction
        self.work = work
        self.lock = threading.Lock()
        self.given_up = False
        self.is_broken = False
        self.using: Any = None

    def give_up(self) -> None:
        """The deadline has passed: don't start, or cut the connection if it has started."""
        with self.lock:
            self.given_up = True
            if self.using is not None:
                try:
                    self.dialect.cut(self.using)
                except Exception as error:  # it may have closed just now
                    log.debug("could not cut a connection: {error}", error=str(error))

    def run(self, place: Place) -> T:
        """Runs in the thread. Raises _Failed for the driver's exceptions, except for our bugs."""
        raw = None
        try:
            self._use(None)
            connection = place.open()
            # If the call was given up meanwhile, nothing was sent: the connection stays usable.
            self._use(connection)
            raw = connection
            return self._transact(raw)
        except Exception as error:
            self.dialect.redact(error)
            trouble = self.dialect.trouble(error, raw)
            self._release()
            if raw is not None and (trouble is Trouble.LOST or self.given_up or self.is_broken):
                place.discard(raw)
            if trouble is Trouble.BUG:
                raise
            raise _Failed(trouble, error) from error
        finally:
            self._release()

    def _use(self, raw: Any) -> None:
        """From now on ``give_up`` cuts this connection; raises _Failed if it was called already."""
        with self.lock:
            if self.given_up:
                raise _Failed(Trouble.DOWN, TimeoutError("given up while waiting"))
            self.using = raw

    def _release(self) -> None:
        """From now on ``give_up`` leaves the connection alone: the next call may use it, or another
        socket its file descriptor."""
        with self.lock:
            self.using = None

    def _transact(self, raw: Any) -> T:
        self.dialect.check_before()
        cursor = raw.cursor()
        try:
            if not self.in_transaction:
                return self.work(Transaction(cursor, self.dialect))
            result = self._write(raw, cursor)
        finally:
            cursor.close()
        # A commit to a file that is no longer the database's must not be acknowledged.
        self.dialect.check_commit()
        return result

    def _write(self, raw: Any, cursor: Any) -> T:
        cursor.execute(self.dialect.begin)
        try:
            result = self.work(Transaction(cursor, self.dialect))
            # Raises if the call was given up: the caller has been told that nothing was written.
            self._use(raw)
            cursor.execute("COMMIT")
            return result
        except BaseException:
            self._roll_back(cursor)
            raise

    def _roll_back(self, cursor: Any) -> None:
        try:
            cursor.execute("ROLLBACK")
        except Exception as error:
            # The database rolls back by itself; the first error is the one to report.
            self.is_broken = True
            log.debug("rollback failed: {error}", error=str(error))


class Database:
    """Runs functions of (txn, values) on a pool of connections."""

    def __init__(
        self,
        pool: Pool,
        dialect: Dialect,
        clock: IReactorTime,
        *,
        deadline_s: float = DEADLINE_S,
        observe: Optional[Callable[[str, float], None]] = None,
        level: Any = LogLevel.error,
    ) -> None:
        self.pool = pool
        self.dialect = dialect
        self._clock = clock
        self._deadline_s = deadline_s
        self._observe = observe
        self._level = level

    def dispensable(self, pool: Pool, deadline_s: float) -> Database:
        """The same database by way of another pool, for calls whose caller goes on without an
        answer after ``deadline_s``, and logs that itself."""
        return Database(
            pool,
            self.dialect,
            self._clock,
            deadline_s=deadline_s,
            observe=self._observe,
            level=LogLevel.debug,
        )

    @property
    def clock(self) -> IReactorTime:
        """The clock of the deadlines."""
        return self._clock

    async def transaction(self, name: str, body: Callable[..., T], *values: Any) -> T:
        """Run ``body(txn, *values)`` as one transaction; returns its result after the commit.

        Raises Unavailable when the database is down or the deadline has passed."""
        return await self._run(name, True, body, values)

    async def autocommit(self, name: str, body: Callable[..., T], *values: Any) -> T:
        """Run ``body(txn, *values)`` with each statement committed by itself. Raises Unavailable
        as ``transaction`` does."""
        return await self._run(name, False, body, values)

    def is_lost(self) -> bool:
        """Whether the database file has been replaced or removed, as far as this can be seen
        without a query. Blocks for microseconds."""
        try:
            self.dialect.check()
        except Exception as error:
            log.error("database: {cause}", cause=self.dialect.explain(error))
            return True
        return False

    async def _run(
        self, name: str, in_transaction: bool, body: Callable[..., T], values: Sequence[Any]
    ) -> T:
        started = self._clock.seconds()
        request = deadlines.current()
        left_s = None if request is None else request.left_s(started)
        ends = started + (self._deadline_s if left_s is None else min(left_s, self._deadline_s))
        work = lambda txn: body(txn, *values)  # noqa: E731
        trouble: Optional[_Failed] = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._pause(attempt - 1)
            left = ends - self._clock.seconds()
            if left <= 0:
                break
            try:
                result = await self._attempt(_Call(self.dialect, in_transaction, work), left)
            except _Failed as failed:
                trouble = failed
                if failed.trouble is Trouble.DOWN:
                    break
            else:
                if self._observe is not None:
                    self._observe(name, self._clock.seconds() - started)
                return result
        # A call with less time than the request has does not end the request.
        if request is not None and left_s is not None and self._clock.seconds() >= started + left_s:
            request.miss()
        cause = trouble.cause if trouble else TimeoutError("no answer within the deadline")
        explained = self.dialect.explain(cause)
        log.emit(self._level, "database: {name} failed: {cause}", name=name, cause=explained)
        raise Unavailable() from cause

    def _attempt(self, call: _Call[T], left_s: float) -> Deferred[T]:
        answer: Deferred[T] = Deferred()

        def expire() -> None:
            call.give_up()
            answer.errback(_Failed(Trouble.DOWN, TimeoutError("no answer within the deadline")))

        timer = self._clock.callLater(left_s, expire)

        def done(result: Union[T, Failure]) -> None:
            if timer.active():
                timer.cancel()
                answer.callback(result)  # a Failure goes on as an errback
            elif isinstance(result, Failure):
                result.trap(_Failed, Exception)

        self.pool.runWithConnection(call.run).addBoth(done)
        return answer

    async def _pause(self, attempt: int) -> None:
        """Back off for up to 10, 20, 40 … 320 ms, so that rivals do not collide again."""
        jitter_s = secrets.randbelow(10_000) / 1_000_000 * 2**attempt
        await deferLater(self._clock, jitter_s, lambda: None)
