"""Limits on active users in real processes: no user is lost at a stop, and idle guests end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests.support.patience import until
from tests.support.races import V3, OnPostgreSQL, OnSQLite
from tests.support.service_process import Answer, ServiceProcess, write_config

OPTIONS = {
    "limit_usage_by_mau": True,
    "max_mau_value": 2,
    "regsys": {"guest_expiry": "30d"},
}
LONG_MS = 40 * 24 * 3600 * 1000


class ActivityProcess:
    def setUp(self: Any) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        self.config = write_config(folder, self.database(folder), **OPTIONS)
        self.service = ServiceProcess(self, self.config)

    def register(self: Any, name: str) -> Answer:
        auth = {"type": "m.login.dummy"}
        body = {"username": name, "password": "correct horse", "auth": auth}
        return self.service.ask("POST", f"{V3}/register", body)

    def whoami(self: Any, token: str) -> Answer:
        answer: Answer = self.service.ask("GET", f"{V3}/account/whoami", token=token)
        return answer

    def change(self: Any, *statements: str) -> None:
        """Change the database while no service runs."""
        connection = connect(load([str(self.config)]).database)
        for sql in statements:
            connection.cursor().execute(sql)
        connection.close()

    def restart(self: Any, *changes: str) -> None:
        self.service.stop()
        self.change(*changes)
        self.service = ServiceProcess(self, self.config)

    def test_restart(self: Any) -> None:
        """Users who took the last places keep them over an immediate restart."""
        for name in ("alice", "bob"):
            self.assertEqual(self.register(name).status, 200)
        self.restart()
        refused = self.register("carol")
        self.assertEqual(refused.json["errcode"], "M_RESOURCE_LIMIT_EXCEEDED")
        self.assertNotIn("Traceback", self.service.stop())

    def test_idleGuest(self: Any) -> None:
        """A guest who was idle for long ends soon after a start."""
        guest = self.service.ask("POST", f"{V3}/register?kind=guest", {}).json
        token, now_ms = guest["access_token"], int(time.time() * 1000)
        self.restart(
            f"UPDATE users SET created_ms = created_ms - {LONG_MS}, seen_ms = NULL",
            "DELETE FROM watches",
            f"INSERT INTO watches VALUES ('guests', {now_ms - LONG_MS}, {now_ms})",
        )
        until(lambda: self.whoami(token).status != 200, lambda: "the guest is still there")
        self.assertIn("deactivated 1 guests for being idle", self.service.stop())


class SQLiteTests(OnSQLite, ActivityProcess, SynchronousTestCase):
    pass


class PostgreSQLTests(OnPostgreSQL, ActivityProcess, SynchronousTestCase):
    pass
