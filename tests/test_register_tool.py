"""``register_new_matrix_user``, the tool of homeserver administrators, against ``regsys serve``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import pypi
from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.service_process import SERVER_NAME, ServiceProcess, sqlite, write_config

SECRET = "known to administrators alone"
PASSWORD = "correct horse battery staple"


class RegisterToolTests(SynchronousTestCase):
    def setUp(self) -> None:
        try:
            packages = pypi.packages()
        except pypi.Missing as missing:
            not_tried(self, f"register_new_matrix_user was not tried: {missing}")
        # Run as a file: as a module it would import the homeserver around it.
        self.script = packages / "synapse" / "_scripts" / "register_new_matrix_user.py"
        self.packages = packages
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        listener = {"type": "http", "port": free_port(), "bind_addresses": ["127.0.0.1"]}
        self.config = write_config(
            folder,
            sqlite(folder),
            listeners=[{**listener, "resources": [{"names": ["client"]}]}],
            enable_registration=False,
            enable_registration_without_verification=False,
            registration_shared_secret=SECRET,
        )
        self.service = ServiceProcess(self, self.config)

    def run_tool(self, user: str, *options: str) -> tuple[int, str]:
        """Its exit code and its output; by default it has the secret and the address."""
        done = subprocess.run(
            [sys.executable, str(self.script), "-u", user, "-p", PASSWORD, *options],
            env={**os.environ, "PYTHONPATH": str(self.packages), "NO_PROXY": "*"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE_S,
        )
        return done.returncode, done.stdout

    def registers(self, user: str, *options: str, is_admin: bool = False) -> None:
        """The tool makes this account: its password logs in, and its admin rights are as asked."""
        code, output = self.run_tool(user, *options)
        self.assertEqual((code, output.splitlines()[-1:]), (0, ["Success!"]), output)
        body = {"type": "m.login.password", "user": user, "password": PASSWORD}
        login = self.service.ask("POST", "/_matrix/client/v3/login", body)
        self.assertEqual((login.status, login.json["user_id"]), (200, f"@{user}:{SERVER_NAME}"))
        path = "/_synapse/admin/v1/username_available?username=nobody"
        answer = self.service.ask("GET", path, token=login.json["access_token"])
        self.assertEqual(answer.status, 200 if is_admin else 403, answer)

    def test_registers(self) -> None:
        """It makes users with a type and without one, and administrators, with a secret that it is
        given or finds in the configuration, as it finds the listener there. A taken name, or an
        unknown type, is reported in our words."""
        given = ("-k", SECRET, self.service.base_url)
        found = ("-c", str(self.config))
        self.registers("alice", "--no-admin", *given)
        self.registers("robot", "--no-admin", "-t", "bot", *given)
        self.registers("root", "-a", *given, is_admin=True)
        self.registers("bob", "--no-admin", *found)
        code, output = self.run_tool("bob", "--no-admin", "--exists-ok", *found)
        self.assertEqual((code, "already exists" in output), (0, True), output)
        for user, options in (("bob", ()), ("carl", ("-t", "pope"))):
            code, output = self.run_tool(user, "--no-admin", *options, *found)
            self.assertEqual(code, 1, output)
            status, sentence = output.splitlines()[-2:]
            self.assertIn("ERROR! Received 400", status, output)
            self.assertTrue(sentence.endswith("."), output)
