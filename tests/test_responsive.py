"""While passwords are hashed at full cost, in a real process, other requests are answered at once
(threat A19)."""

from __future__ import annotations

import os
from concurrent.futures import as_completed
from itertools import takewhile
from pathlib import Path
from typing import Any, Callable

from twisted.trial.unittest import SynchronousTestCase

from regsys.credentials.hashing import TWELVE_ROUNDS_S
from tests.support import postgres
from tests.support.crowd import Caller, Crowd
from tests.support.service_process import ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
WAITING = 8
# More than the hashing pool accepts: 32 waiting, and one in each of its threads.
TOO_MANY = 32 + (os.cpu_count() or 1) + 14
REQUESTS = 200
P99_S = 0.100
REFUSED_S = 0.050
# If a hash takes longer than on the machine of those limits, they are longer in proportion.
HASH_S = TWELVE_ROUNDS_S
# A test machine may be loaded for a moment.
TRIES = 3


def registration(number: int) -> dict[str, Any]:
    auth = {"type": "m.login.dummy"}
    return {"username": f"user{number}", "password": "correct horse", "auth": auth}


class Responsive:
    """``database(folder)`` gives the section of the file."""

    def begin(self: Any, clients: int) -> tuple[ServiceProcess, Crowd]:
        """A service with the usual cost of hashes, and so many clients."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(folder, self.database(folder), bcrypt_rounds=12)
        service = ServiceProcess(self, config)
        crowd = Crowd([service.base_url], clients)
        self.addCleanup(crowd.close)
        self.addCleanup(service.kill)
        return service, crowd

    def best(self: Any, measure: Callable[[], tuple[float, list[float]]], limit_s: float) -> None:
        """In one of its tries ``measure`` stays below the limit. It returns the time of a hash, and
        its measurements: none, if there was no occasion."""
        tries = []
        for _ in range(TRIES):
            tries.append(measure())
            hash_s, took_s = tries[-1]
            if took_s and max(took_s) < limit_s * max(1, hash_s / HASH_S):
                return
        self.fail(f"the limit is {limit_s} s where a hash takes {HASH_S} s: {tries}")

    def hashed(self: Any, caller: Caller) -> tuple[str, float]:
        """Register one user alone; the token, and the time of the hash."""
        answer = caller.ask("POST", f"{V3}/register", registration(-1))
        self.assertEqual(answer.status, 200)
        return answer.json["access_token"], answer.took_s

    def test_cheapRequests(self: Any) -> None:
        """Of two hundred cheap requests, while at least eight hashes wait, 99 in a hundred take
        less than a tenth of a second."""

        def measure() -> tuple[float, list[float]]:
            service, crowd = self.begin(3 * WAITING)
            first = Caller(service.base_url)
            token, hash_s = self.hashed(first)
            hashing = crowd.start("POST", f"{V3}/register", registration)
            crowd.wait_until_sent()
            paths = (f"{V3}/register/available?username=free", f"{V3}/account/whoami")
            answers = [first.ask("GET", paths[turn % 2], token=token) for turn in range(REQUESTS)]
            under_way = sum(not answer.done() for answer in hashing)
            first.close()
            service.kill()
            self.assertEqual({answer.status for answer in answers}, {200})
            took_s = sorted(answer.took_s for answer in answers)[: REQUESTS * 99 // 100]
            # If the hashes are done before the requests the measurement is void.
            return hash_s, took_s[-1:] if under_way > WAITING else []

        self.best(measure, P99_S)

    def test_fullQueue(self: Any) -> None:
        """A client that comes when too many hashes wait is told at once when to retry."""

        def measure() -> tuple[float, list[float]]:
            service, crowd = self.begin(TOO_MANY)
            late = Caller(service.base_url)
            _, hash_s = self.hashed(late)
            hashing = crowd.start("POST", f"{V3}/register", registration)
            first = next(as_completed(hashing)).result()
            asked = (late.ask("POST", f"{V3}/register", registration(-2)) for _ in range(5))
            # One that finds a place just then has to wait for its hash.
            refused = list(takewhile(lambda answer: answer.status == 429, asked))
            late.close()
            service.kill()
            self.assertEqual((first.status, first.errcode), (429, "M_LIMIT_EXCEEDED"))
            self.assertGreater(first.json["retry_after_ms"], 0)
            return hash_s, [answer.took_s for answer in refused]

        self.best(measure, REFUSED_S)


class SQLiteResponsiveTests(Responsive, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLResponsiveTests(Responsive, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
