"""The three databases that every store contract runs on: same tests, same SQL."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import unittest
from typing import Any, Callable

from twisted.internet.defer import Deferred

from regsys.storage.database import Database
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.testing.database import InlinePool, inline_database, memory_database
from tests.support import postgres
from tests.support.tables import ALL

MEMORY = "/dev/shm"  # of Linux


class InMemory:
    """SQLite in memory."""

    def database(self: Any, clock: Any = None) -> Database:
        return memory_database(self, clock)


def sqlite_file(case: Any) -> str:
    """A path for an SQLite database that is removed when the test ends.

    It is in a file system in memory if there is one: the state after a process dies is the same,
    and no commit has to wait for a disk.
    """
    if not os.access(MEMORY, os.W_OK):
        return str(case.mktemp())
    folder = tempfile.mkdtemp(prefix="regsys-", dir=MEMORY)
    # A thread that closes its connection just now removes files, too.
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return f"{folder}/homeserver.db"


class InFile:
    """SQLite in a file, with WAL."""

    def database(self: Any, clock: Any = None) -> Database:
        database = inline_database(SQLite(sqlite_file(self)), sqlite3.connect, clock)
        self.addCleanup(database.pool.close)
        return database


class OnPostgreSQL:
    """A real PostgreSQL; skipped with a reason if there is none, failed under CI=true."""

    def database(self: Any, clock: Any = None) -> Database:
        return postgres_database(self, clock, empty_postgres(self))


class OnPostgreSQLWithUnusualPlans:
    """A real PostgreSQL that may use none of its usual plans: the test holds because of the SQL,
    not because of the planner's choice."""

    def database(self: Any, clock: Any = None) -> Database:
        options = " ".join(f"-c enable_{method}=off" for method in USUAL_PLANS)
        return postgres_database(self, clock, {**empty_postgres(self), "options": options})


USUAL_PLANS = ("hashjoin", "hashagg", "mergejoin", "material", "sort")


def postgres_database(case: unittest.TestCase, clock: Any, args: postgres.Args) -> Database:
    import psycopg2

    database = inline_database(PostgreSQL(args), psycopg2.connect, clock)
    case.addCleanup(database.pool.close)  # type: ignore[attr-defined]
    return database


class HeldPool:
    """A pool whose threads are busy: ``run`` lets the calls begin that have been made so far."""

    def __init__(self, pool: InlinePool) -> None:
        self.pool = pool
        self.calls: list[Callable[[], None]] = []

    def runWithConnection(self, func: Callable[..., Any], *args: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.calls.append(lambda: self.pool.runWithConnection(func, *args).chainDeferred(answer))
        return answer

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


# Databases that no test uses now, with our schema and without rows.
_free: list[postgres.Args] = []


def empty_postgres(case: unittest.TestCase) -> postgres.Args:
    """Arguments to connect to a PostgreSQL database with our schema, and no row in its tables.

    Creating one costs ten times what most tests do in it: so one test after the other uses it. It
    is for tests that do not change our schema; that of the modules is dropped.
    """
    if not _free:
        _free.append(_create_database(case))
    args = _free.pop()
    case.addCleanup(_return_database, args)
    return args


def _create_database(case: unittest.TestCase) -> postgres.Args:
    import psycopg2

    with postgres.needed_by(case):
        server = postgres.shared()
    args = server.create_database()
    atexit.register(server.drop_database, args)
    inline_database(PostgreSQL(args), psycopg2.connect).pool.close()
    return args


def _return_database(args: postgres.Args) -> None:
    """If this fails its test has an error, and no other test gets the database."""
    import psycopg2

    connection = psycopg2.connect(**PostgreSQL(args).connect_args())
    try:
        connection.autocommit = True
        connection.cursor().execute(_EMPTY)
    finally:
        connection.close()
    _free.append(args)


# An open connection may hold a lock.
_EMPTY = "; ".join(
    [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        *(f"DELETE FROM {table}" for table in [*reversed(ALL), "secrets"]),
        "ALTER SEQUENCE user_number RESTART",
        "DROP SCHEMA IF EXISTS regsys_modules CASCADE",
    ]
)
