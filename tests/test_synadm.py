"""synadm, a tool of homeserver administrators, against ``regsys serve``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

import yaml
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests import pypi
from tests.support.client import V3
from tests.support.patience import PATIENCE_S
from tests.support.service_process import SERVER_NAME, ServiceProcess, sqlite, write_config

PASSWORD = "correct horse battery staple"
# Starting it takes longer than what it does: so one process runs all commands, each as the shell
# would. A line of output for each.
RUN = """
import contextlib, io, json, sys
from synadm.cli import root
for words in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            root.main([*sys.argv[1:], *words], prog_name="synadm")
        except SystemExit as ended:
            status = ended.code
    print(json.dumps([status, out.getvalue()]))
"""


class SynadmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.places = pypi.synadm(self)
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        config = write_config(self.folder, sqlite(self.folder))
        self.service = ServiceProcess(self, config)
        self.tokens = {name: self.register(name) for name in ("root", "alice", "bob")}
        connection = connect(load([str(config)]).database)
        connection.execute("UPDATE users SET admin = TRUE WHERE name_key = 'root'")
        connection.close()

    def register(self, name: str) -> str:
        auth = {"type": "m.login.dummy"}
        body = {"username": name, "password": PASSWORD, "auth": auth}
        return str(self.service.ask("POST", f"{V3}/register", body).json["access_token"])

    def log_in(self, name: str, password: str) -> int:
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self.service.ask("POST", f"{V3}/login", body).status

    def run_all(self, commands: Sequence[str]) -> Sequence[Any]:
        """What each command answers: the last line of its output, which is JSON."""
        own = {
            "user": "root",
            "token": self.tokens["root"],
            "base_url": self.service.base_url,
            "admin_path": "/_synapse/admin",
            "matrix_path": "/_matrix",
            "timeout": int(PATIENCE_S),
            "server_discovery": "well-known",
            "homeserver": SERVER_NAME,
            "format": "minified",
            "ssl_verify": True,
        }
        path = self.folder / "synadm.yaml"
        path.write_text(yaml.safe_dump(own))
        done = subprocess.run(
            [sys.executable, "-c", RUN, "--no-confirm", "-c", str(path), "-o", "minified"],
            input=json.dumps([words.split() for words in commands]),
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, self.places)),
                "HOME": str(self.folder),
                "NO_PROXY": "*",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        found = []
        lines = done.stdout.splitlines()
        for command, line in zip(commands, lines, strict=True):
            status, output = json.loads(line)
            self.assertEqual(status, 0, (command, output))
            last = output.strip().split("\n")[-1]
            found.append(json.loads(last) if last.startswith("{") else output)
        return found

    def test_day(self) -> None:
        """What an operator does in a day: list, search, look, make, change, end."""
        version, listed, admins, alice, made, changed, bob, gone, ended, *rest = self.run_all(
            [
                "version",
                "user list",
                "user list --deactivated --admins --sort-by creation_ts --reverse -L",
                "user details alice",
                "user modify carol -P secret -n Carol -t email carol@mail.example --user-type bot",
                "user modify carol --user-type regular --clear-threepids --unlock --admin",
                "user password bob --password another",
                "user modify dave --deactivate",
                "user deactivate alice --gdpr-erase",
                "user details alice",
                "user whois bob",
                "user prune-devices bob --list-only",
                "user media bob",
                "regtok new -n word",
                "regtok update word -u 3",
                "regtok list",
                "regtok delete word",
            ]
        )
        self.assertRegex(version["server_version"], "^regsys ")
        names = [item["name"] for item in listed["users"]]
        self.assertEqual(names, [f"@{name}:test.example" for name in ("alice", "bob", "root")])
        self.assertEqual([item["name"] for item in admins["users"]], ["@root:test.example"])
        self.assertEqual((alice["displayname"], alice["threepids"]), ("alice", []))
        self.assertEqual((made["displayname"], made["user_type"]), ("Carol", "bot"))
        self.assertEqual(made["threepids"][0]["address"], "carol@mail.example")
        self.assertEqual((changed["user_type"], changed["admin"]), (None, True))
        self.assertEqual((changed["threepids"], bob), ([], {}))
        self.assertTrue(gone["deactivated"])
        self.assertIn("id_server_unbind_result", ended)
        erased, whois, _, media, token, limited, tokens, _ = rest
        self.assertEqual((erased["erased"], erased["displayname"]), (True, None))
        self.assertEqual(whois["user_id"], "@bob:test.example")
        self.assertEqual(media["errcode"], "M_UNRECOGNIZED")
        self.assertEqual((token["token"], limited["uses_allowed"]), ("word", 3))
        self.assertEqual([item["token"] for item in tokens["registration_tokens"]], ["word"])
        for name in ("alice", "bob"):
            token = self.tokens[name]
            answer = self.service.ask("GET", f"{V3}/account/whoami", token=token)
            self.assertEqual(answer.status, 401, (name, answer))
        statuses = [self.log_in("bob", word) for word in ("another", PASSWORD)]
        self.assertEqual([*statuses, self.log_in("carol", "secret")], [200, 403, 200])
        self.assertNotIn("Traceback", self.service.output)
