"""One process of ``regsys serve``: its listeners, its files, its start."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.patience import PATIENCE_S
from tests.support.policies import user_consent, write_pages
from tests.support.service_process import ROOT, ServiceProcess, sqlite, write_config
from tests.support.short_folder import short_folder

VERSIONS = "/_matrix/client/versions"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def make_certificate(folder: Path) -> None:
    """``cert.pem`` and ``key.pem``, for localhost."""
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -keyout key.pem -out cert.pem -subj /CN=localhost".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = short_folder(self)

    def start(self, **options: Any) -> ServiceProcess:
        return ServiceProcess(self, write_config(self.folder, sqlite(self.folder), **options))

    def listener(self, **keys: Any) -> dict[str, Any]:
        return {"type": "http", "resources": [{"names": ["client"]}], **keys}

    def test_unixSocket(self) -> None:
        """A Unix socket serves like a port, with the configured permissions, and can be bound again
        after a kill."""
        path = self.folder / "s"
        tcp = self.listener(port=0, bind_addresses=["127.0.0.1"])
        for _ in range(2):
            unix = self.listener(path=str(path), mode=0o600)
            service = self.start(listeners=[tcp, unix])
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            connection = UnixConnection(str(path))
            connection.request("GET", VERSIONS)
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
            service.kill()

    def test_databaseTakenAway(self) -> None:
        """If SQLite's file is removed no write is acknowledged, /health reports it at once, and the
        log soon; when the file is back the service goes on."""
        service = self.start()
        place, aside = self.folder / "homeserver-regsys.db", self.folder / "aside.db"
        body = {"username": "alice", "password": "secret", "auth": {"type": "m.login.dummy"}}
        register = "/_matrix/client/v3/register"
        place.rename(aside)
        self.assertEqual(service.ask("GET", "/health").status, 503)
        answer = service.ask("POST", register, body)
        self.assertEqual((answer.status, answer.json["errcode"]), (503, "M_UNKNOWN"))
        service.wait_for(f"{place} was removed while regsys was running")
        self.assertFalse(place.exists())
        aside.rename(place)
        self.assertEqual(service.ask("GET", "/health").status, 200)
        self.assertEqual(service.ask("POST", register, body).status, 200)

    def test_tls(self) -> None:
        """A TLS listener presents its certificate with the chain, and serves."""
        make_certificate(self.folder)
        service = self.start(
            listeners=[self.listener(port=0, bind_addresses=["127.0.0.1"], tls=True)],
            tls_certificate_path=str(self.folder / "cert.pem"),
            tls_private_key_path=str(self.folder / "key.pem"),
        )
        self.assertTrue(service.base_url.startswith("https://127.0.0.1:"), service.base_url)
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        context.check_hostname = False
        port = int(service.base_url.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
        connection.request("GET", VERSIONS)
        self.assertIn("v1.1", json.loads(connection.getresponse().read())["versions"])
        connection.close()

    def test_resources(self) -> None:
        """A listener serves the resources that it names; health checks are answered wherever
        clients are."""
        path = self.folder / "s"
        tcp = self.listener(port=0, bind_addresses=["127.0.0.1"])
        unix = self.listener(path=str(path), resources=[{"names": ["health"]}])
        service = self.start(listeners=[tcp, unix])
        self.assertEqual(service.ask("GET", "/health").json, {"status": "ok"})
        for where, status in (("/health", 200), (VERSIONS, 404)):
            connection = UnixConnection(str(path))
            connection.request("GET", where)
            self.assertEqual(connection.getresponse().status, status, where)
            connection.close()

    def test_hangup(self) -> None:
        """SIGHUP reloads changed files of mail domains and names at once, with a log line that
        lists the changes; it ends nothing."""
        denied, names = self.folder / "denied", self.folder / "names"
        denied.write_text("spam.example\n")
        names.write_text("admin\n")
        own = {
            "email_domains": {"deny_file": str(denied)},
            "names": {"deny_file": str(names)},
            "rc_availability": False,
        }
        service = self.start(email={"notif_from": "a@test.example"}, regsys=own)
        denied.write_text("spam.example\nmail.example\n")
        names.write_text("admin\nbot*\n")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for(
            f"reloaded: {names} (1 rules more, 0 fewer), {denied} (1 domains more, 0 fewer)"
        )
        body = {"email": "a@mail.example", "client_secret": "s", "send_attempt": 1}
        path = "/_matrix/client/v3/register/email/requestToken"
        self.assertEqual(service.ask("POST", path, body).json["errcode"], "M_THREEPID_DENIED")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reloaded: nothing has changed (a changed configuration needs a restart)")
        service.stop()

    def test_policies(self) -> None:
        """The pages of policies, with their style sheets, are served by the listener that names
        them."""
        path = self.folder / "s"
        tcp = self.listener(port=0, bind_addresses=["127.0.0.1"])
        unix = self.listener(path=str(path), resources=[{"names": ["consent"]}])
        pages = write_pages(self.folder / "pages", "1.0")
        service = self.start(listeners=[tcp, unix], **user_consent(pages))
        style = "/_matrix/static/regsys/style.css"
        for where, on_tcp, on_unix in (
            ("/_matrix/consent", 404, 200),
            (style, 200, 200),
            (VERSIONS, 200, 404),
        ):
            connection = UnixConnection(str(path))
            connection.request("GET", where)
            statuses = service.ask("GET", where).status, connection.getresponse().status
            self.assertEqual(statuses, (on_tcp, on_unix), where)
            connection.close()

    def test_forwardedAddress(self) -> None:
        """With x_forwarded the limit of registrations counts the address that the proxy names."""
        listener = self.listener(port=0, bind_addresses=["127.0.0.1"], x_forwarded=True)
        service = self.start(
            listeners=[listener],
            rc_registration={"per_second": 0.001, "burst_count": 1},
            regsys={"trusted_proxies": ["127.0.0.1"]},
        )
        port = int(service.base_url.rpartition(":")[2])

        def register(name: str, address: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            body = {"username": name, "password": "x y z", "auth": {"type": "m.login.dummy"}}
            connection.request(
                "POST",
                "/_matrix/client/v3/register",
                json.dumps(body),
                {"X-Forwarded-For": f"10.1.1.1, {address}"},
            )
            status = connection.getresponse().status
            connection.close()
            return status

        self.assertEqual(register("a", "192.0.2.1"), 200)
        self.assertEqual(register("b", "192.0.2.1"), 429)
        self.assertEqual(register("b", "192.0.2.2"), 200)

    def test_pidFile(self) -> None:
        """The process ID is in the file while it runs; another running process's file is kept."""
        pid_file = self.folder / "regsys.pid"
        service = self.start(pid_file=str(pid_file))
        self.assertEqual(int(pid_file.read_text()), service.process.pid)
        service.stop()
        self.assertFalse(pid_file.exists())
        pid_file.write_text(str(os.getpid()))
        self.start(pid_file=str(pid_file)).stop()
        self.assertEqual(int(pid_file.read_text()), os.getpid())

    def test_logConfig(self) -> None:
        """Log lines go where log_config says."""
        log_config = self.folder / "log.yaml"
        log_config.write_text(
            "version: 1\n"
            "handlers: {file: {class: logging.FileHandler, filename: regsys.log}}\n"
            "root: {level: INFO, handlers: [file]}\n"
        )
        service = self.start(log_config=str(log_config))
        body = {"username": "alice", "password": "x y z", "auth": {"type": "m.login.dummy"}}
        service.ask("POST", "/_matrix/client/v3/register", body)
        service.stop()
        self.assertIn("registered @alice:", (self.folder / "regsys.log").read_text())

    def test_portTaken(self) -> None:
        """A port in use is reported in one line, with an exit status of its own."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            listener = self.listener(port=port, bind_addresses=["127.0.0.1"])
            config = write_config(self.folder, sqlite(self.folder), listeners=[listener])
            done = subprocess.run(
                [sys.executable, "-m", "regsys", "serve", "-c", str(config)],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"cannot listen on port {port}", done.stderr)
        self.assertIn("another program has it", done.stderr)
        self.assertIn("regsys serve --port", done.stderr)
        self.assertNotIn("accounts are kept", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_madeSecretIsKept(self) -> None:
        """Without a macaroon_secret_key one is generated and kept: a guest's token survives a
        restart."""
        service = self.start(macaroon_secret_key=None)
        guest = service.ask("POST", "/_matrix/client/v3/register?kind=guest", {}).json
        service.stop()
        service = self.start(macaroon_secret_key=None)
        who = service.ask("GET", "/_matrix/client/v3/account/whoami", token=guest["access_token"])
        self.assertEqual(who.json["user_id"], guest["user_id"])
