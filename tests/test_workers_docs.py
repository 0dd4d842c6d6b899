"""The proxies of docs/workers.md are parsed and run, before real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Sequence

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support import postgres
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.service_process import ServiceProcess, psycopg2, write_config

TEXT = (Path(__file__).parents[1] / "docs/workers.md").read_text()
BACKENDS = ("8101", "8102", "8103")
FRONT = "8080"


class ProxyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.ports = {port: str(free_port()) for port in (*BACKENDS, FRONT)}

    def program(self, name: str) -> str:
        # Debian has them where only root looks.
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found is None:
            reason = f"{name} was not found, so its example in docs/workers.md was not tried."
            if os.environ.get("CI") == "true":
                self.fail(reason)
            raise SkipTest(reason)
        return found

    def example(self, language: str) -> str:
        """The example with ports that are free, on loopback."""
        (text,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
        for port, free in self.ports.items():
            self.assertIn(port, text)
            text = text.replace(port, free)
        return str(text)

    def run_proxy(self, *command: str) -> None:
        process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def end() -> None:
            process.terminate()
            process.wait()

        self.addCleanup(end)

    def serve(self) -> Sequence[ServiceProcess]:
        """Two of the three: the third one is away."""
        database = psycopg2(postgres.dsn(self))
        services = []
        for backend in BACKENDS[:2]:
            home = self.folder / backend
            home.mkdir()
            listener = {
                "port": int(self.ports[backend]),
                "bind_addresses": ["127.0.0.1"],
                "x_forwarded": True,
                "resources": [{"names": ["client"]}],
            }
            own = {"trusted_proxies": ["127.0.0.1"], "rc_availability": False}
            config = write_config(home, database, listeners=[listener], regsys=own)
            services.append(ServiceProcess(self, config))
        return services

    def status(self) -> int:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports[FRONT]}/_matrix/client/versions",
                timeout=PATIENCE_S,
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def assertServes(self, services: Sequence[ServiceProcess]) -> None:
        """Clients are served by both, by their own address, and by one when the other ends."""
        until(lambda: self.status() == 200)
        front, body = f"http://127.0.0.1:{self.ports[FRONT]}", {"auth": {"type": "m.login.dummy"}}
        for number in range(4):
            services[0].base_url = front
            answer = services[0].ask(
                "POST",
                "/_matrix/client/v3/register",
                {**body, "username": f"user{number}", "password": "correct horse"},
            )
            self.assertEqual(answer.status, 200, answer)
        for service in services:
            until(lambda service=service: "registered @user" in service.output)
        services[1].stop()
        self.assertEqual([self.status() for _ in range(6)], [200] * 6)

    def test_nginx(self) -> None:
        """nginx takes its example, and passes requests on by it."""
        program, config = self.program("nginx"), self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log;\n"
            "events {}\nhttp { access_log off;\n"
            + "".join(
                f"{kind}_temp_path {self.folder}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + self.example("nginx")
            + "}\n"
        )
        command = (program, "-p", str(self.folder), "-c", str(config))
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        services = self.serve()
        self.run_proxy(*command)
        self.assertServes(services)

    def test_haproxy(self) -> None:
        """HAProxy takes its example without a warning, and passes requests on by it."""
        program, config = self.program("haproxy"), self.folder / "haproxy.cfg"
        config.write_text(self.example("haproxy"))
        checked = subprocess.run(
            [program, "-c", "-dW", "-f", str(config)], capture_output=True, text=True
        )
        self.assertEqual(checked.returncode, 0, checked.stderr)
        services = self.serve()
        self.run_proxy(program, "-db", "-f", str(config))
        self.assertServes(services)
