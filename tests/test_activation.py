"""``regsys serve`` on sockets that systemd holds: as a process, and the units of docs/workers.md.
``tests/chaos/test_restart.py`` has what a restart costs."""

from __future__ import annotations

import configparser
import http.client
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support.activation import Sockets
from tests.support.patience import PATIENCE_S, until
from tests.support.proxies import ProxyExamples
from tests.support.service_process import ROOT, ServiceProcess, sqlite, write_config

SECRET = "a secret of this test's own"
VERSIONS = "/_matrix/client/versions"


class ProcessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.sockets = Sockets(self)

    def config(self, port: int) -> Path:
        listener = {
            "port": port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client"]}],
        }
        return write_config(self.folder, sqlite(self.folder), listeners=[listener])

    def test_waits(self) -> None:
        """A request that is sent while no process is there is answered by the next one."""
        config = self.config(self.sockets.port)
        self.sockets.serve(config).stop()
        connection = http.client.HTTPConnection("127.0.0.1", self.sockets.port, PATIENCE_S)
        self.addCleanup(connection.close)
        connection.request("GET", VERSIONS)
        again = self.sockets.serve(config)
        self.assertEqual(connection.getresponse().status, 200)
        self.assertEqual(again.base_url, f"http://127.0.0.1:{self.sockets.port}")

    def test_another(self) -> None:
        """A process whose listeners are elsewhere ends, and says so."""
        error = self.assertRaises(AssertionError, self.sockets.serve, self.config(0))
        self.assertIn(f"systemd has bound port {self.sockets.port} of 127.0.0.1", str(error))
        self.assertNotIn("Traceback", str(error))


class ProxyTests(SynchronousTestCase):
    def test_waits(self) -> None:
        """Without systemd the proxy of docs/synapse.md waits: while regsys is replaced, each
        question whose a token is gets its answer."""
        proxy = ProxyExamples(self, "synapse.md", ("8010", "8009"))
        listener = {
            "port": int(proxy.ports["8009"]),
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client"]}],
        }
        options = {"listeners": [listener], "regsys": {"introspection_secret": SECRET}}
        config = write_config(proxy.folder, sqlite(proxy.folder), **options)
        service = ServiceProcess(self, config)
        proxy.run_haproxy()
        is_over, statuses = threading.Event(), []

        def ask() -> None:
            while not is_over.is_set():
                place = http.client.HTTPConnection(
                    "127.0.0.1", int(proxy.ports["8010"]), PATIENCE_S
                )
                headers = {"Authorization": f"Bearer {SECRET}"}
                place.request("POST", "/_regsys/v1/introspect", "token=x", headers)
                statuses.append(place.getresponse().status)
                place.close()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            until(lambda: statuses)
            service.stop()
            before = len(statuses)
            ServiceProcess(self, config)
            until(lambda: len(statuses) > before + 2)
        finally:
            is_over.set()
            asking.join()
        self.assertEqual(set(statuses), {200})


class UnitTests(SynchronousTestCase):
    def units(self) -> Mapping[str, str]:
        """Those of docs/workers.md that are whole, by their names."""
        blocks = re.findall(
            r"```ini\n# /etc/systemd/system/(regsys\.\w+).*\n((?:.*\n)+?)```",
            (ROOT / "docs/workers.md").read_text("utf-8"),
        )
        return dict(blocks)

    def parsed(self, name: str) -> Any:
        parser = configparser.RawConfigParser(strict=True)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(self.units()[name])
        return parser

    def test_together(self) -> None:
        """The service starts after its socket, of which it takes each connection."""
        service, it = self.parsed("regsys.service"), self.parsed("regsys.socket")
        self.assertEqual(service["Unit"]["Requires"], "regsys.socket")
        self.assertIn("regsys.socket", service["Unit"]["After"])
        self.assertEqual(dict(it["Socket"]), {"ListenStream": "127.0.0.1:8009"})
        self.assertEqual(it["Install"]["WantedBy"], "sockets.target")

    def test_notifies(self) -> None:
        """systemd waits until the service says that it serves."""
        self.assertEqual(self.parsed("regsys.service")["Service"]["Type"], "notify")

    def test_verified(self) -> None:
        """systemd finds nothing to say about them."""
        program = shutil.which("systemd-analyze")
        if program is None:
            return
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, text in self.units().items():
            here = text.replace("/opt/regsys/bin/regsys", sys.executable)
            (folder / name).write_text(here)
        done = subprocess.run(
            [program, "verify", *(str(path) for path in folder.iterdir())],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertHardened(program, folder / "regsys.service")
        mentioned = [line for line in done.stderr.splitlines() if "regsys" in line]
        self.assertEqual((done.returncode, mentioned), (0, []), done.stderr)

    def assertHardened(self, program: str, unit: Path) -> None:
        """By systemd's own marks, from 0 (sealed) to 100 (open), as a service without any
        protection nearly is."""
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        if int(version.split()[1]) < 250:
            return  # it rates only what is running
        rated = [program, "security", "--offline=true", "--threshold=25", "--no-pager", str(unit)]
        done = subprocess.run(rated, capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
