"""A database whose connection fails at a chosen point (threat C6, C7).

Points are those of ``tests.support.faultpoints``. The faults are as real as possible: PostgreSQL
itself raises its errors and ends its sessions.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Callable, Coroutine

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from regsys.storage.dialects import Dialect
from tests.support.faultpoints import FaultPoints, WatchedDatabase

# Causes the fault, given the driver's connection.
Fault = Callable[[Any], None]
# Whether the fault happens at the point of this name.
When = Callable[[str], bool]


def sqlite_error(message: str) -> Fault:
    def fault(connection: Any) -> None:
        raise sqlite3.OperationalError(message)

    return fault


def sql_state(code: str) -> Fault:
    """Let PostgreSQL raise an error of this code, which also ends the transaction."""

    def fault(connection: Any) -> None:
        connection.cursor().execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    return fault


def lost(connection: Any) -> None:
    """PostgreSQL ends the session."""
    connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")


# After the former a retry may work at once, after the latter not.
SQLITE_RETRIED = {"locked": sqlite_error("database is locked")}
SQLITE_DOWN = {"full": sqlite_error("database or disk is full")}
POSTGRES_RETRIED = {
    "serialization": sql_state("40001"),
    "deadlock": sql_state("40P01"),
    "unique key": sql_state("23505"),
    "foreign key": sql_state("23503"),
    "read-only": sql_state("25006"),
    "lost": lost,
}
POSTGRES_DOWN = {"full": sql_state("53100")}


def once(point: str) -> When:
    return lambda name: name == point


def always(point: str) -> When:
    """Whenever the point is passed, in every try."""
    return lambda name: name.partition("#")[0] == point


class FaultyDatabase(WatchedDatabase):
    """A database with ``fault`` at the points of ``when``; ``times`` counts its occurrences."""

    def __init__(
        self,
        dialect: Dialect,
        connect: Callable[..., Any],
        clock: Clock,
        fault: Fault,
        when: When,
    ) -> None:
        self.times = 0

        def at_point(name: str) -> None:
            if when(name):
                self.times += 1
                fault(self.pool.connection._connection)

        super().__init__(dialect, connect, clock, FaultPoints(at_point))


def finish(clock: Clock, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Let time pass until the work is done, since it pauses before its retries."""
    waiting = Deferred.fromCoroutine(work)
    ended: list[object] = []

    def end(result: Any) -> Any:
        ended.append(result)
        return result

    waiting.addBoth(end)
    while not ended:
        clock.advance(0.01)
    return waiting
