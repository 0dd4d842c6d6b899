"""The programs of docs/embedding.md as processes of their own, over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.support.client import V3
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent
DIED = 9
DOOR = "org.example.door_code"
# The example, except that it dies once an account is there and regsys does not know it.
DYING = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "docs/examples")!r})
import embedding
create_account = embedding.Store.create_account
embedding.Store.create_account = lambda self, new: create_account(self, new).addCallback(
    lambda made: os._exit({DIED})
)
embedding.main(*sys.argv[1:])
"""


class ProcessCase(SynchronousTestCase):
    """A program in a folder of its own, and requests to it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.port = free_port()

    def start(self, *program: str) -> subprocess.Popen[bytes]:
        """Start Python with these arguments; it listens when this returns."""
        with (self.folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        until(lambda: self.listens(process), lambda: "does not listen")
        return process

    def listens(self, process: subprocess.Popen[bytes]) -> bool:
        self.assertIsNone(process.poll(), "ended before it listened")
        try:
            self.ask("GET", "/")
        except ConnectionError:
            return False
        return True

    def ask(
        self, method: str, path: str, body: Any = None, token: Optional[str] = None
    ) -> tuple[int, Any]:
        """Status and body of an answer; ConnectionError if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        is_json = response.getheader("Content-Type") == "application/json"
        return response.status, json.loads(content) if is_json else content


class ExampleProcessTests(ProcessCase):
    def count(self, table: str) -> int:
        connection = sqlite3.connect(self.folder / "homeserver.db")
        try:
            return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
        finally:
            connection.close()

    def test_killedInTheMiddle(self) -> None:
        """A homeserver that dies once it has made an account answers a retry with that account;
        then its own /login and /sync know the account, and SIGTERM ends it orderly."""
        body = {"username": "alice", "password": "correct horse"}
        process = self.start("-c", DYING, str(self.folder), str(self.port))
        status, challenge = self.ask("POST", f"{V3}/register", body)
        self.assertEqual(
            (status, challenge["flows"][0]["stages"]), (401, ["org.example.door_code"])
        )
        auth = {
            "type": "org.example.door_code",
            "session": challenge["session"],
            "code": "sesame",
        }
        with self.assertRaises(ConnectionError):
            self.ask("POST", f"{V3}/register", {**body, "auth": auth})
        self.assertEqual(process.wait(), DIED)
        self.assertEqual((self.count("accounts"), self.count("devices")), (1, 1))

        process = self.start(
            str(ROOT / "docs/examples/embedding.py"), str(self.folder), str(self.port)
        )
        status, registered = self.ask("POST", f"{V3}/register", {**body, "auth": auth})
        self.assertEqual((status, registered["user_id"]), (200, "@alice:example.org"))
        self.assertEqual((self.count("accounts"), self.count("devices")), (1, 1))
        status, synced = self.ask("GET", f"{V3}/sync?timeout=0", token=registered["access_token"])
        self.assertEqual((status, synced["next_batch"]), (200, "s1"))
        identifier = {"type": "m.id.user", "user": "alice"}
        login = {**body, "type": "m.login.password", "identifier": identifier}
        status, logged_in = self.ask("POST", f"{V3}/login", login)
        self.assertEqual((status, logged_in["user_id"]), (200, "@alice:example.org"))
        self.assertEqual(self.ask("GET", "/elsewhere")[0], 404)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE_S), 0)


class MountTests(ProcessCase):
    def test_firstRegistration(self) -> None:
        """The program with which docs/embedding.md begins answers the request that it shows, logs
        what it does, and SIGTERM ends it orderly."""
        page = (ROOT / "docs/embedding.md").read_text("utf-8")
        shown = re.search(r"\$ curl -s -X POST (\S+) -d '(.*)'\n(.*)\n", page)
        assert shown is not None
        url, body, answer = shown.groups()
        path = url.removeprefix("http://localhost:8008")
        program = (ROOT / "docs/examples/mount.py").read_text("utf-8")
        self.assertIn("tcp:8008:", program)
        process = self.start("-c", program.replace("tcp:8008:", f"tcp:{self.port}:"))
        status, registered = self.ask("POST", path, json.loads(body))
        pattern = re.escape(answer).replace("…", ".+")
        self.assertRegex(json.dumps(registered, separators=(",", ":")), f"^{pattern}$")
        self.assertEqual((status, registered["user_id"]), (200, "@alice:example.org"))
        self.assertTrue((self.folder / "homeserver-regsys.db").exists())
        process.terminate()
        self.assertEqual(process.wait(PATIENCE_S), 0)
        self.assertIn("registered @alice:example.org", (self.folder / "output").read_text("utf-8"))
