"""A shadow server over real HTTP, which is away for a while: two processes, on both databases."""

from __future__ import annotations

import contextlib
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.dialects import PostgreSQL
from tests.appservices.bridges import registration
from tests.support import postgres
from tests.support.client import V3
from tests.support.patience import until
from tests.support.ports import free_port
from tests.support.service_process import ServiceProcess, psycopg2, sqlite, write_config

PASSWORD = "the-password-canary"
TOKEN = "the-token-canary"


class ShadowServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        with postgres.needed_by(self):
            self.args = postgres.shared().create_database()
        self.addCleanup(postgres.shared().drop_database, self.args)
        self.port = free_port()
        self.shadow_config = self.write_shadow()
        shadow = {"hs_url": f"http://127.0.0.1:{self.port}", "as_token": TOKEN}
        config = write_config(
            self.folder(),
            psycopg2(self.args),
            shadow_server=shadow,
            # Never through a proxy that the environment names.
            no_proxy_hosts=["127.0.0.1"],
        )
        self.service = ServiceProcess(self, config)

    def folder(self) -> Path:
        made = Path(self.mktemp()).resolve()
        made.mkdir()
        return made

    def write_shadow(self) -> Path:
        folder = self.folder()
        users = [{"regex": "@.*", "exclusive": False}]
        service = registration(as_token=TOKEN, namespaces={"users": users})
        (folder / "service.yaml").write_text(yaml.safe_dump(service))
        resources = [{"names": ["client"]}]
        listener = {"port": self.port, "bind_addresses": ["127.0.0.1"], "type": "http"}
        return write_config(
            folder,
            sqlite(folder),
            enable_registration=False,
            listeners=[{**listener, "resources": resources}],
            app_service_config_files=[str(folder / "service.yaml")],
            regsys={"appservice_may_set_password": True, "rc_availability": False},
        )

    def register(self, name: str) -> None:
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        answer = self.service.ask("POST", f"{V3}/register", body)
        self.assertEqual(answer.status, 200, answer)

    def is_at(self, service: ServiceProcess, name: str) -> bool:
        body = {"type": "m.login.password", "user": name, "password": PASSWORD}
        return service.ask("POST", f"{V3}/login", body).status == 200

    def hurry(self) -> None:
        """Nobody waits for the next attempt, which is a minute away if the machine is slow."""
        from psycopg2 import connect

        with contextlib.closing(connect(**PostgreSQL(self.args).connect_args())) as connection:
            connection.cursor().execute("UPDATE regsys.jobs SET due_ms = 0 WHERE attempts > 1")
            connection.commit()

    def test_awayAndBack(self) -> None:
        """Accounts are made while it is away, and soon after it is back they are there, with their
        passwords. Nothing of these is in the log."""
        self.register("alice")
        self.service.wait_for("job shadow_register")
        shadow = ServiceProcess(self, self.shadow_config)
        self.hurry()
        self.register("bob")
        for name in ("alice", "bob"):
            until(lambda name=name: self.is_at(shadow, name))  # type: ignore[misc]
        for text in (self.service.stop(), shadow.stop()):
            for secret in (PASSWORD, TOKEN):
                self.assertNotIn(secret, text)
