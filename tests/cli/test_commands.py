"""The command line as an operator uses it, in a folder of its own. A command that needs the reactor
is a process; other commands are called here, since each process takes a second."""

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
from regsys.cli.commands import used_by
from regsys.model import JOB_LEASE_MS
from regsys.testing import config as config_of
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
        """``file_limit``: the size that no file which it writes may exceed."""

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
            # The limit must not truncate a compiled file.
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=limit,
        )

    def called(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, for refused arguments, and for commands without a reactor."""
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
        """register-user makes a complete account, an admin's if asked, although registration is
        closed."""
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
        """The account's jobs have had their first attempt when the command ends, and are not held
        until their leases would end."""
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

    def test_registerUserCounts(self) -> None:
        """The account counts as an active user, as the processes that serve do not know of it."""
        config = self.config(limit_usage_by_mau=True, max_mau_value=10)
        done = self.regsys("register-user", "-c", config, "alice", stdin="swordfish\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM active_users"), [(1,)])

    def test_version(self) -> None:
        """--version prints the version, and needs no configuration."""
        done = self.regsys("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^regsys [0-9(]")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_wrongPort(self) -> None:
        """An invalid port, or one whose listener is ambiguous, stops the start."""
        for port in ("0", "65536", "x", "-1"):
            done = self.called("serve", "--port", port)
            self.assertEqual(done.returncode, 2)
            self.assertIn("is not a port" if port != "-1" else "--port", done.stderr)
        two = [{"port": port, "resources": [{"names": ["client"]}]} for port in (8011, 8012)]
        done = self.called("serve", "-c", self.config(listeners=two), "--port", "8010")
        self.assertEqual(done.returncode, 2)
        self.assertIn("not exactly one listener", done.stderr)

    def test_registerUserRefused(self) -> None:
        """A taken name is reported in one line, without a traceback; nothing is changed."""
        config = self.config()
        self.regsys("register-user", "-c", config, "root", stdin="swordfish\n")
        done = self.regsys("register-user", "-c", config, "ROOT", stdin="another\n")
        self.assertEqual((done.returncode, done.stderr), (1, "regsys: This user name is taken.\n"))
        self.assertEqual(len(self.rows("SELECT 1 FROM users")), 1)

    def test_reportedOnce(self) -> None:
        """An option with a warning of its own is not listed again among those without effect."""
        config = self.config(emial={}, max_upload_size="50M")
        done = self.called("check-config", "-c", config)
        self.assertIn("regsys: options without effect here: max_upload_size\n", done.stderr)
        self.assertIn("emial is not an option: did you mean email?", done.stderr)

    def test_warningsWhereAskedFor(self) -> None:
        """Other commands do not repeat the configuration's warnings."""
        done = self.called("migrate", "-c", self.config(emial={}))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_emptyPassword(self) -> None:
        """An empty password makes no account."""
        done = self.regsys("register-user", "-c", self.config(), "root", stdin="\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("password is empty", done.stderr)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())

    def test_approveUser(self) -> None:
        """approve-user approves a waiting account; an unknown name is reported."""
        config = self.config()
        self.regsys("register-user", "-c", config, "carol", stdin="swordfish\n")
        connection = sqlite3.connect(self.folder / "homeserver-regsys.db")
        connection.execute("UPDATE users SET approved = FALSE")
        connection.commit()
        connection.close()
        done = self.regsys("approve-user", "-c", config, "carol")
        self.assertEqual((done.returncode, done.stdout), (0, "@carol:test.example may log in.\n"))
        self.assertEqual(self.rows("SELECT approved FROM users"), [(1,)])
        self.assertEqual(self.regsys("approve-user", "-c", config, "nobody").returncode, 1)

    def test_migrate(self) -> None:
        """migrate reports what it applied, and the second time that there was nothing to do."""
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
        """check-config says where accounts are and what has no effect, and touches no database."""
        done = self.called("check-config", "-c", self.config(max_upload_size="50M"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("homeserver-regsys.db", done.stdout)
        self.assertIn("max_upload_size", done.stderr)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())

    def test_checkWhatWaits(self) -> None:
        """check-config warns of what will have to wait: rooms without a homeserver, codes without a
        gateway."""
        homeserver = {"url": "http://localhost:8008", "as_token": "x"}
        gateway = {"enabled": True, "url": "http://localhost:1"}
        for own, expected in (
            ({"sms": {"enabled": True}}, ["NOT joined", "NOT sent"]),
            ({"sms": gateway, "homeserver": homeserver}, []),
        ):
            config = self.config(auto_join_rooms=["#lobby:test.example"], regsys=own)
            done = self.called("check-config", "-c", config)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(re.findall("NOT [a-z]+", done.stderr), expected, done.stderr)

    def test_readerLeft(self) -> None:
        """A reader that has seen enough, such as head, ends a command without a traceback."""
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        done = subprocess.run(
            [sys.executable, "-m", "regsys", "check-config", "-c", self.config()],
            cwd=self.folder,
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=PATIENCE_S,
        )
        self.assertEqual((done.returncode, done.stderr), (1, b""))

    def test_badConfig(self) -> None:
        """All mistakes come in one report, without a traceback."""
        done = self.called(
            "check-config", "-c", self.config(bcrypt_rounds="many", session_lifetime="soon")
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("bcrypt_rounds", done.stderr)
        self.assertIn("session_lifetime", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_noConfig(self) -> None:
        """Only serve writes a demo configuration; other commands require a file."""
        done = self.called("migrate")
        self.assertEqual(done.returncode, 2)
        self.assertIn("-c FILE", done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_databaseNotReachable(self) -> None:
        """An unreachable PostgreSQL is reported in one line."""
        database = {"name": "psycopg2", "args": {"host": "/nowhere", "user": "regsys"}}
        done = self.called("migrate", "-c", self.config(database=database))
        self.assertEqual(done.returncode, 2)
        self.assertIn("the database cannot be opened", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_fullDisk(self) -> None:
        """If the disk is full, one line has the database's path, the free space, and a way out,
        whether there is a database already or not."""

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
        """Another program's file is unchanged, and named."""
        place = self.folder / "homeserver-regsys.db"
        place.write_text("a diary\n" * 1000)
        done = self.called("migrate", "-c", self.config())
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"(the SQLite file {place}): it is another program's file", done.stderr)
        self.assertEqual(place.read_text(), "a diary\n" * 1000)

    def test_noRights(self) -> None:
        """A missing right to make our schema is reported in one line, with the remedy."""
        args = postgres.dsn(self)
        role = f"{args['dbname']}_clerk"
        postgres.shared().execute(f"CREATE ROLE {role}")
        self.addCleanup(postgres.shared().execute, f"DROP ROLE {role}")
        database = psycopg2_section({**args, "options": f"-c role={role}"})
        done = self.called("migrate", "-c", self.config(database=database))
        self.assertEqual(done.returncode, 2)
        self.assertIn(f'run CREATE SCHEMA "regsys" AUTHORIZATION {role},', done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_encoding(self) -> None:
        """A PostgreSQL database whose encoding cannot hold every name is refused, with the
        remedy."""
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
        """An SQLite database in memory is refused, since it would be another one for each
        connection."""
        database = {"name": "sqlite3", "args": {"database": ":memory:"}}
        done = self.called("migrate", "-c", self.config(database=database))
        self.assertEqual(done.returncode, 2)
        self.assertIn("in memory cannot be served", done.stderr)

    def test_demoFiles(self) -> None:
        """The demo's secrets are readable by their owner alone, and are kept on the next start."""
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


class UsedByTests(SynchronousTestCase):
    def test_usedBy(self) -> None:
        """What serve says at its start of who can use the accounts: a homeserver as whose auth
        service it acts; nobody at one that knows it as an application service alone; in general."""
        url = "http://there.example"
        block = {"enabled": True, "secret": "canary"}
        for there, options, part in (
            ({"delegated": True}, {"matrix_authentication_service": block}, "auth service of the"),
            ({"as_token": "canary"}, {}, "nobody can log in or write there"),
        ):
            text = used_by(config_of(**options, regsys={"homeserver": {"url": url, **there}}))
            self.assertIn(url, text)
            self.assertIn(part, text)
            self.assertNotIn("canary", text)
        self.assertIn("this is not a homeserver", used_by(config_of()))
