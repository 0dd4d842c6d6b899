"""The proxies of docs/workers.md are parsed and run, before real processes."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.patience import PATIENCE_S, until
from tests.support.proxies import ProxyExamples
from tests.support.service_process import ServiceProcess, psycopg2, write_config

BACKENDS = ("8101", "8102", "8103")
FRONT = "8080"


class ProxyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.proxy = ProxyExamples(self, "workers.md", (FRONT, *BACKENDS))
        self.folder, self.ports = self.proxy.folder, self.proxy.ports

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
        services = self.serve()
        self.proxy.run_nginx()
        self.assertServes(services)

    def test_haproxy(self) -> None:
        """HAProxy takes its example without a warning, and passes requests on by it."""
        services = self.serve()
        self.proxy.run_haproxy()
        self.assertServes(services)
