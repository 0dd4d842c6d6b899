"""SIGTERM in the middle of registrations: an end in time, an answer or a closed connection for
everybody, and nothing half-made (THREATS C13)."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.backend import connect
from regsys.config import load
from regsys.tokens import token_hash
from tests import invariants, postgres
from tests.crowd import Crowd
from tests.service_process import ServiceProcess, psycopg2, sqlite, write_config

REGISTER = "/_matrix/client/v3/register"
IN_FLIGHT = 20
# One hash takes longer than a process may take to end.
TOO_SLOW = 18
ARRIVED_S = 0.5
AT_ONCE_S = 2.0


def registration(number: int) -> dict[str, Any]:
    auth = {"type": "m.login.dummy"}
    return {"username": f"user{number}", "password": "correct horse", "auth": auth}


class Shutdown:
    """``database(folder)`` gives the section of the file."""

    def begin(self: Any, rounds: int) -> None:
        """A service in the middle of twenty registrations."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.config = write_config(folder, self.database(folder), bcrypt_rounds=rounds)
        self.service = ServiceProcess(self, self.config)
        crowd = Crowd([self.service.base_url], IN_FLIGHT)
        self.addCleanup(crowd.close)
        self.addCleanup(self.service.kill)
        self.answers = crowd.start("POST", REGISTER, registration)
        wait(self.answers, ARRIVED_S, FIRST_COMPLETED)

    def ended(self: Any) -> list[int]:
        """The status of everybody's answer, 0 for none. All accounts are whole, and everybody
        who was told of one has it."""
        answers = [answer.result() for answer in self.answers]
        connection = connect(load([str(self.config)]).database)
        self.addCleanup(connection.close)
        self.assertEqual(invariants.broken(connection), {})
        cursor = connection.cursor()
        cursor.execute("SELECT access_hash, user_id FROM logins")
        logins = dict(cursor.fetchall())
        for answer in answers:
            if answer.status == 200:
                owner = logins[token_hash(answer.json["access_token"])]
                self.assertEqual(owner, answer.json["user_id"])
        return [answer.status for answer in answers]

    def test_allAnswered(self: Any) -> None:
        """Registrations that are under way when SIGTERM comes end well, all of them."""
        self.begin(rounds=10)
        self.service.stop()
        self.assertEqual(self.ended(), [200] * IN_FLIGHT)

    def test_inTime(self: Any) -> None:
        """Those that take too long are cut off, in time for a good end all the same."""
        self.begin(rounds=TOO_SLOW)
        output = self.service.stop()
        self.assertNotIn("stopping: 0 calls under way", output)
        self.assertEqual(self.ended(), [0] * IN_FLIGHT)

    def test_secondSignal(self: Any) -> None:
        """A second SIGTERM ends the process at once."""
        self.begin(rounds=TOO_SLOW)
        self.service.process.terminate()
        while "stopping" not in self.service.output:
            self.assertIsNone(self.service.process.poll(), self.service.output)
            time.sleep(0.01)
        started_s = time.monotonic()
        self.service.process.terminate()
        self.assertEqual(self.service.process.wait(AT_ONCE_S), 1)
        self.assertLess(time.monotonic() - started_s, AT_ONCE_S)
        self.assertEqual(self.ended(), [0] * IN_FLIGHT)


class SQLiteShutdownTests(Shutdown, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLShutdownTests(Shutdown, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
