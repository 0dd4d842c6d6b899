"""The metrics of ``regsys serve``."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any, Optional

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.service_process import SERVER_NAME, ServiceProcess, sqlite, write_config

REGISTER = "/_matrix/client/v3/register"
PATHS = ("/_synapse/metrics", "/metrics")


class ScrapeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.port = free_port()

    def serve(self, **options: Any) -> ServiceProcess:
        local = {"bind_addresses": ["127.0.0.1"]}
        clients = {**local, "port": 0, "resources": [{"names": ["client"]}]}
        listeners = [clients, {**local, "port": self.port, "type": "metrics"}]
        options = {
            "listeners": listeners,
            "auto_join_rooms": [f"#lobby:{SERVER_NAME}"],
            "enable_metrics": True,
            **options,
        }
        return ServiceProcess(self, write_config(self.folder, sqlite(self.folder), **options))

    def scrape(self, path: str = PATHS[0]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """The samples by their names and labels, as Prometheus' own parser reads them."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version="))
            self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])
            text = answer.read().decode()
        self.assertNotIn("alice", text)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> Optional[float]:
        return self.scrape().get((name, frozenset(labels.items())))

    def test_scraped(self) -> None:
        """Accounts are counted, and waiting jobs are visible, also in the next process; a client
        cannot see them."""
        service = self.serve()
        for name in ("alice", "bob"):
            body = {"username": name, "password": "x y z", "auth": {"type": "m.login.dummy"}}
            self.assertEqual(service.ask("POST", REGISTER, body).status, 200)
        labels = {"guest": "false", "shadow_banned": "false", "auth_provider": ""}
        self.assertEqual(self.value("regsys_registrations_total", **labels), 2)
        self.assertEqual([service.ask("GET", path).status for path in PATHS], [404, 404])
        self.assertEqual(set(self.scrape(PATHS[1])), set(self.scrape()))
        service.stop()
        service = self.serve()
        until(lambda: self.value("regsys_jobs_waiting", kind="auto_join"))
        self.assertEqual(self.value("regsys_jobs_waiting", kind="auto_join"), 2)
        self.assertIsNone(self.value("regsys_registrations_total", **labels))
        service.stop()

    def test_beside(self) -> None:
        """Metrics are served beside clients if a listener names both; if they are off, a listener
        of their own is not opened, and is listed as unused."""
        both = {"port": self.port, "resources": [{"names": ["client", "metrics"]}]}
        service = self.serve(listeners=[{**both, "bind_addresses": ["127.0.0.1"]}])
        self.assertEqual(service.ask("GET", "/_matrix/client/versions").status, 200)
        self.assertEqual(self.value("regsys_hashes_waiting"), 0)
        service.stop()
        service = self.serve(enable_metrics=False)
        self.assertRaises(OSError, self.scrape)
        self.assertIn("listeners[1]", service.stop())
