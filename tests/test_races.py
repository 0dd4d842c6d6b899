"""Sixteen clients at once, against real processes on both databases: a name, a session or a guest
is won once, and nobody is answered with a 5xx (threat F2)."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.races import (
    CONTENDERS,
    PASSWORD,
    V3,
    OnPostgreSQL,
    OnSQLite,
    OnTwoProcesses,
    RaceCase,
)
from tests.support.scale import FEW_ROUNDS, SCALE

DUMMY = {"type": "m.login.dummy"}
ROUNDS = 20 * SCALE


class Races(RaceCase):
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
        for _ in range(FEW_ROUNDS):
            answers = self.race(lambda contender: {}, "?kind=guest")
            names |= {answer.json["user_id"] for answer in answers}
        self.assertEqual(len(names), FEW_ROUNDS * CONTENDERS)
        self.assertAccounts(FEW_ROUNDS * CONTENDERS)

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

    def test_oneSessionManyNames(self: Any) -> None:
        """A session that sixteen complete with sixteen names gets one of them."""
        for number in range(FEW_ROUNDS):
            challenge = self.services[0].ask("POST", f"{V3}/register", {"password": PASSWORD})
            auth = {**DUMMY, "session": challenge.json["session"]}
            answers = self.race(
                lambda contender, number=number, auth=auth: {
                    "username": f"name{number}-{contender}",
                    "password": PASSWORD,
                    "auth": auth,
                }
            )
            self.assertEqual(
                Counter(answer.errcode for answer in answers),
                {None: 1, "M_UNKNOWN": CONTENDERS - 1},
            )
        self.assertAccounts(FEW_ROUNDS)

    def test_guestUpgrade(self: Any) -> None:
        """A guest becomes a user once; the others learn that its token, or its name, is gone."""
        for number in range(ROUNDS):
            guest = self.services[0].ask("POST", f"{V3}/register?kind=guest", {}).json
            wishes = {
                "username": guest["user_id"][1:].partition(":")[0],
                "guest_access_token": guest["access_token"],
            }
            # In every other round each has a session of its own.
            stages = [self.stage(wishes) if number % 2 else DUMMY for _ in range(CONTENDERS)]
            answers = self.race(
                lambda contender, wishes=wishes, stages=stages: {
                    **wishes,
                    "password": f"{PASSWORD} {contender}",
                    "auth": stages[contender],
                }
            )
            winners = [answer for answer in answers if answer.status == 200]
            self.assertEqual(len(winners), 1, answers)
            self.assertEqual(winners[0].json["user_id"], guest["user_id"])
            losers = {answer.errcode for answer in answers if answer.status != 200}
            self.assertEqual(losers, {"M_UNKNOWN_TOKEN"})
            who = self.services[0].ask("GET", f"{V3}/account/whoami", token=guest["access_token"])
            self.assertEqual(who.json["errcode"], "M_UNKNOWN_TOKEN")
        self.assertAccounts(ROUNDS)

    def stage(self: Any, wishes: Any) -> Any:
        """What completes a session that is begun with these."""
        challenge = self.services[0].ask("POST", f"{V3}/register", wishes)
        return {**DUMMY, "session": challenge.json["session"]}


class SQLiteRacesTests(OnSQLite, Races, SynchronousTestCase):
    pass


class PostgreSQLRacesTests(OnPostgreSQL, Races, SynchronousTestCase):
    pass


class TwoProcessesRacesTests(OnTwoProcesses, Races, SynchronousTestCase):
    pass
