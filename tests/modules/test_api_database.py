"""The API object: a database of the modules' own."""

from __future__ import annotations

import os
import sqlite3
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

import regsys
from regsys.errors import ModuleRefusal
from regsys.modules.api_database import _QUOTED_OR_MARK, ModuleCursor, _as_psycopg
from regsys.storage.modules_database import beside
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.testing import standalone
from tests.support.databases import empty_postgres, sqlite_file
from tests.support.modules import package

OPTIONS: dict[str, Any] = {"server_name": "test.example", "macaroon_secret_key": "x"}


class DatabaseCase:
    """The same on both databases, in a process as it is served."""

    has_schema: ClassVar[bool]

    def setUp(self: Any) -> None:
        apis: list[Any] = []
        path = f"{package(self, Module=lambda config, api: apis.append(api) or api)}.Module"
        chosen = regsys.parse(
            {**OPTIONS, "database": self.options(), "modules": [{"module": path}]}
        )
        self.subsystem = regsys.standalone(chosen, reactor)
        self.addCleanup(self.subsystem.process.stop)
        self.subsystem.process.start()
        (self.api,) = apis

    def run_(self: Any, func: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        return self.api.run_db_interaction("test", func, *args, **kwargs)  # type: ignore[no-any-return]

    async def test_database(self: Any) -> None:
        """Statements have ? as their placeholder, and come and go together; ours are not there."""

        def create(txn: Any) -> None:
            txn.execute("CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, share TEXT)")

        def insert(txn: Any, name: str, *, share: str = "100%") -> int:
            txn.execute("INSERT INTO users (name, share) VALUES (?, ?)", (name, share))
            return int(txn.rowcount)

        def read(txn: Any) -> Any:
            txn.execute("SELECT name, share FROM users WHERE name <> ? AND share LIKE '%?%'", ("",))
            first = [tuple(row) for row in txn]
            txn.execute("SELECT name FROM users WHERE share LIKE '1%' ORDER BY name")
            columns = [column[0] for column in txn.description]
            return first, [tuple(row) for row in txn.fetchall()], columns

        await self.run_(create)
        self.assertEqual(await self.run_(insert, "a"), 1)
        await self.run_(insert, "b", share="what?")

        def several(txn: Any) -> None:
            txn.executemany(
                "INSERT INTO users (name, share) VALUES (?, ?)", [("c", "1"), ("d", "2")]
            )

        await self.run_(several)

        def fails(txn: Any) -> None:
            insert(txn, "e")
            raise KeyError("a module's own")

        with self.assertRaises(KeyError):
            await self.run_(fails)
        first, second, columns = await self.run_(read)
        self.assertEqual(first, [("b", "what?")])
        self.assertEqual((second, columns), ([("a",), ("c",)], ["name"]))

    async def test_violation(self: Any) -> None:
        """A constraint that is violated is the driver's error, at once; so is a wrong statement.
        One that the function passes over does not make it look as if all were written."""
        calls: list[int] = []

        def twice(txn: Any) -> None:
            calls.append(1)
            txn.execute("INSERT INTO once VALUES (?)", (1,))
            txn.execute("INSERT INTO once VALUES (?)", (1,))

        def passed_over(txn: Any) -> None:
            txn.execute("INSERT INTO once VALUES (?)", (7,))
            try:
                twice(txn)
            except Exception:
                return

        def count(txn: Any) -> int:
            txn.execute("SELECT COUNT(*) FROM once")
            return int(txn.fetchone()[0])

        await self.run_(lambda txn: txn.execute("CREATE TABLE once (x INTEGER PRIMARY KEY)"))
        with self.assertRaises(self.driver().IntegrityError):
            await self.run_(twice)
        self.assertEqual(len(calls), 1)
        with self.assertRaises(self.driver().Error):
            await self.run_(lambda txn: txn.execute("SELECT * FROM outcomes"))
        # PostgreSQL gives up the whole transaction, SQLite the one statement.
        if self.has_schema:
            with self.assertRaises(RuntimeError):
                await self.run_(passed_over)
        else:
            await self.run_(passed_over)
        self.assertEqual(await self.run_(count), 0 if self.has_schema else 2)


class SQLiteTests(DatabaseCase, TestCase):
    has_schema = False

    def options(self) -> Any:
        return {"name": "sqlite3", "args": {"database": f"{sqlite_file(self)}.db"}}

    def driver(self) -> Any:
        return sqlite3

    async def test_file(self) -> None:
        """A file beside ours, which nobody else may read."""
        await self.run_(lambda txn: txn.execute("CREATE TABLE x (y INTEGER)"))
        path = self.subsystem.process.database.dialect.path
        mode = os.stat(f"{path.removesuffix('.db')}.modules.db").st_mode
        self.assertEqual(mode & 0o777, 0o600)


class PostgreSQLTests(DatabaseCase, TestCase):
    has_schema = True

    def options(self) -> Any:
        return {"name": "psycopg2", "args": empty_postgres(self)}

    def driver(self) -> Any:
        import psycopg2

        return psycopg2


class PlaceTests(TestCase):
    def test_names(self) -> None:
        """The file or schema has the name of ours in its own, which PostgreSQL does not cut to the
        name of ours."""
        self.assertEqual(beside(SQLite("/a/homeserver.db")).path, "/a/homeserver.modules.db")
        self.assertEqual(beside(SQLite(":memory:")).path, ":memory:")
        self.assertEqual(beside(PostgreSQL({})).schema, "regsys_modules")
        longest = "x" * 63
        self.assertEqual(beside(PostgreSQL({}, longest)).schema, "x" * 55 + "_modules")

    def test_placeholders(self) -> None:
        """Outside of quotes ? is a placeholder; a percent sign is one nowhere."""
        for given, expected in {
            "a = ? AND b = ?": "a = %s AND b = %s",
            "a LIKE '%?' AND b = ?": "a LIKE '%%?' AND b = %s",
            "a = 'it''s ?' AND b % 2 = ?": "a = 'it''s ?' AND b %% 2 = %s",
        }.items():
            self.assertEqual(_QUOTED_OR_MARK.sub(_as_psycopg, given), expected)

    def test_inMemory(self) -> None:
        """The subsystem of tests has one, too; what a database that is away raises is a refusal."""
        apis: list[Any] = []
        path = f"{package(self, Module=lambda config, api: apis.append(api) or api)}.Module"
        standalone(self, modules=[{"module": path}])
        (api,) = apis

        def answer(txn: ModuleCursor) -> Any:
            txn.execute("SELECT ? + ?", (1, 2))
            return txn.fetchmany(5)

        found = self.successResultOf(api.run_db_interaction("add", answer))
        self.assertEqual([tuple(row) for row in found], [(3,)])

        def full(txn: ModuleCursor) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        refused = self.failureResultOf(api.run_db_interaction("x", full), ModuleRefusal)
        self.assertEqual(refused.value.code, 503)
