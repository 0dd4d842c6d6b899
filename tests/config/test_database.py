"""The location of our tables."""

from __future__ import annotations

from typing import Any

import attr

from regsys.config import DatabaseConfig
from tests.config.case import ConfigCase


class DatabaseTests(ConfigCase):
    def sqlite(self, path: str) -> dict[str, Any]:
        return {"name": "sqlite3", "args": {"database": path}}

    def test_sqliteFilesStandBesideTheHomeservers(self) -> None:
        """The homeserver's SQLite file is never opened, in whatever form it is named."""
        for options, path in (
            ({}, "homeserver-regsys.db"),
            ({"database": self.sqlite("/data/homeserver.db")}, "/data/homeserver-regsys.db"),
            ({"database": self.sqlite("/a.b/hs")}, "/a.b/hs-regsys"),
            ({"database": self.sqlite(":memory:")}, ":memory:"),
            ({"database_path": "old.db"}, "old-regsys.db"),
            ({"regsys": {"database": self.sqlite("/data/ours.db")}}, "/data/ours.db"),
        ):
            database = self.parse(options).database
            self.assertEqual((database.engine, database.path), ("sqlite", path))

    def test_theHomeserversOwnFileIsRefused(self) -> None:
        """A database of our own must not be the homeserver's."""
        self.assertProblem(
            {"database": self.sqlite("x.db"), "regsys": {"database": self.sqlite("./x.db")}},
            "regsys.database.args.database",
            "./x.db",
        )

    def test_aFileIsNamedByText(self) -> None:
        """A number instead of a file name is one problem, alone or beside the homeserver's file."""
        wrong = {"name": "sqlite3", "args": {"database": 7}}
        self.assertProblem({"database": wrong}, "database.args.database: not text (7)")
        options = {"database": self.sqlite("x"), "regsys": {"database": wrong}}
        self.assertProblem(options, "regsys.database.args.database: not text (7)")
        options = {"database": wrong, "regsys": {"database": self.sqlite("x")}}
        self.assertEqual(self.parse(options).database.path, "x")

    def test_anotherFileOrServerIsOurs(self) -> None:
        """A database that only resembles the homeserver's is accepted."""
        memory, postgres = self.sqlite(":memory:"), {"name": "psycopg2"}
        for theirs, ours in (
            (self.sqlite("x.db"), self.sqlite("y.db")),
            (memory, memory),
            (self.sqlite("x"), {**self.sqlite("x"), **postgres}),
            ({**self.sqlite("x"), **postgres}, {**self.sqlite("y"), **postgres}),
            ({**postgres, "args": {}}, self.sqlite("x.db")),
        ):
            config = self.parse({"database": theirs, "regsys": {"database": ours}})
            self.assertEqual(config.unused, ("database",))

    def test_oneBoundOfThePoolMovesTheOther(self) -> None:
        """If one bound of the pool is set, the other is adapted to it."""
        for bounds, expected in (
            ({}, (1, 3)),
            ({"cp_max": 7}, (1, 7)),
            ({"cp_min": 20}, (20, 20)),
            ({"cp_min": 2, "cp_max": 2}, (2, 2)),
        ):
            database = self.parse({"database": {"name": "psycopg2", "args": bounds}}).database
            self.assertEqual((database.pool_min, database.pool_max), expected)

    def test_postgres(self) -> None:
        """psycopg2 gets its arguments, the pool its own, our tables a schema."""
        args = {"user": "hs", "dbname": "synapse", "sslmode": "require", "cp_min": 2, "cp_max": 4}
        config = self.parse(
            {
                "database": {"name": "psycopg2", "args": args},
                "regsys": {"database_schema": "accounts"},
            }
        )
        database = config.database
        self.assertEqual((database.engine, database.path), ("postgres", None))
        self.assertEqual(database.args, {"user": "hs", "dbname": "synapse", "sslmode": "require"})
        self.assertEqual((database.pool_min, database.pool_max), (2, 4))
        self.assertEqual((database.schema, config.unused), ("accounts", ()))

    def test_ofSeveralTheMainOneCounts(self) -> None:
        """Of several ``databases`` the first counts that holds the store ``main``, or all
        stores."""
        state = {**self.sqlite("state.db"), "data_stores": ["state"]}
        main = {**self.sqlite("main.db"), "data_stores": ["main"]}
        config = self.parse({"databases": {"a": state, "b": main}})
        self.assertEqual(config.database.path, "main-regsys.db")
        self.assertEqual(set(config.unused), {"databases.a.name", "databases.a.args"})
        config = self.parse({"databases": {"a": state, "b": self.sqlite("all.db")}})
        self.assertEqual(config.database.path, "all-regsys.db")
        self.assertProblem({"databases": {"a": state}}, "databases")
        self.assertProblem({"databases": {"b": main}, "database": main}, "databases")

    def test_incompleteDatabasesAreRefused(self) -> None:
        """A driver, an SQLite file and consistent bounds of the pool are required."""
        for database, name in (
            ({"args": {"database": "x"}}, "database.name: missing"),
            ({"txn_limit": 1}, "database.name: missing"),
            ({"name": "mysql", "args": {"database": "x"}}, "database.name: not known"),
            ({"name": "sqlite3"}, "database.args.database: missing"),
            ({"name": "psycopg2", "args": {"cp_min": 9, "cp_max": 8}}, "database.args.cp_min"),
        ):
            self.assertProblem({"database": database}, name)

    def test_theHomeservers(self) -> None:
        """The homeserver's own database is what the files name apart from regsys.database."""
        sqlite = DatabaseConfig(engine="sqlite", path="/data/homeserver.db")
        postgres = DatabaseConfig(engine="postgres", args={"dbname": "synapse"})
        section = {"name": "psycopg2", "args": {"dbname": "synapse", "cp_max": 10}}
        ours = {"database": self.sqlite("/data/ours.db")}
        for options, expected in (
            ({}, attr.evolve(sqlite, path="homeserver.db")),
            ({"database": self.sqlite("/data/homeserver.db"), "regsys": ours}, sqlite),
            ({"database_path": "/data/homeserver.db"}, sqlite),
            ({"database": section}, postgres),
            ({"databases": {"one": {**section, "data_stores": ["main"]}}}, postgres),
        ):
            self.assertEqual(self.parse(options).homeserver_database, expected)
