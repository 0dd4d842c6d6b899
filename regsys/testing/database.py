"""The real SQL on an SQLite in memory, executed at once on the calling thread."""

from __future__ import annotations

import sqlite3
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from regsys.storage.database import Database
from regsys.storage.dialects import Dialect
from regsys.storage.migrations import migrate
from regsys.storage.sqlite import SQLite


class InlinePool:
    """Runs database functions on the calling thread, over one connection.

    ``connect`` makes the connection, and a new one after it was lost.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self.connection: Optional[Any] = connect()

    def runWithConnection(self, func: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return maybeDeferred(func, self, *args)

    def open(self) -> Any:
        if self.connection is None:
            self.connection = self._connect()
        return self.connection

    def discard(self, connection: Any) -> None:
        self.close()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def inline_database(
    dialect: Dialect, connect: Callable[..., Any], clock: Optional[IReactorTime] = None
) -> Database:
    """A migrated database whose calls finish before they return.

    ``connect`` is the driver's. If ``clock`` is None, a ``task.Clock`` that nothing advances.
    """

    database = _inline(dialect, connect, clock)
    migrate(database.pool.connection, dialect)  # type: ignore[attr-defined]
    return database


def _inline(
    dialect: Dialect, connect: Callable[..., Any], clock: Optional[IReactorTime]
) -> Database:
    def opened() -> Any:
        connection = connect(**dialect.connect_args())
        dialect.opened(connection)
        return connection

    return Database(InlinePool(opened), dialect, clock or Clock())


def memory_database(testcase: Any, clock: Optional[IReactorTime] = None) -> Database:
    """A fresh in-memory SQLite with our schema; closed when ``testcase`` ends."""
    database = inline_database(SQLite(":memory:"), sqlite3.connect, clock)
    testcase.addCleanup(database.pool.close)  # type: ignore[attr-defined]
    return database


def empty_database(testcase: Any, clock: Optional[IReactorTime] = None) -> Database:
    """The same without any table: that of modules."""
    database = _inline(SQLite(":memory:"), sqlite3.connect, clock)
    testcase.addCleanup(database.pool.close)  # type: ignore[attr-defined]
    return database
