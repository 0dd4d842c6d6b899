"""Sixteen clients with one registration token, against real processes on both databases: it is used
as often as it may be, and nothing is left pending (threat C5, F2)."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support.crowd import Answer
from tests.support.races import (
    CONTENDERS,
    PASSWORD,
    OnPostgreSQL,
    OnSQLite,
    OnTwoProcesses,
    RaceCase,
)
from tests.support.scale import FEW_ROUNDS, SCALE

STAGE = "m.login.registration_token"
DUMMY = "m.login.dummy"
ROUNDS = 20 * SCALE


class TokenRaces(RaceCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": {"per_second": 10_000, "burst_count": 10_000},
        "regsys": {"sessions_per_ip": 100_000},
    }

    def setUp(self: Any) -> None:
        super().setUp()
        self.behind = self.connect()
        self.winners = 0

    def run_sql(self: Any, sql: str) -> Any:
        cursor = self.behind.cursor()
        cursor.execute(sql)
        return cursor

    def token(self: Any, uses: int, number: int) -> str:
        """A new token with so many uses."""
        self.run_sql(
            "INSERT INTO registration_tokens (token, uses_allowed, completed, revoked, created_ms)"
            f" VALUES ('token{number}', {uses}, 0, FALSE, 0)"
        )
        return f"token{number}"

    def sessions(self: Any) -> list[str]:
        """A new session for each contender."""
        answers = self.race(lambda contender: {})
        return [answer.json["session"] for answer in answers]

    def present(self: Any, sessions: list[str], token: str) -> list[Answer]:
        """Each presents the token in its session."""
        auth = {"type": STAGE, "token": token}
        return self.race(lambda contender: {"auth": {**auth, "session": sessions[contender]}})

    def complete(self: Any, sessions: list[str]) -> list[Answer]:
        """Each tries to complete its session."""
        return self.race(
            lambda contender: {
                "password": PASSWORD,
                "auth": {"type": DUMMY, "session": sessions[contender]},
            }
        )

    def assertLetIn(self: Any, token: str, answers: list[Answer], uses: int) -> None:
        """So many clients have an account, the token's uses list each of them, and nothing is
        pending."""
        let_in = [answer.json["user_id"] for answer in answers if answer.status == 200]
        self.assertEqual(len(let_in), uses, answers)
        self.winners += uses
        cursor = self.run_sql(f"SELECT completed FROM registration_tokens WHERE token = '{token}'")
        self.assertEqual(cursor.fetchone()[0], uses)
        cursor = self.run_sql(
            f"SELECT user_id FROM registration_token_uses WHERE token = '{token}'"
        )
        self.assertEqual({row[0] for row in cursor.fetchall()}, set(let_in))
        cursor = self.run_sql(
            "SELECT session_id FROM registration_token_reservations WHERE expires_ms > 0"
        )
        self.assertEqual(list(cursor.fetchall()), [])

    def test_stage(self: Any) -> None:
        """Of sixteen clients that present it at once so many pass, and exactly those have an
        account."""
        for number in range(ROUNDS):
            uses = 1 + number % 4
            token, sessions = self.token(uses, number), self.sessions()
            answers = self.present(sessions, token)
            self.assertEqual(
                Counter((answer.errcode, *answer.json["completed"]) for answer in answers),
                {(None, STAGE): uses, ("M_UNAUTHORIZED",): CONTENDERS - uses},
            )
            self.assertLetIn(token, self.complete(sessions), uses)
        self.assertAccounts(self.winners)

    def test_completion(self: Any) -> None:
        """Of sixteen whose reservation has expired so many get a use again when all complete at
        once; the others are refused, and may present another token."""
        for number in range(ROUNDS):
            uses = 1 + number % 4
            token, sessions = self.token(CONTENDERS, number), self.sessions()
            held = self.present(sessions, token)
            self.assertEqual({answer.errcode for answer in held}, {None})
            self.run_sql("UPDATE registration_token_reservations SET expires_ms = 0")
            self.run_sql(
                f"UPDATE registration_tokens SET uses_allowed = {uses} WHERE token = '{token}'"
            )
            answers = self.complete(sessions)
            self.assertLetIn(token, answers, uses)
            lost = [answer for answer in answers if answer.status != 200]
            self.assertEqual(
                {(answer.errcode, *answer.json["completed"]) for answer in lost},
                {("M_UNAUTHORIZED", DUMMY)},
            )
        another, session = self.token(1, ROUNDS), lost[0].json["session"]
        self.assertLetIn(another, self.present([session] * CONTENDERS, another)[:1], 1)
        self.assertAccounts(self.winners)

    def test_oneSession(self: Any) -> None:
        """A session that presents it sixteen times at once reserves one use, and uses one."""
        for number in range(FEW_ROUNDS):
            token, sessions = self.token(1, number), self.sessions()[:1] * CONTENDERS
            answers = self.present(sessions, token)
            self.assertEqual({answer.errcode for answer in answers}, {None}, answers)
            answers = self.complete(sessions)
            self.assertEqual(len({answer.content for answer in answers}), 1, answers)
            self.assertLetIn(token, answers[:1], 1)
        self.assertAccounts(self.winners)


class SQLiteTokenRacesTests(OnSQLite, TokenRaces, SynchronousTestCase):
    pass


class PostgreSQLTokenRacesTests(OnPostgreSQL, TokenRaces, SynchronousTestCase):
    pass


class TwoProcessesTokenRacesTests(OnTwoProcesses, TokenRaces, SynchronousTestCase):
    pass
