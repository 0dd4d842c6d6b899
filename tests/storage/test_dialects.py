"""The meaning of the drivers' real exceptions, and how each database is opened."""

from __future__ import annotations

import sqlite3
from typing import Any, Optional

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.storage.trouble import Trouble
from tests.support import postgres


class SQLiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dialect = SQLite(self.mktemp())
        self.connection = self.connect()
        self.connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY)")
        self.connection.execute("INSERT INTO things VALUES ('one')")

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(**{**self.dialect.connect_args(), "timeout": 0.0})
        self.addCleanup(connection.close)
        self.dialect.opened(connection)
        return connection

    def error(self, *statements: str) -> Exception:
        """The exception of the last statement."""
        *before, last = statements
        for sql in before:
            self.connection.execute(sql)
        try:
            self.connection.execute(last)
        except Exception as error:
            return error
        raise self.failureException(f"{last} raised nothing")

    def assertTrouble(self, trouble: Trouble, error: Exception) -> None:
        self.assertIs(self.dialect.trouble(error, self.connection), trouble, error)

    def test_opened(self) -> None:
        """Commits reach the disk, readers don't wait for writers, foreign keys are enforced, and
        the driver begins no transaction."""
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            self.assertEqual(self.connection.execute(f"PRAGMA {pragma}").fetchone(), (value,))
        self.assertEqual(self.dialect.connect_args()["database"], self.dialect.path)
        self.assertIsNone(self.connection.isolation_level)

    def test_locked(self) -> None:
        """Another connection's write lock is a race to be retried."""
        self.connect().execute("BEGIN IMMEDIATE")
        self.assertTrouble(Trouble.RETRY, self.error("BEGIN IMMEDIATE"))

    def test_uniqueKey(self) -> None:
        """So is a unique key that is taken."""
        self.assertTrouble(Trouble.RETRY, self.error("INSERT INTO things VALUES ('one')"))

    def test_down(self) -> None:
        """A database that cannot be written to is unavailable: read-only, full."""
        insert = "INSERT INTO things VALUES (hex(zeroblob(100000)))"
        self.assertTrouble(Trouble.DOWN, self.error("PRAGMA query_only = ON", insert))
        full = self.error("PRAGMA query_only = OFF", "PRAGMA max_page_count = 1", insert)
        self.assertTrouble(Trouble.DOWN, full)

    def test_notThere(self) -> None:
        """So is a file that cannot be opened."""
        with self.assertRaises(sqlite3.OperationalError) as raised:
            sqlite3.connect("/nowhere/at/all")
        self.assertIs(self.dialect.trouble(raised.exception, None), Trouble.DOWN)

    def test_interrupted(self) -> None:
        """So is a call that was interrupted."""
        self.connection.create_function("cut", 0, lambda: self.dialect.cut(self.connection))
        endless = "WITH RECURSIVE n(i) AS (SELECT cut() UNION ALL SELECT i FROM n) SELECT 1 FROM n"
        with self.assertRaises(sqlite3.OperationalError) as raised:
            self.connection.execute(endless).fetchall()
        self.assertTrouble(Trouble.DOWN, raised.exception)

    def test_bugs(self) -> None:
        """A wrong statement or value, or an exception that is not the driver's, is a bug."""
        for sql in ("SELEC 1", "SELECT * FROM nothing", "SELECT nothing FROM things"):
            self.assertTrouble(Trouble.BUG, self.error(sql))
        with self.assertRaises(sqlite3.Error) as raised:
            self.connection.execute("SELECT ?", ())
        self.assertTrouble(Trouble.BUG, raised.exception)
        self.assertTrouble(Trouble.BUG, ValueError("database is locked"))


class PostgreSQLTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dialect = PostgreSQL(postgres.dsn(self))
        self.connection = self.connect()

    def connect(self) -> Any:
        import psycopg2

        connection = psycopg2.connect(**self.dialect.connect_args())
        self.addCleanup(connection.close)
        self.dialect.opened(connection)
        return connection

    def error(self, sql: str) -> Exception:
        try:
            self.connection.cursor().execute(sql)
        except Exception as error:
            return error
        raise self.failureException(f"{sql} raised nothing")

    def assertTrouble(self, trouble: Trouble, error: Exception, connection: Any = None) -> None:
        connection = connection or self.connection
        self.assertIs(self.dialect.trouble(error, connection), trouble, error)

    def show(self, name: str) -> Optional[str]:
        cursor = self.connection.cursor()
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]

    def test_opened(self) -> None:
        """Tables are looked up in our schema only, and the driver begins no transaction."""
        self.assertEqual(self.show("search_path"), '"regsys"')
        self.assertEqual(self.show("application_name"), "regsys")
        self.assertTrue(self.connection.autocommit)

    def test_roleOfTheSchemasName(self) -> None:
        """A role that owns a homeserver's tables, and is named like our schema, would find ours in
        their place: that is a problem before they are made, and only for such a role."""
        role = str(self.dialect.args["user"])
        ours, elsewhere = attr.evolve(self.dialect, schema=role), PostgreSQL({}, "elsewhere")
        self.assertIsNone(ours.problem(self.connection))
        cursor = self.connection.cursor()
        cursor.execute("CREATE TABLE public.users (name text)")
        problem = ours.problem(self.connection)
        self.assertIn("write another name as regsys.database_schema", problem or "")
        self.assertIsNone(elsewhere.problem(self.connection))
        options = {**self.dialect.args, "options": "-c search_path=public"}
        self.assertIsNone(attr.evolve(ours, args=options).problem(self.connection))
        cursor.execute(f'CREATE SCHEMA "{role}" CREATE TABLE users (user_id text)')
        self.assertIsNone(ours.problem(self.connection))
        cursor.execute(f'DROP SCHEMA "{role}" CASCADE')
        cursor.execute("CREATE ROLE a_homeservers")
        self.addCleanup(self.drop_role)
        cursor.execute("ALTER TABLE public.users OWNER TO a_homeservers")
        self.assertIsNone(ours.problem(self.connection))

    def drop_role(self) -> None:
        cursor = self.connect().cursor()
        cursor.execute("DROP OWNED BY a_homeservers; DROP ROLE a_homeservers")

    def test_limits(self) -> None:
        """The server itself ends a session that has lost its client, so that nothing stays
        locked."""
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            self.assertEqual(self.show(name), "15s")

    def test_options(self) -> None:
        """The operator's own options are used beside ours, and replace ours where allowed."""
        given = {
            "options": "-c statement_timeout=1min",
            "application_name": "mine",
            "connect_timeout": 3,
        }
        self.dialect = PostgreSQL({**self.dialect.args, **given}, schema="Mixed-Case")
        self.connection = self.connect()
        self.assertEqual(self.show("statement_timeout"), "1min")
        self.assertEqual(self.show("application_name"), "mine")
        self.assertEqual(self.show("search_path"), '"Mixed-Case"')
        self.assertEqual(self.dialect.connect_args()["connect_timeout"], 3)

    def test_defaults(self) -> None:
        """No default of the database, and no option of the operator's, changes the meaning of our
        statements or how long they may wait."""
        changed = {
            "default_transaction_isolation": ("serializable", "read committed"),
            "default_transaction_deferrable": ("on", "off"),
            "standard_conforming_strings": ("off", "on"),
            "client_encoding": ("LATIN1", "UTF8"),
            "search_path": ("public", '"regsys"'),
            "lock_timeout": ("1ms", "0"),
            "datestyle": ("German, DMY", "ISO, MDY"),
            "synchronous_commit": ("off", "on"),
        }
        name = self.dialect.args["dbname"]
        for setting, (default, _) in changed.items():
            postgres.shared().execute(f"ALTER DATABASE {name} SET {setting} = '{default}'")
        self.connection = self.connect()
        self.assertEqual(
            {setting: self.show(setting) for setting in changed},
            {setting: ours for setting, (_, ours) in changed.items()},
        )
        given = " ".join(
            f"-c {setting}={changed[setting][0]}"
            for setting in ("default_transaction_isolation", "standard_conforming_strings")
        )
        self.dialect = PostgreSQL({**self.dialect.args, "options": given})
        self.connection = self.connect()
        self.assertEqual(self.show("default_transaction_isolation"), "read committed")
        self.assertEqual(self.show("standard_conforming_strings"), "on")

    def test_begun(self) -> None:
        """A transaction is at READ COMMITTED, whatever the session's default is."""
        self.connection.cursor().execute("SET default_transaction_isolation = 'repeatable read'")
        self.connection.cursor().execute(self.dialect.begin)
        self.assertEqual(self.show("transaction_isolation"), "read committed")

    def test_durability(self) -> None:
        """A level of synchronous_commit that is stricter than ours stays, and so does the
        operator's own."""
        name = self.dialect.args["dbname"]
        for default, expected in {"remote_apply": "remote_apply", "local": "local"}.items():
            sql = f"ALTER DATABASE {name} SET synchronous_commit = '{default}'"
            postgres.shared().execute(sql)
            self.connection = self.connect()
            self.assertEqual(self.show("synchronous_commit"), expected)
        options = {"options": "-c synchronous_commit=off"}
        self.dialect = PostgreSQL({**self.dialect.args, **options})
        self.connection = self.connect()
        self.assertEqual(self.show("synchronous_commit"), "off")

    def test_silence(self) -> None:
        """Connections don't wait for a server that is gone, in the kernel or at connecting; the
        operator's own values are kept."""
        args = self.dialect.connect_args()
        self.assertEqual((args["connect_timeout"], args["tcp_user_timeout"]), (2, 3000))
        self.assertLessEqual(args["keepalives_idle"], 30)
        given = {"keepalives_idle": 99, "tcp_user_timeout": 0}
        args = PostgreSQL({**self.dialect.args, **given}).connect_args()
        self.assertEqual((args["keepalives_idle"], args["tcp_user_timeout"]), (99, 0))

    def test_alive(self) -> None:
        """A session that was ended while idle is detected by a probe."""
        self.assertTrue(self.dialect.is_alive(self.connection))
        session = self.connection.info.backend_pid
        self.connect().cursor().execute(f"SELECT pg_terminate_backend({session}, 10000)")
        self.assertFalse(self.dialect.is_alive(self.connection))

    def test_states(self) -> None:
        """The meaning of each code that the server may give."""
        for trouble, codes in {
            Trouble.RETRY: "40001 40P01 23505 23503 55P03",
            Trouble.DOWN: "53000 53100 53200 57014 58030",
            Trouble.LOST: "08006 25006",
            Trouble.BUG: "42P01 42601 22003 23502 25P02 42501",
        }.items():
            for code in codes.split():
                sql = f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$"
                self.assertTrouble(trouble, self.error(sql))

    def test_terminated(self) -> None:
        """A session that the server has ended is lost, whatever its last error."""
        error = self.error("SELECT pg_terminate_backend(pg_backend_pid())")
        self.assertTrouble(Trouble.LOST, error)
        self.assertTrouble(Trouble.LOST, self.error("SELECT 1"))

    def test_closedInTheMiddle(self) -> None:
        """The driver's own error without a code, of a server that has closed the connection while
        it answered, is a loss too: the driver takes the connection for open."""
        import psycopg2

        self.assertFalse(self.connection.closed)
        closed = psycopg2.DatabaseError("server closed the connection unexpectedly")
        self.assertTrouble(Trouble.LOST, closed)
        self.assertTrouble(Trouble.BUG, psycopg2.ProgrammingError("no results to fetch"))

    def test_cut(self) -> None:
        """A connection that we have cut is lost."""
        self.dialect.cut(self.connection)
        self.assertTrouble(Trouble.LOST, self.error("SELECT 1"))

    def test_notReachable(self) -> None:
        """A server that is not reachable may be so later."""
        import psycopg2

        args = {**self.dialect.args, "host": "/nowhere"}
        with self.assertRaises(psycopg2.OperationalError) as raised:
            psycopg2.connect(**args)
        self.assertIs(self.dialect.trouble(raised.exception, None), Trouble.LOST)

    def test_notTheDrivers(self) -> None:
        """An exception that is not psycopg2's is a bug."""
        self.assertTrouble(Trouble.BUG, ValueError("A string literal cannot contain NUL"))
