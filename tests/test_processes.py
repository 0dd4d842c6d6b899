"""``regsys serve --processes 2``: real processes that share the listeners, over PostgreSQL."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Optional

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.test_service import UnixConnection, make_certificate
from tests.support import postgres
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.service_process import ROOT, ServiceProcess, psycopg2, sqlite, write_config
from tests.support.short_folder import short_folder

VERSIONS = "/_matrix/client/versions"
REGISTER = "/_matrix/client/v3/register"
DUMMY = {"type": "m.login.dummy"}
COUNT = 2


class ProcessesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = short_folder(self)

    def start(self, **options: Any) -> ServiceProcess:
        config = write_config(self.folder, psycopg2(postgres.dsn(self)), **options)
        return ServiceProcess(self, config, options=("--processes", str(COUNT)))

    def listener(self, **keys: Any) -> dict[str, Any]:
        local = {} if "path" in keys else {"bind_addresses": ["127.0.0.1"]}
        return {"type": "http", "resources": [{"names": ["client"]}], **local, **keys}

    def pids(self, service: ServiceProcess) -> dict[int, int]:
        """The process IDs by number, of the latest processes."""
        found = re.findall(rf"process (\d) of {COUNT} is (\d+)", service.output)
        return {int(number): int(pid) for number, pid in found}

    def register(self, service: ServiceProcess, name: str) -> Any:
        body = {"username": name, "password": "correct horse", "auth": DUMMY}
        answer = service.ask("POST", REGISTER, body)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def registers_in(self, service: ServiceProcess, number: int) -> bool:
        """Whether one more account was made by the process of this number."""
        self._count = getattr(self, "_count", 0) + 1
        user_id = self.register(service, f"user{self._count}")["user_id"]
        until(lambda: user_id in service.output)
        return f"[{number}]" in next(
            line for line in service.output.splitlines() if user_id in line
        )

    def test_bothServe(self) -> None:
        """Both processes serve the one port, and their lines in the log can be told apart; at the
        end nothing is left of them."""
        service = self.start()
        for number in (1, 2):
            until(lambda number=number: self.registers_in(service, number))
        pids = self.pids(service).values()
        output = service.stop()
        self.assertEqual(output.count("regsys is ready"), 1)
        self.assertNotIn("Traceback", output)
        for pid in pids:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def test_limit(self) -> None:
        """They count the limits together: whichever process answers, the burst is that of one."""
        service = self.start(rc_registration={"per_second": 0.001, "burst_count": 3})
        self.assertEqual(service.output.count("rate limits are counted in PostgreSQL"), 2)
        bodies = [{"username": f"u{number}", "password": "correct horse"} for number in range(12)]
        answers = [service.ask("POST", REGISTER, {**body, "auth": DUMMY}) for body in bodies]
        statuses = [answer.status for answer in answers]
        self.assertEqual((statuses.count(200), statuses.count(429)), (3, 9), statuses)

    def test_replaced(self) -> None:
        """A process that is killed is replaced, and until then the other one serves."""
        service = self.start()
        before = self.pids(service)
        os.kill(before[1], signal.SIGKILL)
        until(lambda: self.pids(service)[1] != before[1])
        until(lambda: self.registers_in(service, 1))
        until(lambda: self.registers_in(service, 2))
        self.assertEqual(self.pids(service)[2], before[2])
        self.assertIn("process 1 was ended by SIGKILL: it is replaced", service.output)
        self.assertIn("this process replaces one that was ended by SIGKILL", service.output)
        service.stop()

    def test_loneSignal(self) -> None:
        """A process that is asked to end by itself ends orderly, and is replaced, too."""
        service = self.start()
        before = self.pids(service)
        os.kill(before[2], signal.SIGTERM)
        until(lambda: self.pids(service)[2] != before[2])
        self.assertIn("process 2 ended with status 0: it is replaced", service.output)
        until(lambda: self.registers_in(service, 2))
        service.stop()

    def test_parentKilled(self) -> None:
        """If the parent is killed the processes end, and the port is free again."""
        service = self.start()
        pids = self.pids(service).values()
        service.process.send_signal(signal.SIGKILL)
        port = int(service.base_url.rpartition(":")[2])

        def is_free() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0

        until(is_free)
        for pid in pids:
            until(lambda pid=pid: not Path(f"/proc/{pid}").exists())

    def test_files(self) -> None:
        """The PID file is the parent's. A Unix socket is served by both, keeps its permissions when
        one of them ends, and is removed at the end."""
        path, pid_file = self.folder / "s", self.folder / "pid"
        service = self.start(
            pid_file=str(pid_file),
            listeners=[self.listener(port=0), self.listener(path=str(path), mode=0o600)],
        )
        self.assertEqual(int(pid_file.read_text()), service.process.pid)
        before = self.pids(service)
        os.kill(before[1], signal.SIGTERM)
        until(lambda: self.pids(service)[1] != before[1])
        for _ in range(4):
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            connection = UnixConnection(str(path))
            connection.request("GET", VERSIONS)
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
        service.stop()
        self.assertFalse(path.exists())
        self.assertFalse(pid_file.exists())

    def test_tls(self) -> None:
        """Both processes present the certificate."""
        make_certificate(self.folder)
        service = self.start(
            listeners=[self.listener(port=0, tls=True)],
            tls_certificate_path=str(self.folder / "cert.pem"),
            tls_private_key_path=str(self.folder / "key.pem"),
        )
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        context.check_hostname = False
        for _ in range(4):
            address = service.base_url.removeprefix("https://")
            connection = http.client.HTTPSConnection(address, context=context)
            connection.request("GET", VERSIONS)
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
        service.stop()

    def test_hangup(self) -> None:
        """SIGHUP to the parent reloads the files of every process."""
        denied = self.folder / "denied"
        denied.write_text("spam.example\n")
        own = {"email_domains": {"deny_file": str(denied)}, "rc_availability": False}
        service = self.start(email={"notif_from": "a@test.example"}, regsys=own)
        denied.write_text("spam.example\nmail.example\n")
        service.process.send_signal(signal.SIGHUP)
        for number in (1, 2):
            until(
                lambda number=number: re.search(
                    rf"\[{number}\] .*reloaded: {denied} \(1 domains more", service.output
                )
            )
        service.stop()

    def test_metrics(self) -> None:
        """Whichever process answers, its metrics are those of all, and what a dead one has counted
        stays; health is told by each."""
        port = free_port()
        service = self.start(
            enable_metrics=True,
            listeners=[self.listener(port=0), self.listener(port=port, type="metrics")],
        )
        for number in (1, 2):
            until(lambda number=number: self.registers_in(service, number))
        made = self._count

        def registrations() -> Optional[float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
            return sum(
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == "regsys_registrations_total"
            )

        until(lambda: registrations() == made)
        for _ in range(10):
            self.assertEqual(registrations(), made)
            self.assertEqual(service.ask("GET", "/health").status, 200)
        before = self.pids(service)
        os.kill(before[1], signal.SIGKILL)
        until(lambda: "this process replaces one" in service.output)
        for _ in range(10):
            self.assertEqual(registrations(), made)
        service.stop()

    def test_loggedByConfig(self) -> None:
        """A ``log_config`` tells the processes apart by ``processName``; one whose handler rotates
        its file itself is refused."""
        log = self.folder / "log.yaml"
        log.write_text(
            "{version: 1, formatters: {f: {format: '%(processName)s %(message)s'}}, handlers:"
            " {h: {class: logging.StreamHandler, formatter: f}},"
            " root: {level: INFO, handlers: [h]}}"
        )
        service = self.start(log_config=str(log))
        until(lambda: "regsys-1 " in service.output and "regsys-2 " in service.output)
        service.stop()
        log.write_text(
            "{version: 1, handlers: {h: {class: logging.handlers.TimedRotatingFileHandler,"
            f" filename: {self.folder / 'x.log'}}}}}, root: {{handlers: [h]}}}}"
        )
        config = write_config(self.folder, psycopg2(postgres.dsn(self)), log_config=str(log))
        self.assertRefused(config, "handler 'h' rotates its file itself")

    def test_sqlite(self) -> None:
        """SQLite is refused, with what to do instead; one process may have it."""
        config = write_config(self.folder, sqlite(self.folder))
        self.assertRefused(config, "--processes: an SQLite file serves one process alone")

    def test_taken(self) -> None:
        """A port that is taken is told once, before any process starts."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            config = write_config(
                self.folder,
                psycopg2(postgres.dsn(self)),
                listeners=[self.listener(port=taken.getsockname()[1])],
            )
            self.assertRefused(config, "cannot listen on port")

    def assertRefused(self, config: Path, reason: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "regsys", "serve", "-c", str(config), "--processes", "2"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count(reason), 1, done.stderr)
