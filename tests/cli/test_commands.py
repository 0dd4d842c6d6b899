"""The command line as an operator uses it, in a folder of its own. A command that needs the
reactor is a process; what needs none is called here, since each process takes a second."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import yaml
from twisted.trial.unittest import SynchronousTestCase

from regsys.cli import main
from regsys.model import JOB_LEASE_MS
from tests.support import postgres
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.service_process import ROOT
from tests.support.service_process import psycopg2 as psycopg2_section


class CommandCase(SynchronousTestCase):
    """With a configuration of the commands' own, and their database."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def config(self, **options: Any) -> str:
        data = {
            "server_name": "test.example",
            "macaroon_secret_key": "a secret of tests alone",
            "bcrypt_rounds": 4,
            "database": {"name": "sqlite3", "args": {"database": "homeserver.db"}},
            **options,
        }
        (self.folder / "homeserver.yaml").write_text(yaml.safe_dump(data))
        return "homeserver.yaml"

    def regsys(
        self, *arguments: str, stdin: str = "", file_limit: Optional[int] = None
    ) -> subprocess.CompletedProcess[str]:
        """``file_limit``: no file that it writes may grow larger."""

        def limit() -> None:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        return subprocess.run(
            [sys.executable, "-m", "regsys", *arguments],
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            # A limit must not leave us half of a compiled file.
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=limit,
        )

    def called(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, for what is refused, and for commands without a reactor."""
        out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(arguments)
        except SystemExit as ended:  # of the parser
            assert isinstance(ended.code, int), ended
            status = ended.code
        finally:
            os.chdir(before)
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    def rows(self, sql: str) -> list[Any]:
        connection = sqlite3.connect(self.folder / "homeserver-regsys.db")
        self.addCleanup(connection.close)
        return connection.execute(sql).fetchall()


class CommandTests(CommandCase):
    def test_registerUser(self) -> None:
        """register-user makes a whole account, an admin's if asked, with registration closed."""
        config = self.config()
        done = self.regsys("register-user", "-c", config, "--admin", "Root", stdin="swordfish\n")
        self.assertEqual((done.returncode, done.stdout), (0, "@root:test.example is registered.\n"))
        self.assertEqual(
            self.rows(
                "SELECT user_id, admin, display_name FROM users JOIN profiles USING (user_id)"
            ),
            [("@root:test.example", 1, "root")],
        )
        self.assertTrue(self.rows("SELECT password_hash FROM users")[0][0].startswith("$2b$04$"))
        self.assertNotIn("swordfish", done.stdout + done.stderr)

    def test_registerUserBeginsItsJobs(self) -> None:
        """What an account brings has had its first attempt when the command ends, and is not held
        until its lease would end."""
        homeserver = {"url": f"http://127.0.0.1:{free_port()}", "as_token": "nobody-is-there"}
        config = self.config(regsys={"homeserver": homeserver})
        done = self.regsys("register-user", "-c", config, "alice", stdin="swordfish\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the homeserver does not say whether this name is free: http", done.stderr)
        command = ("register-user", "--existing", "-c", config, "alice")
        done = self.regsys(*command, stdin="swordfish\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        ((attempts, waits_ms, error),) = self.rows(
            "SELECT attempts, due_ms - created_ms, last_error FROM jobs"
        )
        self.assertEqual(attempts, 1)
        self.assertLess(waits_ms, JOB_LEASE_MS)
        self.assertIn("127.0.0.1", error)

    def test_version(self) -> None:
        """--version says which one it is, and needs no configuration."""
        done = self.regsys("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^regsys [0-9(]")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_wrongPort(self) -> None:
        """A port that is none, or whose listener is not clear, stops the start."""
        for port in ("0", "65536", "x", "-1"):
            done = self.called("serve", "--port", port)
            self.assertEqual(done.returncode, 2)
            self.assertIn("is not a port" if port != "-1" else "--port", done.stderr)
        two = [{"port": port, "resources": [{"names": ["client"]}]} for port in (8011, 8012)]
        done = self.called("serve", "-c", self.config(listeners=two), "--port", "8010")
        self.assertEqual(done.returncode, 2)
        self.assertIn("not exactly one listener", done.stderr)

    def test_registerUserRefused(self) -> None:
        """A taken name is told in one line, without a traceback; nothing is changed."""
        config = self.config()
        self.regsys("register-user", "-c", config, "root", stdin="swordfish\n")
        done = self.regsys("register-user", "-c", config, "ROOT", stdin="another\n")
        self.assertEqual((done.returncode, done.stderr), (1, "regsys: This user name is taken.\n"))
        self.assertEqual(len(self.rows("SELECT 1 FROM users")), 1)

    def test_toldOnce(self) -> None:
        """What a warning speaks of is not listed once more as without effect."""
        config = self.config(emial={}, max_upload_size="50M")
        done = self.called("check-config", "-c", config)
        self.assertIn("regsys: options without effect here: max_upload_size\n", done.stderr)
        self.assertIn("emial is not an option: did you mean email?", done.stderr)

    def test_warningsWhereAskedFor(self) -> None:
        """A command that does something else does not repeat the configuration's warnings."""
        done = self.called("migrate", "-c", self.config(emial={}))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_emptyPassword(self) -> None:
        """An empty password makes no account."""
        done = self.regsys("register-user", "-c", self.config(), "root", stdin="\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("password is empty", done.stderr)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())

    def test_approveUser(self) -> None:
        """approve-user lets a waiting account in; a name that nobody has is told."""
        config = self.config()
        self.regsys("register-user", "-c", config, "carol", stdin="swordfish\n")
        connection = sqlite3.connect(self.folder / "homeserver-regsys.db")
        connection.execute("UPDATE users SET approved = FALSE")
        connection.commit()
        connection.close()
        done = self.regsys("approve-user", "-c", config, "carol")
        self.assertEqual((done.returncode, done.stdout), (0, "carol may log in.\n"))
        self.assertEqual(self.rows("SELECT approved FROM users"), [(1,)])
        self.assertEqual(self.regsys("approve-user", "-c", config, "nobody").returncode, 1)

    def test_migrate(self) -> None:
        """migrate says what it applied, and the second time that there was nothing to do."""
        config = self.config()
        first = self.regsys("migrate", "-c", config)
        self.assertIn("applied schema 1", first.stdout)
        self.assertIn("was up to date", self.regsys("migrate", "-c", config).stdout)
        mode = (self.folder / "homeserver-regsys.db").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_newerSchema(self) -> None:
        """A database that a newer regsys has migrated is refused in one line."""
        config = self.config()
        self.called("migrate", "-c", config)
        connection = sqlite3.connect(self.folder / "homeserver-regsys.db")
        connection.execute("INSERT INTO schema_versions VALUES (999)")
        connection.commit()
        connection.close()
        done = self.called("migrate", "-c", config)
        self.assertEqual(done.returncode, 2)
        self.assertIn("the database has schema 999", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_checkConfig(self) -> None:
        """check-config says where accounts are, what has no effect, and touches no database."""
        done = self.called("check-config", "-c", self.config(max_upload_size="50M"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("homeserver-regsys.db", done.stdout)
        self.assertIn("max_upload_size", done.stderr)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())

    def test_checkWhatWaits(self) -> None:
        """check-config says ahead of a start what will have to wait: rooms without a homeserver,
        codes without a gateway."""
        homeserver = {"url": "http://localhost:8008", "as_token": "x"}
        gateway = {"enabled": True, "url": "http://localhost:1"}
        for own, told in (
            ({"sms": {"enabled": True}}, ["NOT joined", "NOT sent"]),
            ({"sms": gateway, "homeserver": homeserver}, []),
        ):
            config = self.config(auto_join_rooms=["#lobby:test.example"], regsys=own)
            done = self.called("check-config", "-c", config)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(re.findall("NOT [a-z]+", done.stderr), told, done.stderr)

    def test_badConfig(self) -> None:
        """All that is wrong comes in one report, without a traceback."""
        done = self.called(
            "check-config", "-c", self.config(bcrypt_rounds="many", session_lifetime="soon")
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("bcrypt_rounds", done.stderr)
        self.assertIn("session_lifetime", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_noConfig(self) -> None:
        """Only serve makes up a demonstration's configuration; other commands want a file."""
        done = self.called("migrate")
        self.assertEqual(done.returncode, 2)
        self.assertIn("-c FILE", done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_databaseNotReachable(self) -> None:
        """A PostgreSQL that isn't there is told in one line."""
        database = {"name": "psycopg2", "args": {"host": "/nowhere", "user": "regsys"}}
        done = self.called("migrate", "-c", self.config(database=database))
        self.assertEqual(done.returncode, 2)
        self.assertIn("the database cannot be opened", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_fullDisk(self) -> None:
        """Where there is no room for the database, its path is told, what is free, and a way out:
        in one line, whether there is a database already or none yet."""

        place = self.folder / "homeserver-regsys.db"
        for _ in range(2):
            done = self.regsys("migrate", "-c", self.config(), file_limit=4096)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"(the SQLite file {place}; ", done.stderr)
            self.assertRegex(done.stderr, r"MB are free on its disk\): make room there")
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            place.unlink()
            self.assertEqual(self.called("migrate", "-c", self.config()).returncode, 0)

    def test_notADatabase(self) -> None:
        """Another program's file is left as it is, and named."""
        place = self.folder / "homeserver-regsys.db"
        place.write_text("a diary\n" * 1000)
        done = self.called("migrate", "-c", self.config())
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"(the SQLite file {place}): it is another program's file", done.stderr)
        self.assertEqual(place.read_text(), "a diary\n" * 1000)

    def test_noRights(self) -> None:
        """What keeps the tables from being made is told in one line, too."""
        args = postgres.dsn(self)
        role = f"{args['dbname']}_clerk"
        postgres.shared().execute(f"CREATE ROLE {role}")
        self.addCleanup(postgres.shared().execute, f"DROP ROLE {role}")
        database = psycopg2_section({**args, "options": f"-c role={role}"})
        done = self.called("migrate", "-c", self.config(database=database))
        self.assertEqual(done.returncode, 2)
        expected = "regsys: the database cannot be prepared: permission denied for database"
        self.assertTrue(done.stderr.startswith(expected), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_encoding(self) -> None:
        """A PostgreSQL database that cannot hold every name is refused, with its mend."""
        args = postgres.dsn(self)
        for encoding in ("SQL_ASCII", "LATIN1"):
            name = f"{args['dbname']}_{encoding.lower()}"
            postgres.shared().execute(
                f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
                " TEMPLATE template0"
            )
            self.addCleanup(postgres.shared().drop_database, {"dbname": name})
            database = psycopg2_section({**args, "dbname": name})
            done = self.called("migrate", "-c", self.config(database=database))
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"database '{name}' has the encoding {encoding}", done.stderr)
            self.assertIn("ENCODING 'UTF8'", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_databaseInMemory(self) -> None:
        """An SQLite database in memory would be another one for each connection: refused."""
        database = {"name": "sqlite3", "args": {"database": ":memory:"}}
        done = self.called("migrate", "-c", self.config(database=database))
        self.assertEqual(done.returncode, 2)
        self.assertIn("in memory cannot be served", done.stderr)

    def test_demoFiles(self) -> None:
        """The demonstration's secrets are its owner's alone, and stay the same ones."""
        script = "from regsys.cli import demo; print(demo.config_file(create=True))"
        for _ in range(2):
            subprocess.run(
                [sys.executable, "-c", script],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=True,
                capture_output=True,
            )
            path = self.folder / "regsys-demo/homeserver.yaml"
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
            text = path.read_text()
        self.assertEqual(text, path.read_text())
        self.assertGreater(len(yaml.safe_load(text)["macaroon_secret_key"]), 40)
