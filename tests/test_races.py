"""Sixteen concurrent clients, against real processes on both databases: a name, a session or a
guest is won once, and no client gets a 5xx (threat F2)."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, ClassVar, Mapping

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


class HoldRaces(RaceCase):
    options: ClassVar[Mapping[str, Any]] = {"regsys": {"hold_names": True}}

    def test_oneHold(self: Any) -> None:
        """Of sixteen sessions that name one name one has it, and completes; so has one of sixteen
        that name the next."""
        for number in range(FEW_ROUNDS):
            body = {"username": f"name{number}", "password": PASSWORD}
            answers = self.race(lambda contender, body=body: body)
            self.assertEqual(
                Counter(answer.errcode for answer in answers),
                {None: 1, "M_USER_IN_USE": CONTENDERS - 1},
            )
            (session,) = (answer.json["session"] for answer in answers if answer.status == 401)
            auth = {**DUMMY, "session": session}
            ended = self.services[0].ask("POST", f"{V3}/register", {**body, "auth": auth})
            self.assertEqual(ended.status, 200, ended)
        self.assertAccounts(FEW_ROUNDS)


class HoldsOnSQLiteTests(OnSQLite, HoldRaces, SynchronousTestCase):
    pass


class HoldsOnTwoProcessesTests(OnTwoProcesses, HoldRaces, SynchronousTestCase):
    pass


class Races(RaceCase):
    def test_oneName(self: Any) -> None:
        """Of sixteen registrations for one name, in any case, one succeeds."""
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
        """All who complete a session get the same account, device and tokens."""
        for number in range(ROUNDS):
            self.complete({"username": f"name{number}", "password": PASSWORD})
        self.assertAccounts(ROUNDS)

    def test_oneSessionWithoutName(self: Any) -> None:
        """The same holds for a session that has asked for no name."""
        for _ in range(ROUNDS):
            self.complete({"password": PASSWORD})
        self.assertAccounts(ROUNDS)

    def complete(self: Any, body: Any) -> None:
        challenge = self.services[0].ask("POST", f"{V3}/register", body)
        auth = {**DUMMY, "session": challenge.json["session"]}
        answers = self.race(lambda contender: {**body, "refresh_token": True, "auth": auth})
        contents = {re.sub(rb'"expires_in_ms":\d+', b"", answer.content) for answer in answers}
        self.assertEqual(len(contents), 1, contents)
        self.assertEqual(answers[0].status, 200, contents)
        self.assertIn("expires_in_ms", answers[0].json)

    def test_oneSessionManyNames(self: Any) -> None:
        """A session that sixteen requests complete with sixteen names gets one of them."""
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
        """A guest becomes a user once; the other requests learn that its token, or its name, is
        gone."""
        for number in range(ROUNDS):
            guest = self.services[0].ask("POST", f"{V3}/register?kind=guest", {}).json
            body = {
                "username": guest["user_id"][1:].partition(":")[0],
                "guest_access_token": guest["access_token"],
            }
            # In every other round each has a session of its own.
            stages = [self.stage(body) if number % 2 else DUMMY for _ in range(CONTENDERS)]
            answers = self.race(
                lambda contender, body=body, stages=stages: {
                    **body,
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

    def stage(self: Any, body: Any) -> Any:
        """The stage that completes a session which is begun with this body."""
        challenge = self.services[0].ask("POST", f"{V3}/register", body)
        return {**DUMMY, "session": challenge.json["session"]}


class SQLiteRacesTests(OnSQLite, Races, SynchronousTestCase):
    pass


class PostgreSQLRacesTests(OnPostgreSQL, Races, SynchronousTestCase):
    pass


class TwoProcessesRacesTests(OnTwoProcesses, Races, SynchronousTestCase):
    pass
