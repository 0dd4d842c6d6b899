"""While passwords are hashed at full cost, in a real process, everybody else is served at once
(THREATS A19)."""

from __future__ import annotations

import os
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import postgres
from tests.crowd import Caller, Crowd
from tests.service_process import ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
WAITING = 8
# More than the hashing pool takes: 32 waiting, and one in each of its threads.
TOO_MANY = 32 + (os.cpu_count() or 1) + 14
REQUESTS = 200
P99_S = 0.100
REFUSED_S = 0.050
# A test machine may be busy with something else for a moment.
TRIES = 3


def registration(number: int) -> dict[str, Any]:
    auth = {"type": "m.login.dummy"}
    return {"username": f"user{number}", "password": "correct horse", "auth": auth}


class Responsive:
    """``database(folder)`` gives the section of the file."""

    def begin(self: Any, clients: int) -> tuple[ServiceProcess, Crowd]:
        """A service that hashes as services do, and so many clients."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(folder, self.database(folder), bcrypt_rounds=12)
        service = ServiceProcess(self, config)
        crowd = Crowd([service.base_url], clients)
        self.addCleanup(crowd.close)
        self.addCleanup(service.kill)
        return service, crowd

    def best(self: Any, measure: Any, limit_s: float) -> None:
        """``measure`` gives less than the limit at one of its tries."""
        measured = []
        for _ in range(TRIES):
            measured.append(measure())
            if measured[-1] < limit_s:
                return
        self.fail(f"{measured} s, and the limit is {limit_s} s")

    def test_cheapRequests(self: Any) -> None:
        """Of two hundred cheap requests, while eight hashes and more wait, 99 in a hundred take
        less than a tenth of a second."""

        def measure() -> float:
            service, crowd = self.begin(3 * WAITING)
            first = Caller(service.base_url)
            token = first.ask("POST", f"{V3}/register", registration(-1)).json["access_token"]
            hashing = crowd.start("POST", f"{V3}/register", registration)
            paths = (f"{V3}/register/available?username=free", f"{V3}/account/whoami")
            answers = [first.ask("GET", paths[turn % 2], token=token) for turn in range(REQUESTS)]
            under_way = sum(not answer.done() for answer in hashing)
            first.close()
            service.kill()
            self.assertEqual({answer.status for answer in answers}, {200})
            self.assertGreater(under_way, WAITING, "the hashes were done before the requests")
            return sorted(answer.took_s for answer in answers)[REQUESTS * 99 // 100 - 1]

        self.best(measure, P99_S)

    def test_fullQueue(self: Any) -> None:
        """Who comes when too many hashes wait is told at once when to come again."""

        def measure() -> float:
            service, crowd = self.begin(TOO_MANY)
            late = Caller(service.base_url)
            hashing = crowd.start("POST", f"{V3}/register", registration)
            told = next(as_completed(hashing)).result()
            answers = [late.ask("POST", f"{V3}/register", registration(-1)) for _ in range(5)]
            late.close()
            service.kill()
            self.assertEqual((told.status, told.errcode), (429, "M_LIMIT_EXCEEDED"))
            self.assertGreater(told.json["retry_after_ms"], 0)
            # One that found a place just then has had to wait for its hash.
            return max(answer.took_s for answer in answers)

        self.best(measure, REFUSED_S)


class SQLiteResponsiveTests(Responsive, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLResponsiveTests(Responsive, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
