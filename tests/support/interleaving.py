"""Two calls on one PostgreSQL, the second begun at each point of the first.

If the second has to wait for the first, it waits in a thread of its own, and the first goes on. So
every order of their statements that can matter is tried, and nothing is left to chance.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Awaitable, Callable, Iterator, Optional

import attr
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from regsys.storage.postgresql import PostgreSQL
from regsys.testing.contracts.case import NOW_MS
from regsys.testing.database import inline_database
from tests.support import faults, invariants, postgres
from tests.support.faultpoints import FaultPoints, WatchedDatabase
from tests.support.patience import PATIENCE_S
from tests.support.stores import Stores
from tests.support.tables import ALL

# A call on the stores.
Step = Callable[[Stores], Awaitable[Any]]

TICK_S = 0.002


@attr.frozen
class PairResult:
    """How both calls ended: what they returned or raised. ``retried``: one of them was run again,
    since the database had undone it. ``broken``: see ``tests.support.invariants``."""

    point: str
    first: Any
    second: Any
    retried: bool
    broken: dict[str, Any]


class Caller:
    """One of the two, on a connection of its own."""

    def __init__(
        self, dialect: PostgreSQL, at_point: Optional[Callable[[str], None]] = None
    ) -> None:
        import psycopg2

        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.points = FaultPoints(at_point)
        self.db = WatchedDatabase(dialect, psycopg2.connect, self.clock, self.points)
        self.session = self.db.pool.open().info.backend_pid
        self.result: Any = None

    def call(self, step: Step) -> None:
        ended: list[Any] = []
        work = step(Stores(self.db, self.clock))
        faults.finish(self.clock, work).addBoth(ended.append)
        self.result = ended[0].value if isinstance(ended[0], Failure) else ended[0]
        self.db.pool.close()

    @property
    def was_retried(self) -> bool:
        return any(point.endswith("after:BEGIN#2") for point in self.points.passed)


class Interleaving:
    """For tests; makes a database that is dropped with ``case``.

    ``isolation``: the database's default for transactions; None for the server's.
    """

    def __init__(self, case: Any, isolation: Optional[str] = None) -> None:
        import psycopg2

        self._dialect = PostgreSQL(postgres.dsn(case))
        if isolation is not None:
            name = self._dialect.args["dbname"]
            postgres.shared().execute(
                f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'"
            )
        self._db = inline_database(self._dialect, psycopg2.connect)
        case.addCleanup(self._db.pool.close)

    def cursor(self) -> Any:
        """A cursor to look into the tables."""
        return self._db.pool.open().cursor()

    def each(self, before: Step, first: Step, second: Step) -> Iterator[PairResult]:
        """The result at each point of ``first``, after ``before`` was done in empty tables."""
        self._begin(before)
        rehearsal = Caller(self._dialect)
        rehearsal.call(first)
        for point in rehearsal.points.passed:
            self._begin(before)
            yield self._run_pair(first, second, point)

    def _begin(self, before: Step) -> None:
        self.cursor().execute(";".join(f"DELETE FROM {table}" for table in reversed(ALL)))
        caller = Caller(self._dialect)
        caller.call(before)
        assert not isinstance(caller.result, Exception), caller.result

    def _run_pair(self, first: Step, second: Step, point: str) -> PairResult:
        other = Caller(self._dialect)
        thread = threading.Thread(target=other.call, args=(second,))

        def at_point(name: str) -> None:
            if name == point:
                thread.start()
                self._wait(thread, other.session)

        caller = Caller(self._dialect, at_point)
        caller.call(first)
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), f"{point}: the second call does not end"
        return PairResult(
            point=point,
            first=caller.result,
            second=other.result,
            retried=caller.was_retried or other.was_retried,
            broken=invariants.broken(self._db.pool.connection),
        )

    def _wait(self, thread: threading.Thread, session: int) -> None:
        """Wait until the thread has come to its end, or to a lock that the other call holds."""
        cursor = self.cursor()
        started = time.monotonic()
        while thread.is_alive() and time.monotonic() - started < PATIENCE_S:
            thread.join(TICK_S)
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
                (session,),
            )
            if cursor.fetchone() is not None:
                return
