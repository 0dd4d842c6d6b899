"""What docs/operation.md has people do: the proxy, the log, the container's health check, and the
backup."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import is_open
from tests.support.proxies import ProxyExamples
from tests.support.service_process import ROOT, ServiceProcess, psycopg2, sqlite, write_config

PAGE = (ROOT / "docs/operation.md").read_text("utf-8")
CONTAINER = (ROOT / "Containerfile").read_text("utf-8")
DUMMY = {"type": "m.login.dummy"}
# The options of PostgreSQL's programs, and what psycopg2 calls them.
CONNECTION = {"host": "host", "port": "port", "username": "user"}


def examples(language: str) -> Sequence[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def register(service: ServiceProcess, name: str) -> int:
    body = {"username": name, "password": "correct horse", "auth": DUMMY}
    return service.ask("POST", "/_matrix/client/v3/register", body).status


class RunningTests(SynchronousTestCase):
    def test_behindCaddy(self) -> None:
        """Caddy passes requests on with the client's address, and the log is JSON; the container's
        health check tells whether it serves."""
        proxy = ProxyExamples(self, "operation.md", ("8080", "8009"))
        (log,) = examples("yaml")
        (proxy.folder / "log.yaml").write_text(log)
        listener = {
            "port": int(proxy.ports["8009"]),
            "bind_addresses": ["127.0.0.1"],
            "x_forwarded": True,
            "resources": [{"names": ["client"]}],
        }
        options = {
            "listeners": [listener],
            "log_config": str(proxy.folder / "log.yaml"),
            "regsys": {"trusted_proxies": ["127.0.0.1"]},
        }
        config = write_config(proxy.folder, sqlite(proxy.folder), **options)
        service = ServiceProcess(self, config)
        proxy.run_caddy()
        until(lambda: is_open(int(proxy.ports["8080"])))
        service.base_url = f"http://127.0.0.1:{proxy.ports['8080']}"
        self.assertEqual(register(service, "alice"), 200)
        service.wait_for("registered @alice")
        lines = [json.loads(line) for line in service.output.splitlines() if line[0] == "{"]
        (line,) = (line for line in lines if line["log"].startswith("registered @alice"))
        self.assertEqual((line["level"], line["request"].split("-")[0]), ("INFO", "POST"))
        for path in ("/_synapse/admin/v1/register", "/_regsys/v1/introspect"):
            answer = service.ask("GET", path)
            self.assertEqual((answer.status, answer.text), (404, ""), path)
        self.assertEqual(self.health(proxy.ports["8009"]), 0)
        service.stop()
        self.assertNotEqual(self.health(proxy.ports["8009"]), 0)

    def health(self, port: str) -> int:
        """The exit status of the container's health check."""
        match = re.search(r"^HEALTHCHECK CMD (\[.*\])$", CONTAINER, re.MULTILINE)
        assert match is not None
        _, *words = json.loads(match[1].replace(":8008/", f":{port}/"))
        done = subprocess.run([sys.executable, *words], capture_output=True, timeout=PATIENCE_S)
        return done.returncode

    def test_containersFiles(self) -> None:
        """The image is built from files that are there, and starts a command that there is."""
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINER, re.MULTILINE):
            for source in sources.split():
                self.assertTrue((ROOT / source).exists(), source)
        command = json.loads(re.findall(r"^CMD (\[.*\])$", CONTAINER, re.MULTILINE)[0])
        done = subprocess.run(
            [sys.executable, "-m", "regsys", command[0], "--help"],
            cwd=ROOT,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("USER 990", CONTAINER)


class SQLiteBackupTests(SynchronousTestCase):
    def setUp(self) -> None:
        if shutil.which("sqlite3") is None:
            not_tried(
                self, "sqlite3 was not found, so the backup of docs/operation.md was not tried"
            )
        self.folder = Path(self.mktemp()).absolute()
        for name in ("data", "backups"):
            (self.folder / name).mkdir(parents=True)
        self.backup, self.restore = examples("sh")

    def run_commands(self, text: str) -> None:
        """They are as on the page, but for the folders."""
        for place, here in (("/var/lib/regsys", "data"), ("/var/backups/regsys", "backups")):
            text = text.replace(place, shlex.quote(str(self.folder / here)))
        done = subprocess.run(
            ["sh", "-e", "-c", text], capture_output=True, text=True, timeout=PATIENCE_S
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_thereAndBack(self) -> None:
        """A backup of a running service has the accounts of that time. Restored, they are there
        again, and those made since are not."""
        data = self.folder / "data"
        modules = data / "homeserver-regsys.modules.db"
        subprocess.run(["sqlite3", str(modules), "CREATE TABLE theirs (x)"], check=True)
        config = write_config(data, sqlite(data))
        service = ServiceProcess(self, config)
        self.assertEqual(register(service, "alice"), 200)
        self.run_commands(self.backup)
        self.assertEqual(register(service, "bob"), 200)
        # Killed: SQLite's other files stay beside the database.
        service.kill()
        modules.unlink()
        self.run_commands(self.restore)
        for path in (self.folder / "backups").iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)
        tables = subprocess.check_output(["sqlite3", str(modules), ".tables"], text=True)
        self.assertEqual(tables.split(), ["theirs"])
        again = ServiceProcess(self, config)
        self.assertEqual((register(again, "alice"), register(again, "bob")), (400, 200))


class PostgreSQLBackupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def run_command(self, name: str, database: postgres.Args) -> None:
        """The page's command of this name, with the server's address and this database."""
        program = shutil.which(name)
        if program is None:
            not_tried(self, f"{name} was not found, so docs/operation.md was not tried.")
        (line,) = re.findall(rf"^    {name} (.*)$", PAGE, re.MULTILINE)
        words = [word.replace("matrix", database["dbname"]) for word in shlex.split(line)]
        where = [f"--{key}={database[name]}" for key, name in CONNECTION.items()]
        done = subprocess.run(
            [program, *where, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def serve(self, database: postgres.Args) -> ServiceProcess:
        return ServiceProcess(self, write_config(self.folder, psycopg2(database)))

    def test_thereAndBack(self) -> None:
        """So it is with PostgreSQL, into a database that has none of our tables."""
        before, after = postgres.dsn(self), postgres.dsn(self)
        service = self.serve(before)
        self.assertEqual(register(service, "alice"), 200)
        self.run_command("pg_dump", before)
        self.assertEqual(register(service, "bob"), 200)
        service.kill()
        self.run_command("pg_restore", after)
        again = self.serve(after)
        self.assertEqual((register(again, "alice"), register(again, "bob")), (400, 200))
