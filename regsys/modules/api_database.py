"""A database of the modules' own: a schema of PostgreSQL, or a file of SQLite."""

from __future__ import annotations

import functools
import re
from importlib import import_module
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, TypeVar

import attr

from regsys.modules.base import ApiBase, deferred
from regsys.storage.database import Transaction
from regsys.storage.sqlite import SQLite

T = TypeVar("T")

# A text in quotes, or a character that means something to the driver.
_QUOTED_OR_MARK = re.compile(r"'[^']*'|[?%]")
# libpq's number for a transaction in which a statement has failed.
_IN_ERROR = 3


class DatabaseMethods(ApiBase):
    @deferred
    async def run_db_interaction(
        self, desc: str, func: Callable[..., T], *args: Any, **kwargs: Any
    ) -> T:
        """``func(txn, *args, **kwargs)`` in a thread, as one transaction of the modules' database,
        which is rolled back if it raises. It may be called again, after a conflict. ``txn`` is a
        cursor in which ``?`` is the placeholder. All modules share the tables."""
        database = self._parts.database
        if database is None:
            raise self._not_offered("run_db_interaction", "this process has no database for it")
        work = functools.partial(_work, func=lambda txn: func(txn, *args, **kwargs))
        try:
            return await database.transaction(f"{desc} of module {self._module}", work)
        except _Violation as violation:
            raise violation.error from None


class _Violation(Exception):
    """A constraint is violated: this is the module's concern, and no reason to try again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _work(txn: Transaction, func: Callable[[ModuleCursor], T]) -> T:
    try:
        result = func(ModuleCursor(txn.cursor, txn.dialect.name))
    except import_module(txn.dialect.module).IntegrityError as error:
        txn.dialect.redact(error)
        raise _Violation(error) from None
    connection = getattr(txn.cursor, "connection", None)
    status = getattr(getattr(connection, "info", None), "transaction_status", None)
    if status == _IN_ERROR:
        # The commit would be a rollback, and would not say so.
        raise RuntimeError("a statement of this transaction has failed, so all is rolled back")
    return result


@attr.frozen
class ModuleCursor:
    """The driver's cursor; ``?`` is the placeholder in both."""

    _cursor: Any
    _dialect: str

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        if parameters:
            self._cursor.execute(self._text(sql), parameters)
        else:
            self._cursor.execute(sql)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(self._text(sql), parameters)

    execute_batch = executemany

    def fetchone(self) -> Optional[Sequence[Any]]:
        row: Optional[Sequence[Any]] = self._cursor.fetchone()
        return row

    def fetchall(self) -> list[Sequence[Any]]:
        return list(self._cursor.fetchall())

    def fetchmany(self, size: Optional[int] = None) -> list[Sequence[Any]]:
        return list(self._cursor.fetchmany(*(() if size is None else (size,))))

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self._cursor)

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    @property
    def lastrowid(self) -> Any:
        return self._cursor.lastrowid

    @property
    def description(self) -> Any:
        return self._cursor.description

    def _text(self, sql: str) -> str:
        return sql if self._dialect == SQLite.name else _QUOTED_OR_MARK.sub(_as_psycopg, sql)


def _as_psycopg(found: re.Match[str]) -> str:
    """psycopg's placeholder is %s, and %% stands for a percent sign, in quotes too."""
    return "%s" if found[0] == "?" else found[0].replace("%", "%%")
