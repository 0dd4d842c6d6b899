"""Whether an address is in use can't be told from the time of a token request, if that is hidden:
against real processes on both databases (threat A2)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests.support.crowd import Caller
from tests.support.passwords import RESET_REQUEST
from tests.support.races import OnPostgreSQL, OnSQLite
from tests.support.service_process import ServiceProcess, write_config
from tests.support.validations import REQUEST

# Of each kind. Without any difference the area lies within 0.1 of a half, except once in 10
# million.
SAMPLES = 500
WARM_UP = 50
MOST = 0.6
PLENTY = {"per_second": 10_000, "burst_count": 10_000}


def area(ones: list[float], others: list[float]) -> float:
    """The area under the curve of a test by these times alone: how often one of the first is the
    longer of two (0.5: pure chance)."""
    ordered = sorted([(value, True) for value in ones] + [(value, False) for value in others])
    ranks = sum(rank for rank, (_, is_one) in enumerate(ordered, 1) if is_one)
    return (ranks - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(others))


class AreaTests(SynchronousTestCase):
    def test_area(self) -> None:
        """The measure separates what can be told apart from what can't."""
        self.assertEqual(area([3, 4, 5], [0, 1, 2]), 1)
        self.assertEqual(area([0, 1, 2], [3, 4, 5]), 0)
        self.assertEqual(area([0, 3], [1, 2]), 0.5)


class Timing:
    def test_requestToken(self: Any) -> None:
        """Addresses in use and free ones have the same answer, as fast: to register, and to set a
        new password."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        config = write_config(
            folder,
            self.database(folder),
            email={"notif_from": "server@test.example"},
            request_token_inhibit_3pid_errors=True,
            rc_3pid_validation=PLENTY,
            regsys={"rc_availability": False, "rc_validation_total": {"email": PLENTY}},
        )
        service = ServiceProcess(self, config)
        self.own(config, "taken@mail.example")
        caller = Caller(service.base_url)
        self.addCleanup(caller.close)
        for path in (REQUEST, RESET_REQUEST):
            self.compare(caller, path)

    def compare(self: Any, caller: Caller, path: str) -> None:
        took_s: dict[str, list[float]] = {"taken": [], "other": []}
        names = ["taken", "other"] * SAMPLES
        random.Random(1).shuffle(names)
        for number, name in enumerate([*names[:WARM_UP], *names]):
            body = {
                "email": f"{name}@mail.example",
                "client_secret": f"secret{number:04}",
                "send_attempt": 1,
            }
            answer = caller.ask("POST", path, body)
            self.assertEqual((answer.status, [*answer.json]), (200, ["sid"]), answer)
            if number >= WARM_UP:
                took_s[name].append(answer.took_s)
        found = area(took_s["taken"], took_s["other"])
        self.assertLessEqual(max(found, 1 - found), MOST, path)

    def own(self: Any, config: Path, address: str) -> None:
        """Give an account this address."""
        connection = connect(load([str(config)]).database)
        self.addCleanup(connection.close)
        cursor = connection.cursor()
        cursor.execute(
            "INSERT INTO users (user_id, name_key, is_guest, admin, approved, shadow_banned,"
            " deactivated, created_ms)"
            " VALUES ('@a:test.example', 'a', FALSE, FALSE, TRUE, FALSE, FALSE, 1)"
        )
        cursor.execute(
            f"INSERT INTO threepids VALUES ('email', '{address}', '@a:test.example', 1, 1)"
        )


class SQLiteTimingTests(OnSQLite, Timing, SynchronousTestCase):
    pass


class PostgreSQLTimingTests(OnPostgreSQL, Timing, SynchronousTestCase):
    pass
