"""Sixteen clients at once, against real processes on both databases: a name, a session or a guest
is won once, and nobody is answered with a 5xx (THREATS F2)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Callable, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from regsys.backend import connect
from regsys.config import load
from tests import invariants, postgres
from tests.crowd import Answer, Crowd
from tests.log_canaries import told
from tests.scale import SCALE
from tests.service_process import ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
DUMMY = {"type": "m.login.dummy"}
PASSWORD = "correct horse battery staple"
CONTENDERS = 16
ROUNDS = 20 * SCALE


class Races:
    """``database(folder)`` gives the section of the file for each of ``processes``."""

    processes: ClassVar[int] = 1

    def setUp(self: Any) -> None:
        folder = Path(self.mktemp()).resolve()
        database = self.database(folder)
        self.services = []
        for number in range(self.processes):
            home = folder / str(number)
            home.mkdir(parents=True)
            self.config = write_config(home, database)
            self.services.append(ServiceProcess(self, self.config))
        self.crowd = Crowd([service.base_url for service in self.services], CONTENDERS)
        self.addCleanup(self.crowd.close)

    def race(self: Any, body: Callable[[int], Any], query: str = "") -> list[Answer]:
        """What each contender is answered; never a 5xx."""
        answers = self.crowd.ask("POST", f"{V3}/register{query}", body)
        wrong = [answer for answer in answers if answer.status not in (200, 400, 401)]
        output = "\n".join(service.output for service in self.services)
        self.assertEqual(wrong, [], output)
        return answers

    def assertAccounts(self: Any, expected: int) -> None:
        """There are so many accounts, all is well with them, and no service complains or
        tells a secret."""
        for service in self.services:
            self.assertNotIn("Traceback", service.output)
            self.assertEqual(told(service.output, {"the password": PASSWORD}), [])
        connection = connect(load([str(self.config)]).database)
        self.addCleanup(connection.close)
        cursor = connection.cursor()
        cursor.execute("SELECT COUNT(*) FROM users")
        self.assertEqual(cursor.fetchone()[0], expected)
        self.assertEqual(invariants.broken(connection), {})

    def test_oneName(self: Any) -> None:
        """Of sixteen who want one name, in whatever case, one gets it."""
        for number in range(ROUNDS):
            spellings = (f"name{number}", f"NAME{number}")
            answers = self.race(
                lambda contender, spellings=spellings: {
                    "username": spellings[contender % 2],
                    "password": PASSWORD,
                    "auth": DUMMY,
                }
            )
            self.assertEqual(
                Counter(answer.errcode for answer in answers),
                {None: 1, "M_USER_IN_USE": CONTENDERS - 1},
            )
        self.assertAccounts(ROUNDS)

    def test_guests(self: Any) -> None:
        """Sixteen guests get sixteen names."""
        names = set()
        for _ in range(ROUNDS):
            answers = self.race(lambda contender: {}, "?kind=guest")
            names |= {answer.json["user_id"] for answer in answers}
        self.assertEqual(len(names), ROUNDS * CONTENDERS)
        self.assertAccounts(ROUNDS * CONTENDERS)

    def test_oneSession(self: Any) -> None:
        """Whoever completes a session gets the same account, device and tokens as all others."""
        for number in range(ROUNDS):
            self.complete({"username": f"name{number}", "password": PASSWORD})
        self.assertAccounts(ROUNDS)

    def test_oneSessionWithoutName(self: Any) -> None:
        """So do those whose session has asked for no name."""
        for _ in range(ROUNDS):
            self.complete({"password": PASSWORD})
        self.assertAccounts(ROUNDS)

    def complete(self: Any, wishes: Any) -> None:
        challenge = self.services[0].ask("POST", f"{V3}/register", wishes)
        auth = {**DUMMY, "session": challenge.json["session"]}
        answers = self.race(lambda contender: {**wishes, "refresh_token": True, "auth": auth})
        told = {re.sub(rb'"expires_in_ms":\d+', b"", answer.content) for answer in answers}
        self.assertEqual(len(told), 1, told)
        self.assertEqual(answers[0].status, 200, told)
        self.assertIn("expires_in_ms", answers[0].json)

    def test_guestUpgrade(self: Any) -> None:
        """A guest becomes a user once; the others learn that its token, or its name, is gone."""
        for _ in range(ROUNDS):
            guest = self.services[0].ask("POST", f"{V3}/register?kind=guest", {}).json
            wishes = {
                "username": guest["user_id"][1:].partition(":")[0],
                "guest_access_token": guest["access_token"],
                "auth": DUMMY,
            }
            answers = self.race(
                lambda contender, wishes=wishes: {**wishes, "password": f"{PASSWORD} {contender}"}
            )
            winners = [answer for answer in answers if answer.status == 200]
            self.assertEqual(len(winners), 1, answers)
            self.assertEqual(winners[0].json["user_id"], guest["user_id"])
            losers = {answer.errcode for answer in answers if answer.status != 200}
            self.assertEqual(losers, {"M_UNKNOWN_TOKEN"})
        self.assertAccounts(ROUNDS)


class SQLiteRacesTests(Races, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLRacesTests(Races, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))


class TwoProcessesRacesTests(PostgreSQLRacesTests):
    """Two processes over one database know nothing of each other: the database decides."""

    processes = 2
