"""Limits that several ``regsys serve`` count together, and what happens without their store."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres, redis
from tests.support.patience import PATIENCE_S
from tests.support.service_process import ServiceProcess, psycopg2, sqlite, write_config

GUEST = "/_matrix/client/v3/register?kind=guest"
# None leaks while a test runs.
BURST = {"per_second": 0.0001, "burst_count": 5}
PLENTY = {"per_second": 1000, "burst_count": 1000}
AWAY = "Redis does not answer"
BACK = "Redis answers again"
# A store that is away is asked more often than usual, which is a matter of the test's time alone.
IMPATIENT = (
    "import runpy, sys; from regsys.limits import shared; shared.RETRY_S = 0.2;"
    " sys.argv[:1] = ['regsys', 'serve']; runpy.run_module('regsys', run_name='__main__')"
)


class LimitProcesses(SynchronousTestCase):
    def serve(self, database: Mapping[str, Any], **options: Any) -> ServiceProcess:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        section = database or sqlite(folder)
        config = write_config(folder, section, **options)
        return ServiceProcess(self, config, program=("-c", IMPATIENT))

    def status(self, service: ServiceProcess) -> int:
        return service.ask("POST", GUEST, {}).status

    def hammer(self, *services: ServiceProcess) -> int:
        """Register at all of them at once; returns how many times that passes."""
        with ThreadPoolExecutor(8) as clients:
            statuses = list(clients.map(self.status, [*services] * (30 // len(services))))
        passed = statuses.count(200)
        self.assertEqual(passed + statuses.count(429), len(statuses), statuses)
        return passed

    def test_postgres(self) -> None:
        """Two processes over one PostgreSQL let one burst through together, where the file says
        so."""
        section = psycopg2(postgres.dsn(self))
        own = {"rc_availability": False, "shared_limits": True}
        services = [self.serve(section, rc_registration=BURST, regsys=own) for _ in range(2)]
        self.assertEqual(self.hammer(*services), 5)
        for service in services:
            self.assertIn("rate limits are counted in PostgreSQL", service.stop())

    def test_redis(self) -> None:
        """Two processes with databases of their own count in one Redis. When it is gone each
        counts by itself, what it has let through and refused before included; when it is back,
        they count together again. The log has a line for each change."""
        server = redis.own(self)
        section = {"enabled": True, "host": "127.0.0.1", "port": server.port}
        one, other = (self.serve({}, rc_registration=BURST, redis=section) for _ in range(2))
        self.assertEqual(self.hammer(one, other), 5)
        server.stop()
        self.assertLessEqual(self.hammer(one) + self.hammer(other), 5)
        server.start()
        for service in (one, other):
            while BACK not in service.output:
                self.assertIn(self.status(service), (200, 429))
        for service in (one, other):
            output = service.stop()
            self.assertIn("rate limits are counted in Redis", output)
            self.assertEqual((output.count(AWAY), output.count(BACK)), (1, 1), output)

    def test_total(self) -> None:
        """A cap on all registrations is one cap for all processes that count together, whether in
        PostgreSQL or in Redis, and each says that it was reached."""
        server = redis.own(self)
        together = {"enabled": True, "host": "127.0.0.1", "port": server.port}
        own = {"rc_availability": False, "rc_registration_total": {"per_hour": 5}}
        counted = (
            (psycopg2(postgres.dsn(self)), {"regsys": {**own, "shared_limits": True}}),
            ({}, {"regsys": own, "redis": together}),
        )
        for section, options in counted:
            services = [self.serve(section, rc_registration=PLENTY, **options) for _ in range(2)]
            self.assertEqual(self.hammer(*services), 5)
            for service in services:
                self.assertIn("all are used: more are REFUSED", service.stop())

    def test_startedWithout(self) -> None:
        """A process starts without the Redis that its file names, and registers."""
        path = str(Path(self.mktemp()).resolve())
        service = self.serve({}, rc_registration=BURST, redis={"enabled": True, "path": path})
        self.assertEqual(self.hammer(service), 5)
        self.assertEqual(service.stop().count(AWAY), 1)

    def test_checked(self) -> None:
        """check-config --connect asks Redis as well."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        server = redis.own(self, requirepass="right")
        for password, status, words in (("right", 0, "redis"), ("wrong", 1, "WRONGPASS")):
            section = {"enabled": True, "path": server.path, "password": password}
            config = write_config(folder, sqlite(folder), redis=section)
            done = subprocess.run(
                [sys.executable, "-m", "regsys", "check-config", "--connect", "-c", str(config)],
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
            self.assertIn(words, done.stdout + done.stderr)
            self.assertEqual(done.returncode == 0, status == 0, done.stderr)

    def test_stalled(self) -> None:
        """While Redis says nothing, a registration takes less than a second more than usual."""
        server = redis.own(self)
        section = {"enabled": True, "host": "127.0.0.1", "port": server.port}
        service = self.serve({}, rc_registration=PLENTY, redis=section)
        usual_s = min(self.time_s(service) for _ in range(3))
        server.ask("CLIENT", "PAUSE", 10_000_000)
        # The first finds out, and later ones look again. Of a few, because the machine may be slow.
        stalled_s = [self.time_s(service) for _ in range(4)]
        self.assertLess(min(stalled_s), usual_s + 1, stalled_s)
        self.assertLess(sorted(stalled_s)[1], usual_s + 2, stalled_s)
        self.assertEqual(service.stop().count(AWAY), 1)

    def time_s(self, service: ServiceProcess) -> float:
        time.sleep(0.25)  # so that it is asked again
        started_s = time.monotonic()
        self.assertEqual(self.status(service), 200)
        return time.monotonic() - started_s
