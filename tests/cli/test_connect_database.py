"""What ``check-config --connect`` finds in the database about passwords."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from twisted.trial.unittest import SynchronousTestCase

from regsys.cli import connect_database
from regsys.config import Config
from regsys.storage.database import Transaction
from regsys.testing import config
from regsys.wiring.process import connect, dialect, prepare
from tests.support import postgres
from tests.support.service_process import psycopg2, sqlite

USER = (
    "INSERT INTO users (user_id, name_key, password_hash, is_guest, admin, approved,"
    " shadow_banned, deactivated, created_ms) VALUES (?, ?, ?, FALSE, FALSE, TRUE, FALSE, FALSE, 0)"
)
ADOPTED = "INSERT INTO adopted_users (user_id, mark, last_token, adopted_ms) VALUES (?, '', 0, 0)"


class DatabaseTests:
    def database(self: Any) -> dict[str, Any]:
        raise NotImplementedError

    def setUp(self: Any) -> None:
        self.section = self.database()

    def chosen(self: Any, pepper: str = "canary", **options: Any) -> Config:
        return config(database=self.section, password_config={"pepper": pepper}, **options)

    def add(self: Any, name: str, password_hash: str, is_adopted: bool) -> None:
        connection = connect(self.chosen().database)
        txn = Transaction(connection.cursor(), dialect(self.chosen().database))
        txn.run(USER, (name, name, password_hash))
        if is_adopted:
            txn.run(ADOPTED, (name,))
        connection.commit()
        connection.close()

    def found(self: Any, chosen: Config) -> Sequence[str]:
        found: Sequence[str] = connect_database.ask(chosen)
        self.assertNotIn("canary", str(found))
        return found

    def test_pepper(self: Any) -> None:
        """Another pepper than that of the regsys before is warned of, each time: nothing is
        written."""
        self.assertEqual(self.found(self.chosen()), ())
        prepare(self.chosen())
        self.assertEqual(self.found(self.chosen()), [])
        # Of 256 peppers one has the same digest.
        for _ in range(2):
            found = [self.found(self.chosen(pepper)) for pepper in ("", "canaries", "c")]
            warned = [warnings for warnings in found if warnings]
            self.assertGreaterEqual(len(warned), 2)
            self.assertIn("password_config.pepper is not the one", warned[0][0])
        self.assertEqual(self.found(self.chosen()), [])

    def test_rounds(self: Any) -> None:
        """Fewer rounds than adopted passwords have are warned of; those of regsys's own are as
        they were chosen."""
        prepare(self.chosen())
        self.add("own", "$2b$14$" + "x" * 53, is_adopted=False)
        self.add("none", "", is_adopted=True)
        self.assertEqual(self.found(self.chosen(bcrypt_rounds=4)), [])
        self.add("one", "$2b$09$" + "x" * 53, is_adopted=True)
        self.add("two", "$2a$12$" + "x" * 53, is_adopted=True)
        self.assertEqual(self.found(self.chosen(bcrypt_rounds=12)), [])
        (warning,) = self.found(self.chosen(bcrypt_rounds=10))
        self.assertIn("bcrypt_rounds is 10, and adopted passwords have 12", warning)


class SQLiteTests(DatabaseTests, SynchronousTestCase):
    def database(self) -> dict[str, Any]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return sqlite(folder)


class PostgreSQLTests(DatabaseTests, SynchronousTestCase):
    def database(self) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
