"""``regsys adopt`` on the command line."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from io import StringIO
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.cli.adoption import Progress
from tests.cli.test_commands import CommandCase
from tests.support.service_process import psycopg2 as psycopg2_section
from tests.support.synapse_tables import SynapseTables, user_id


class AdoptTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.there = SynapseTables.in_file(self, str(self.folder / "homeserver.db"))
        self.config(password_config={"pepper": "p"})

    def adopt(self, *arguments: str, status: int = 0) -> Any:
        done = self.called("adopt", "-c", "homeserver.yaml", *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_adopt(self) -> None:
        """The database of the file is read, the report says what was adopted, and with --report a
        file that nobody else may read says all that does not fit."""
        for number in range(7):
            self.there.user(f"Name{number}", "pw")
        self.there.user("alice", "pw")
        done = self.adopt("--report", "findings")
        self.assertIn("the SQLite file homeserver.db (schema 94)", done.stdout)
        self.assertIn("         8 accounts\n", done.stdout)
        self.assertIn("… and 2 more", done.stdout)
        self.assertIn("8 users looked at", done.stderr)
        self.assertNotIn("pepper", done.stdout)
        lines = (self.folder / "findings").read_text().splitlines()
        self.assertEqual(lines, [f"old_name\t{user_id(f'Name{n}')}" for n in range(7)])
        self.assertEqual(os.stat(self.folder / "findings").st_mode & 0o777, 0o600)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users"), [(8,)])
        again = self.adopt()
        self.assertIn("         8 were adopted before\n", again.stdout)

    def test_dryRun(self) -> None:
        """A dry run says the same as the run, and does not even make our file."""
        for name in ("Alice", "alice", "ALICE"):
            self.there.user(name, "pw")
            self.there.address(name, f"{name}@mail.example")
        dry = self.adopt("--dry-run")
        self.assertIn("Nothing was written.", dry.stdout)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())
        done = self.adopt()

        def report(text: str) -> list[str]:
            return text.split("dopted:\n")[1].splitlines()[:-1]

        self.assertEqual(report(dry.stdout), report(done.stdout))
        self.there.user("bob")
        before = self.rows("SELECT * FROM users")
        self.assertIn("         1 accounts\n", self.adopt("--dry-run").stdout)
        self.assertEqual(self.rows("SELECT * FROM users"), before)

    def test_stopped(self) -> None:
        """Of a Synapse that is stopped, only its file is there afterwards, unchanged."""
        self.there.user("alice")
        self.there.connection.close()
        content = (self.folder / "homeserver.db").read_bytes()
        self.adopt("--from", "homeserver.db")
        self.assertEqual((self.folder / "homeserver.db").read_bytes(), content)
        names = {path.name for path in self.folder.iterdir()}
        self.assertEqual(names, {"homeserver.db", "homeserver-regsys.db", "homeserver.yaml"})

    def test_refused(self) -> None:
        """What cannot be read is refused in a sentence, without a change of anything."""
        (self.folder / "text").write_text("no database" * 100)
        sqlite3.connect(self.folder / "empty.db").execute(
            "CREATE TABLE other (a)"
        ).connection.close()
        for source, sentence in (
            ("missing.db", "there is no such file"),
            ("text", "it is no SQLite database"),
            ("empty.db", "these are not the tables of a Synapse"),
            ("host=/nowhere dbname=x", "PostgreSQL: "),
        ):
            done = self.adopt("--from", source, status=1)
            self.assertIn(sentence, done.stderr)
            self.assertTrue(done.stderr.startswith("regsys: "), done.stderr)
        done = self.adopt("--report", "missing/findings", status=1)
        self.assertIn("missing/findings cannot be written", done.stderr)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())
        self.adopt()
        done = self.adopt("--from", "homeserver-regsys.db", status=1)
        self.assertIn("is regsys's own database", done.stderr)

    def test_noDatabase(self) -> None:
        """If the database is not where the files say, --from is asked for."""
        self.config(
            database={"name": "sqlite3", "args": {"database": "elsewhere.db"}},
            regsys={"database": {"name": "sqlite3", "args": {"database": "ours.db"}}},
        )
        done = self.adopt(status=1)
        self.assertIn("elsewhere.db: there is no such file: name Synapse's", done.stderr)
        self.there.user("alice")
        self.adopt("--from", "homeserver.db")

    def test_warnings(self) -> None:
        """Without pepper or key the report says what will not work."""
        self.config(macaroon_secret_key=None)
        done = self.adopt()
        self.assertIn("password_config.pepper is not set here", done.stdout)
        self.assertIn("macaroon_secret_key is not set here", done.stdout)


class HandBackTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.there = SynapseTables.in_file(self, str(self.folder / "homeserver.db"))
        self.config(password_config={"pepper": "p"})
        for name in ("alice", "bob"):
            self.there.user(name, "old")
        self.assertEqual(self.called("adopt", "-c", "homeserver.yaml").returncode, 0)

    def change(self, sql: str) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as ours:
            ours.execute(sql)
            ours.commit()

    def test_script(self) -> None:
        """The script says first what it is, then what cannot go back, and is one transaction;
        nothing of it is executed."""
        self.change("UPDATE users SET password_hash = 'new' WHERE name_key = 'alice'")
        self.change("UPDATE users SET password_hash = 'sha384:x' WHERE name_key = 'bob'")
        before = self.there.contents()
        done = self.called("hand-back", "-c", "homeserver.yaml")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.there.contents(), before)
        comments, _, statements = done.stdout.partition("BEGIN IMMEDIATE;\n")
        self.assertTrue(all(line.startswith("--") for line in comments.splitlines()))
        self.assertIn("Stop regsys and Synapse first", comments)
        self.assertRegex(
            comments, rf"What cannot go back:\n-- +1 × a password of .*\n-- +{user_id('bob')}\n"
        )
        self.assertIn("1 passwords go back", comments)
        self.assertTrue(statements.endswith("COMMIT;\n"))
        # Each account is named above its statements, and only if there are any.
        self.assertIn(f"\n-- {user_id('alice')}\nUPDATE users SET", statements)
        self.assertNotIn("Registration tokens", statements)
        self.there.connection.executescript(done.stdout)
        self.assertEqual(
            self.there.execute("SELECT password_hash FROM users ORDER BY name").fetchall(),
            [("new",), (None,)],
        )

    def test_output(self) -> None:
        """With --output it is in a file that nobody else may read."""
        done = self.called("hand-back", "-c", "homeserver.yaml", "--output", "back.sql")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        text = (self.folder / "back.sql").read_text()
        self.assertIn("Everything can go back.", text)
        self.assertEqual(os.stat(self.folder / "back.sql").st_mode & 0o777, 0o600)
        done = self.called("hand-back", "-c", "homeserver.yaml", "--from", "missing.db")
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no such file", done.stderr)

    def test_adoptAgain(self) -> None:
        """After a hand-back our tables are old: nothing is adopted into them, unless the operator
        says that its SQL was never executed."""
        files = ("-c", "homeserver.yaml")
        self.called("hand-back", *files, "--output", "back.sql")
        for more in ((), ("--dry-run",)):
            done = self.called("adopt", "-c", "homeserver.yaml", *more)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("hand-back was run on 20", done.stderr)
            self.assertIn("move homeserver-regsys.db away", done.stderr)
        self.config(
            matrix_authentication_service={"enabled": True, "secret": "abc"},
            regsys={"homeserver": {"url": "http://localhost:8008", "delegated": True}},
        )
        self.assertIn("hand-back has been run", self.called("migrate", *files).stderr)
        again = ("adopt", "-c", "homeserver.yaml", "--not-handed-back")
        self.assertEqual(self.called(*again, "--dry-run").returncode, 0)
        self.assertEqual(self.called("adopt", "-c", "homeserver.yaml").returncode, 1)
        self.assertEqual(self.called(*again).returncode, 0)
        self.assertNotIn("hand-back", self.called("migrate", *files).stderr)
        self.assertEqual(self.called("adopt", "-c", "homeserver.yaml").returncode, 0)


class PostgresTests(CommandCase):
    def test_adopt(self) -> None:
        """In PostgreSQL our schema is beside Synapse's tables, or another role reads those; a dry
        run is rolled back."""
        there = SynapseTables.in_postgres(self)
        there.user("alice", "pw")
        self.config(database=psycopg2_section(there.where))
        # The tests' role is called regsys, so that our schema would hide Synapse's tables from it.
        refused = self.called("adopt", "-c", "homeserver.yaml", "--dry-run")
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("write another name as regsys.database_schema", refused.stderr)
        options = {"options": "-c search_path=public"}
        self.config(database=psycopg2_section({**there.where, **options}))
        self.addCleanup(there.execute, "DROP SCHEMA regsys CASCADE")
        dry = self.called("adopt", "-c", "homeserver.yaml", "--dry-run")
        self.assertEqual(dry.returncode, 0, dry.stderr)
        self.assertIn("         1 accounts\n", dry.stdout)
        count = "SELECT COUNT(*) FROM regsys.users"
        self.assertEqual(there.execute(count).fetchall(), [(0,)])
        place = f"host={there.where['host']} port={there.where['port']} user=regsys"
        done = self.called(
            "adopt", "-c", "homeserver.yaml", "--from", f"{place} dbname={there.where['dbname']}"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(there.execute(count).fetchall(), [(1,)])
        script = self.called("hand-back", "-c", "homeserver.yaml").stdout
        # The role's name is our schema's: its tables would be found first.
        self.assertIn("SET LOCAL search_path TO public;\n", script)
        there.execute(script)
        refused = self.called("adopt", "-c", "homeserver.yaml")
        self.assertIn("DROP SCHEMA regsys CASCADE", refused.stderr)


class ProgressTests(SynchronousTestCase):
    def progress(self, *, is_terminal: bool) -> tuple[Clock, StringIO, Progress]:
        class Output(StringIO):
            def isatty(self) -> bool:
                return is_terminal

        clock, output = Clock(), Output()
        return clock, output, Progress(10_000, output, clock.seconds)

    def test_log(self) -> None:
        """In a log there is a line every ten seconds, with the rate and the time that is left."""
        clock, output, progress = self.progress(is_terminal=False)
        for _ in range(4):
            clock.advance(5)
            progress.add(1000)
        progress.end()
        self.assertEqual(
            output.getvalue().splitlines(),
            [
                "2,000 of 10,000 users, 200/s, 40 s left",
                "4,000 of 10,000 users, 200/s, 30 s left",
                "4,000 users looked at in 20.0 s",
            ],
        )

    def test_terminal(self) -> None:
        """On a terminal one line is overwritten."""
        clock, output, progress = self.progress(is_terminal=True)
        clock.advance(1)
        progress.add(5000)
        self.assertEqual(output.getvalue(), "\r5,000 of 10,000 users, 5,000/s, 1 s left\x1b[K")
        progress.end()
        self.assertTrue(output.getvalue().endswith("\r\x1b[K5,000 users looked at in 1.0 s\n"))
