"""The three databases that every store contract runs on: same tests, same SQL."""

from __future__ import annotations

import sqlite3
import unittest
from pathlib import Path
from typing import Any, Optional

from regsys.storage.database import Database
from regsys.storage.dialects import PostgreSQL, SQLite
from regsys.testing import inline_database, memory_database
from tests import postgres


class InMemory:
    """SQLite in memory."""

    def database(self: Any, clock: Any = None) -> Database:
        return memory_database(self, clock)


class InFile:
    """SQLite in a file, with WAL."""

    def database(self: Any, clock: Any = None) -> Database:
        path = Path(self.mktemp())
        database = inline_database(SQLite(str(path)), sqlite3.connect, clock)
        self.addCleanup(database.pool.close)
        return database


class OnPostgreSQL:
    """A real PostgreSQL; skipped loudly where there is none, failed under CI=true."""

    def database(self: Any, clock: Any = None) -> Database:
        return postgres_database(self, clock)


def postgres_database(
    case: unittest.TestCase, clock: Any = None, args: Optional[dict[str, Any]] = None
) -> Database:
    import psycopg2

    dialect = PostgreSQL(args or postgres.dsn(case))
    database = inline_database(dialect, psycopg2.connect, clock)
    case.addCleanup(database.pool.close)  # type: ignore[attr-defined]
    return database
