"""Migrating the schema: once, completely, under a lock, and beside other programs' tables."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Sequence
from unittest import mock

import yaml
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from regsys.storage import migrations
from regsys.storage.database import Database
from regsys.storage.migrations import NewerSchema, migrate, schema_files, statements
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import account
from regsys.testing.database import InlinePool
from tests.support import faults, postgres
from tests.support.patience import PATIENCE_S, until
from tests.support.service_process import psycopg2 as psycopg2_section
from tests.support.service_process import sqlite as sqlite_section

ROOT = Path(__file__).parents[2]
ALL = [number for number, _ in schema_files()]
# Prepares the database of a configuration, once its standard input is closed.
PREPARE = """
import sys
from regsys.wiring.process import prepare
from regsys.config import load
config = load(sys.argv[1:])
sys.stdin.read()
applied, secret = prepare(config)
print(list(applied), secret.decode())
"""


def inline_database_of(connection: Any, dialect: PostgreSQL) -> Database:
    return Database(InlinePool(lambda: connection), dialect, Clock())


class MigrationContract:
    """For both databases; ``connect`` opens the test's, as it is opened by ``dialect``."""

    def rows(self: Any, sql: str) -> Sequence[Any]:
        cursor = self.connect().cursor()
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]

    def migrate(self: Any) -> list[int]:
        return migrate(self.connect(), self.dialect)

    def files(self: Any, *files: str) -> Any:
        """Let these be the schema files, from the first on."""
        numbered = list(enumerate(files, 1))
        return mock.patch.object(migrations, "schema_files", return_value=numbered)

    def test_fromNothing(self: Any) -> None:
        """An empty database gets every file, in order, and the result lists them."""
        self.assertEqual(self.migrate(), ALL)
        self.assertEqual(
            self.rows("SELECT version FROM schema_versions ORDER BY version"),
            [(number,) for number in ALL],
        )
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users"), [(0,)])

    def test_twice(self: Any) -> None:
        """A database that is up to date is unchanged."""
        self.migrate()
        self.rows_before = self.rows("SELECT * FROM schema_versions")
        self.assertEqual(self.migrate(), [])
        self.assertEqual(self.rows("SELECT * FROM schema_versions"), self.rows_before)

    def test_onlyWhatIsMissing(self: Any) -> None:
        """An older database gets the files that came since."""
        first, second = "CREATE TABLE one (a TEXT);\n", "CREATE TABLE two (b TEXT);\n"
        with self.files(first):
            self.assertEqual(self.migrate(), [1])
        with self.files(first, second):
            self.assertEqual(self.migrate(), [2])
        self.assertEqual(self.rows("SELECT * FROM two"), [])

    def test_failure(self: Any) -> None:
        """If one statement fails, nothing of all is done, and the next try may succeed."""
        good = "CREATE TABLE one (a TEXT);\n"
        with self.files(good, "CREATE TABLE two (b TEXT);\nCREATE NONSENSE;\n"):
            self.assertRaises(self.driver_error, self.migrate)
        with self.files(good):
            self.assertEqual(self.migrate(), [1])

    def test_newerSchema(self: Any) -> None:
        """A database that a newer regsys has migrated is refused, and unchanged."""
        self.migrate()
        cursor = self.connect().cursor()
        cursor.execute("INSERT INTO schema_versions VALUES (999)")
        refusal = self.assertRaises(NewerSchema, self.migrate)
        self.assertIn("schema 999", str(refusal))
        self.assertIn(f"up to {ALL[-1]}", str(refusal))
        versions = self.rows("SELECT version FROM schema_versions ORDER BY version")
        self.assertEqual(versions, [(number,) for number in [*ALL, 999]])

    def test_threads(self: Any) -> None:
        """Of several threads that migrate concurrently one does it, and the others find it done."""
        for _ in range(3):
            self.fresh()
            self.assertEqual(sorted(self.at_once(4)), [[], [], [], ALL])

    def at_once(self: Any, number: int) -> list[list[int]]:
        applied: list[list[int]] = []
        start = threading.Barrier(number)

        def run() -> None:
            start.wait()
            applied.append(self.migrate())

        threads = [threading.Thread(target=run) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return applied

    def test_processes(self: Any) -> None:
        """Of processes that start concurrently one migrates, and all have the same secret."""
        path = Path(self.mktemp()).resolve()
        path.write_text(yaml.safe_dump({"server_name": "test.example", **self.section()}))
        command = [sys.executable, "-c", PREPARE, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(3)]
        printed = []
        for process in processes:
            process.stdin.close()
        for process in processes:
            printed.append(process.stdout.read().split("] "))
            self.assertEqual((process.stderr.read(), process.wait()), ("", 0))
            process.stdout.close()
            process.stderr.close()
        self.assertEqual(sorted(applied for applied, _ in printed), ["[", "[", str(ALL)[:-1]])
        self.assertEqual(len({secret for _, secret in printed}), 1)


class SQLiteTests(MigrationContract, SynchronousTestCase):
    driver_error = sqlite3.Error

    def setUp(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        self.dialect = SQLite(self.mktemp())

    def connect(self) -> Any:
        connection = sqlite3.connect(**self.dialect.connect_args())
        self.addCleanup(connection.close)
        self.dialect.opened(connection)
        return connection

    def test_opened(self) -> None:
        """Connections that open a new file concurrently all get it, whichever turns it to WAL."""
        for _ in range(50):
            self.fresh()
            self.assertEqual(sorted(self.at_once(8)), [*[[]] * 7, ALL])

    def section(self) -> dict[str, Any]:
        return {"database": sqlite_section(Path(self.mktemp()).resolve().parent)}


class PostgreSQLTests(MigrationContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.fresh()
        import psycopg2

        self.driver_error = psycopg2.Error

    def fresh(self) -> None:
        self.args = postgres.dsn(self)
        self.dialect = PostgreSQL(self.args)

    def connect(self) -> Any:
        import psycopg2

        connection = psycopg2.connect(**self.dialect.connect_args())
        self.addCleanup(connection.close)
        self.dialect.opened(connection)
        return connection

    def section(self) -> dict[str, Any]:
        return {"database": psycopg2_section(self.args)}

    def execute(self, *statements: str) -> None:
        cursor = self.connect().cursor()
        for sql in statements:
            cursor.execute(sql)

    def test_othersTables(self) -> None:
        """Another program's tables in the same database, of the same names, are not touched."""
        self.execute(
            "CREATE TABLE public.users (name TEXT PRIMARY KEY)",
            "INSERT INTO public.users VALUES ('@old:test.example')",
            "CREATE TABLE public.schema_versions (version INTEGER)",
            "INSERT INTO public.schema_versions VALUES (73)",
        )
        columns = (
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        )
        before = sorted(self.rows(columns))
        self.assertEqual(self.migrate(), ALL)
        self.assertEqual(sorted(self.rows(columns)), before)
        self.assertEqual(self.rows("SELECT * FROM public.users"), [("@old:test.example",)])
        self.assertEqual(self.rows("SELECT * FROM public.schema_versions"), [(73,)])
        self.assertEqual(self.rows("SELECT COUNT(*) FROM regsys.users"), [(0,)])

    # --- Other users of the tables --------------------------------------------------------

    def begin_beside(self) -> Any:
        """One more schema file, and a long reader for which its change must wait."""
        self.migrate()
        more = [*schema_files(), (ALL[-1] + 1, "ALTER TABLE users ADD COLUMN extra TEXT;\n")]
        patched = mock.patch.object(migrations, "schema_files", return_value=more)
        patched.start()
        self.addCleanup(patched.stop)
        self.notices: list[str] = []
        reader = self.connect()
        reader.cursor().execute("SET application_name = 'a long dump'")
        reader.cursor().execute("SET idle_in_transaction_session_timeout = 0")
        reader.cursor().execute("BEGIN; SELECT COUNT(*) FROM users")
        return reader

    def test_longReader(self) -> None:
        """The migration waits for a table's readers in short tries, between which other calls get
        through, and the operator is told which session it waits for; then it is done, once."""
        reader = self.begin_beside()
        users = UserStore(inline_database_of(self.connect(), self.dialect))
        pauses: list[float] = []

        def wait(pause_s: float) -> None:
            pauses.append(pause_s)
            name = f"user{len(pauses)}"
            self.successResultOf(Deferred.fromCoroutine(users.create_account(account(name, name))))
            if len(pauses) == 3:
                reader.cursor().execute("COMMIT")

        applied = migrate(self.connect(), self.dialect, self.notices.append, wait)
        self.assertEqual(applied, [ALL[-1] + 1])
        self.assertEqual(len(self.notices), 3)
        self.assertEqual(pauses, sorted(pauses))
        session = f"process {reader.info.backend_pid} (a long dump, user "
        for sentence in self.notices:
            self.assertIn(session, sentence)
            self.assertIn("in a transaction for ", sentence)
        self.assertEqual(self.rows("SELECT COUNT(extra), COUNT(*) FROM users"), [(0, 3)])

    def test_registrationBehind(self) -> None:
        """A call behind a try that waits for a table does not wait for long."""
        reader = self.begin_beside()
        database = inline_database_of(self.connect(), self.dialect)
        migrating = self.connect()
        waited_s: list[float] = []

        def register() -> None:
            cursor = self.connect().cursor()
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s"
            until(lambda: cursor.execute(waiting, (migrating.info.backend_pid,)) or cursor.rowcount)
            started = time.monotonic()
            faults.finish(Clock(), UserStore(database).create_account(account("behind")))
            waited_s.append(time.monotonic() - started)

        thread = threading.Thread(target=register)
        thread.start()

        def wait(pause_s: float) -> None:
            thread.join(PATIENCE_S)
            reader.cursor().execute("COMMIT")

        applied = migrate(migrating, self.dialect, self.notices.append, wait)
        self.assertEqual(applied, [ALL[-1] + 1])
        self.assertEqual(len(self.notices), 1)
        # Allowance for a slow machine; a request would give up after ten seconds.
        self.assertLess(waited_s[0], migrations.LOCKS_S + 3)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users"), [(1,)])

    def test_rivalReported(self) -> None:
        """A process that migrates for long is waited for, too, and reported."""
        rival = self.connect().cursor()
        rival.execute("SELECT pg_advisory_lock(%s)", (migrations._LOCK,))
        notices: list[str] = []

        def wait(pause_s: float) -> None:
            if notices:
                rival.execute("SELECT pg_advisory_unlock(%s)", (migrations._LOCK,))

        self.assertEqual(migrate(self.connect(), self.dialect, notices.append, wait), ALL)
        self.assertEqual(len(notices), 1)
        self.assertIn("another process of regsys is migrating", notices[0])

    def test_othersErrors(self) -> None:
        """An error that waiting does not mend is raised at once, and no lock is left."""
        notices: list[str] = []
        with self.files("CREATE NONSENSE;\n"), self.assertRaises(self.driver_error):
            migrate(self.connect(), self.dialect, notices.append)
        self.assertEqual(notices, [])
        self.assertEqual(self.migrate(), ALL)

    def test_schemaNames(self) -> None:
        """Any name that the configuration accepts is used unchanged, and others too."""
        for name in ("own", "_7", "user", "select", "x" * 63, "Mixed-Case"):
            self.dialect = PostgreSQL(self.args, name)
            self.assertEqual(self.migrate(), ALL)
            self.assertEqual(self.migrate(), [])
            found = self.rows("SELECT schemaname FROM pg_tables WHERE tablename = 'users'")
            self.assertIn((name,), found)

    def test_schemaMadeByTheAdministrator(self) -> None:
        """A role that may not create schemas can use the one created for it."""
        role = f"{self.args['dbname']}_clerk"
        try:
            postgres.shared().execute(f"CREATE ROLE {role}")
        except Exception as error:
            raise SkipTest("This server does not allow creating roles.") from error
        self.addCleanup(postgres.shared().execute, f"DROP ROLE {role}")
        own, clerks = self.dialect, PostgreSQL({**self.args, "options": f"-c role={role}"})
        self.dialect = clerks
        connection = self.connect()
        self.assertIn("run CREATE SCHEMA", clerks.problem(connection) or "")
        self.dialect = own
        self.execute(f"CREATE SCHEMA regsys AUTHORIZATION {role}")
        self.dialect = clerks
        self.assertIsNone(clerks.problem(connection))
        self.assertEqual(self.migrate(), ALL)
        self.dialect = own
        self.assertEqual(
            self.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'users'"), [(role,)]
        )
        self.execute(f"DROP OWNED BY {role}")


class StatementTests(SynchronousTestCase):
    def test_statements(self) -> None:
        """A file's statements come without its comments, and each dialect gets its own."""
        text = (
            "-- A comment; with a semicolon\nCREATE TABLE a (b TEXT);\n"
            "\n-- only: postgres\nCREATE SEQUENCE c;\n-- only: sqlite\nCREATE TABLE c (d TEXT);\n"
        )
        first = "CREATE TABLE a (b TEXT)"
        self.assertEqual(list(statements(text, "postgres")), [first, "CREATE SEQUENCE c"])
        self.assertEqual(list(statements(text, "sqlite")), [first, "CREATE TABLE c (d TEXT)"])

    def test_numbered(self) -> None:
        """Our files are numbered from one, without a gap."""
        self.assertEqual(ALL, list(range(1, len(ALL) + 1)))
