"""Named fault points at every statement boundary, made by wrapping the database connection.

A name is ``<call>/<after|before>:<statement>``, such as ``create_account/after:INSERT users``; a
repeated point is numbered, ``…users#2``. ``at_point`` decides what happens at a point: nothing (a
dry run lists the points), the end of the process, an exception.
"""

from __future__ import annotations

import os
import re
import traceback
from collections import Counter
from typing import Any, Callable, Optional, Sequence

from twisted.internet.interfaces import IReactorTime

from regsys.storage.database import Database
from regsys.storage.dialects import Dialect
from regsys.testing.database import InlinePool

# The exit status of a child at its fault point, so that the parent knows that it was reached.
DIED = 9

Fault = Callable[[str], None]


class FaultPoints:
    """Passed one after the other; ``at_point`` is called with the name of each."""

    def __init__(self, at_point: Optional[Fault] = None) -> None:
        self.passed: list[str] = []
        self._at_point = at_point
        self._times: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        self._times[name] += 1
        if self._times[name] > 1:
            name = f"{name}#{self._times[name]}"
        self.passed.append(name)
        if self._at_point is not None:
            self._at_point(name)


def die_at(point: str) -> FaultPoints:
    """Points at one of which the process ends at once, as if by SIGKILL."""

    def die(name: str) -> None:
        if name == point:
            os._exit(DIED)

    return FaultPoints(die)


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process; its exit status, 0 if ``work`` came to its end.

    No connection to a database may be open in this process meanwhile: the child would share it.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class WatchedDatabase(Database):
    """A database over one connection, on the calling thread, whose calls pass fault points.

    The schema must be there already.
    """

    def __init__(
        self,
        dialect: Dialect,
        connect: Callable[..., Any],
        clock: IReactorTime,
        points: FaultPoints,
    ) -> None:
        self._points = points
        self._call: Optional[str] = None

        def opened() -> Any:
            connection = connect(**dialect.connect_args())
            dialect.opened(connection)
            return _Connection(connection, self._passed)

        super().__init__(InlinePool(opened), dialect, clock)

    async def transaction(self, name: str, body: Callable[..., Any], *values: Any) -> Any:
        self._call = name
        return await super().transaction(name, body, *values)

    async def autocommit(self, name: str, body: Callable[..., Any], *values: Any) -> Any:
        self._call = name
        return await super().autocommit(name, body, *values)

    def _passed(self, boundary: str) -> None:
        self._points.reach(f"{self._call}/{boundary}")


class _Connection:
    """The driver's connection, except for its cursors."""

    def __init__(self, connection: Any, passed: Fault) -> None:
        self._connection = connection
        self._passed = passed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> _Cursor:
        return _Cursor(self._connection.cursor(), self._passed)


class _Cursor:
    """The driver's cursor: a point before its first statement, one before COMMIT, and one
    after each statement."""

    def __init__(self, cursor: Any, passed: Fault) -> None:
        self._cursor = cursor
        self._passed = passed
        self._begun = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, sql: str, *values: Sequence[Any]) -> None:
        statement = statement_name(sql)
        if not self._begun or statement == "COMMIT":
            self._passed(f"before:{statement}")
        self._begun = True
        self._cursor.execute(sql, *values)
        self._passed(f"after:{statement}")


def statement_name(sql: str) -> str:
    """``INSERT users`` for ``INSERT INTO users (…) …``: the first word, and the table if any."""
    table = re.match(r"(?:INSERT INTO|UPDATE|DELETE FROM|SELECT.*? FROM) (\w+)", sql)
    return " ".join([sql.split(maxsplit=1)[0], *(table.groups() if table else ())])
