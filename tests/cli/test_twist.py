"""``twist regsys``: the same service under Twisted's own runner."""

from __future__ import annotations

import configparser
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.patience import PATIENCE_S
from tests.support.service_process import ROOT, ServiceProcess, sqlite, write_config

TWIST = ("-m", "twisted", "--log-format=text", "regsys")
V3 = "/_matrix/client/v3"


class TwistTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def refused(self, *options: str) -> str:
        """What it says that does not start."""
        done = subprocess.run(
            [sys.executable, *TWIST, *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_serves(self) -> None:
        """It registers a user, takes SIGHUP, and stops on SIGTERM as Twisted's runner does. A
        warning about its configuration is shown once."""
        pid_file = self.folder / "regsys.pid"
        config = write_config(self.folder, sqlite(self.folder), pid_file=str(pid_file), emial={})
        service = ServiceProcess(self, config, program=TWIST)
        self.assertEqual(int(pid_file.read_text()), service.process.pid)
        body = {"username": "alice", "password": "p", "auth": {"type": "m.login.dummy"}}
        made = service.ask("POST", f"{V3}/register", body)
        self.assertEqual((made.status, made.json["user_id"]), (200, "@alice:test.example"))
        token = made.json["access_token"]
        self.assertEqual(service.ask("GET", f"{V3}/account/whoami", token=token).status, 200)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reloaded: ")
        service.process.terminate()
        self.assertEqual(service.process.wait(PATIENCE_S), -signal.SIGTERM)
        service.wait_for("Main loop terminated")
        self.assertNotIn("Traceback", service.output)
        self.assertEqual(service.output.count("emial is not an option"), 1, service.output)
        self.assertFalse(pid_file.exists())

    def test_isInstalled(self) -> None:
        """The plugin, which is in no package of ours, is among what an installation brings."""
        parser = configparser.ConfigParser()
        parser.read(ROOT / "setup.cfg")
        plugins = {f"twisted.plugins.{path.stem}" for path in ROOT.glob("twisted/plugins/*.py")}
        self.assertEqual(set(parser["options"]["py_modules"].split()), plugins)

    def test_refused(self) -> None:
        """Without a configuration, with a wrong one, and where its port is taken it does not
        start, and says why in a sentence."""
        self.assertIn("-c FILE", self.refused())
        self.assertIn("cannot be read", self.refused("-c", "missing.yaml"))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            listener: dict[str, Any] = {
                "type": "http",
                "port": port,
                "bind_addresses": ["127.0.0.1"],
            }
            listener["resources"] = [{"names": ["client"]}]
            config = write_config(self.folder, sqlite(self.folder), listeners=[listener])
            self.assertIn(f"cannot listen on port {port}", self.refused("-c", str(config)))
