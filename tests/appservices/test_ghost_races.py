"""A service asks for one name many times at once, from real processes on both databases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.appservices.bridges import SERVICE, registration
from tests.support.races import CONTENDERS, OnSQLite, OnTwoProcesses, RaceCase
from tests.support.scale import SCALE

ROUNDS = 10 * SCALE
TOKEN = "bridge"


class Races(RaceCase):
    def setUp(self: Any) -> None:
        path = Path(self.mktemp()).resolve()
        users = [{"regex": "@_irc_", "exclusive": True}]
        path.write_text(yaml.safe_dump(registration(as_token=TOKEN, namespaces={"users": users})))
        self.options = {"app_service_config_files": [str(path)]}
        super().setUp()

    def test_oneName(self: Any) -> None:
        """Of sixteen requests for one name, in any case, with a login or without, one is granted;
        the others get the error that bridges take for success."""
        for number in range(ROUNDS):
            spellings = (f"_irc_name{number}", f"_irc_Name{number}")
            answers = self.race(
                lambda contender, spellings=spellings: {
                    "type": SERVICE,
                    "username": spellings[contender % 2],
                    "inhibit_login": contender % 4 < 2,
                },
                f"?access_token={TOKEN}",
            )
            self.assertEqual(
                Counter(answer.errcode for answer in answers),
                {None: 1, "M_USER_IN_USE": CONTENDERS - 1},
            )
        self.assertAccounts(ROUNDS)


class SQLiteTests(OnSQLite, Races, SynchronousTestCase):
    pass


class TwoProcessesTests(OnTwoProcesses, Races, SynchronousTestCase):
    pass
