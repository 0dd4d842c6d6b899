"""Sixteen clients with one email address, against real processes on both databases: one account
owns it, and the others are refused before they have one (threat B4, F2)."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import NoTriesLeft, WrongValidationToken
from regsys.model.threepids import CODE_TRIES
from regsys.threepids.validation_tokens import ValidationTokens
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
from tests.support.service_process import MACAROON_SECRET
from tests.support.validations import REQUEST, STAGE, SUBMIT

PLENTY = {"per_second": 10_000, "burst_count": 10_000}
ROUNDS = 20 * SCALE
TOKENS = ValidationTokens(MACAROON_SECRET.encode())


class ThreepidRaces(RaceCase):
    """No mails are sent here: their tokens are computed, as the server does."""

    options: ClassVar[Mapping[str, Any]] = {
        "email": {"notif_from": "server@test.example"},
        "registrations_require_3pid": ["email"],
        "rc_3pid_validation": PLENTY,
        "regsys": {"sessions_per_ip": 100_000, "rc_validation_total": {"email": PLENTY}},
    }

    def setUp(self: Any) -> None:
        super().setUp()
        self.behind = self.connect()

    def crowded(self: Any, path: str, body: Any) -> list[Answer]:
        """The answer to each contender; never a 5xx."""
        answers: list[Answer] = self.crowd.ask("POST", path, body)
        self.assertTrue(all(answer.status < 500 for answer in answers), answers)
        return answers

    def sids(self: Any, address: str, *secrets: str) -> list[str]:
        """Each contender has requested a token for the address, with the secret of its turn."""
        answers = self.crowded(
            REQUEST,
            lambda contender: {
                "email": address,
                "client_secret": secrets[contender % len(secrets)],
                "send_attempt": 1,
            },
        )
        return [answer.json["sid"] for answer in answers]

    def confirm(self: Any, sids: list[str], secrets: list[str]) -> None:
        answers = self.crowded(
            SUBMIT,
            lambda contender: {
                "sid": sids[contender],
                "client_secret": secrets[contender],
                "token": TOKENS.token(sids[contender], 1),
            },
        )
        self.assertEqual({answer.content for answer in answers}, {b'{"success":true}'})

    def sessions(self: Any) -> list[str]:
        answers = self.race(lambda contender: {"password": PASSWORD})
        return [answer.json["session"] for answer in answers]

    def present(self: Any, sessions: list[str], sids: list[str], secrets: list[str]) -> Any:
        """Each presents its validation in its session."""

        def body(contender: int) -> Any:
            creds = {"sid": sids[contender], "client_secret": secrets[contender]}
            auth = {"type": STAGE, "threepid_creds": creds, "session": sessions[contender]}
            return {"password": PASSWORD, "auth": auth}

        answers = self.race(body)
        return Counter(answer.errcode for answer in answers)

    def assertOwned(self: Any, address: str) -> None:
        """One account has the address, no session more than one validation."""
        cursor = self.behind.cursor()
        cursor.execute(f"SELECT COUNT(*) FROM threepids WHERE address = '{address}'")
        self.assertEqual(cursor.fetchone()[0], 1)

    def test_oneAddress(self: Any) -> None:
        """Of sixteen clients that have each validated one address, one registers with it."""
        secrets = [f"secret{contender}" for contender in range(CONTENDERS)]
        for number in range(ROUNDS):
            address = f"user{number}@mail.example"
            sids, sessions = self.sids(address, *secrets), self.sessions()
            self.assertEqual(len({*sids}), CONTENDERS)
            self.confirm(sids, secrets)
            answers = self.present(sessions, sids, secrets)
            self.assertEqual(answers, {None: 1, "M_THREEPID_IN_USE": CONTENDERS - 1})
            self.assertOwned(address)
        self.assertAccounts(ROUNDS)

    def test_oneValidation(self: Any) -> None:
        """Of sixteen sessions that present one validation at once, one gets it."""
        secrets = ["secret"] * CONTENDERS
        for number in range(FEW_ROUNDS):
            address = f"user{number}@mail.example"
            sids, sessions = self.sids(address, "secret"), self.sessions()
            self.assertEqual(len({*sids}), 1, "all asked for the same, so there is one session")
            self.confirm(sids, secrets)
            answers = self.present(sessions, sids, secrets)
            self.assertEqual(answers, {None: 1, "M_UNAUTHORIZED": CONTENDERS - 1})
            self.assertOwned(address)
        self.assertAccounts(FEW_ROUNDS)

    def test_oneSession(self: Any) -> None:
        """A session that presents its validation sixteen times at once makes one account, and gets
        the same answer each time: its own address is not in the way."""
        secrets = ["secret"] * CONTENDERS
        for number in range(FEW_ROUNDS):
            address = f"user{number}@mail.example"
            sids, sessions = self.sids(address, "secret"), self.sessions()
            self.confirm(sids, secrets)
            answers = self.present(sessions[:1] * CONTENDERS, sids, secrets)
            self.assertEqual(answers, {None: CONTENDERS})
            self.assertOwned(address)
        self.assertAccounts(FEW_ROUNDS)

    def test_oneCode(self: Any) -> None:
        """However many clients guess codes at once, a session accepts ten attempts."""
        for number in range(FEW_ROUNDS):
            sids = self.sids(f"user{number}@mail.example", "secret")
            answers = self.crowded(
                SUBMIT,
                lambda contender, sid=sids[0]: {
                    "sid": sid,
                    "client_secret": "secret",
                    "token": "ABCDEFGH",
                },
            )
            errors = Counter(answer.json["error"] for answer in answers)
            wrong, late = WrongValidationToken.sentence, NoTriesLeft.sentence
            self.assertEqual(errors, {wrong: CODE_TRIES, late: CONTENDERS - CODE_TRIES})


class SQLiteThreepidRacesTests(OnSQLite, ThreepidRaces, SynchronousTestCase):
    pass


class PostgreSQLThreepidRacesTests(OnPostgreSQL, ThreepidRaces, SynchronousTestCase):
    pass


class TwoProcessesThreepidRacesTests(OnTwoProcesses, ThreepidRaces, SynchronousTestCase):
    pass
