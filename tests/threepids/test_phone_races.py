"""Sixteen clients with one phone number, against real processes on both databases: one account owns
it, and a validation session of another server passes one UIA session (threat A6, B4, F2)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.identity import CODE, IdentityProcess
from tests.support.crowd import Caller
from tests.support.races import (
    CONTENDERS,
    PASSWORD,
    OnPostgreSQL,
    OnSQLite,
    OnTwoProcesses,
    RaceCase,
)
from tests.support.scale import FEW_ROUNDS, SCALE
from tests.threepids.test_phones import REQUEST, SECRET, STAGE, SUBMIT

PLENTY = {"per_second": 10_000, "burst_count": 10_000}
ROUNDS = 20 * SCALE


class PhoneRaces(RaceCase):
    def setUp(self: Any) -> None:
        double = IdentityProcess(self)
        double.start()
        self.options = {
            "account_threepid_delegates": {"msisdn": double.url},
            "registrations_require_3pid": ["msisdn"],
            "rc_3pid_validation": PLENTY,
            "no_proxy_hosts": ["127.0.0.1"],
            "regsys": {
                "sessions_per_ip": 100_000,
                "rc_validation_total": {"msisdn": PLENTY},
            },
        }
        super().setUp()
        self.behind = self.connect()
        self.caller = Caller(self.services[0].base_url)
        self.addCleanup(self.caller.close)

    def validation(self: Any, number: int) -> str:
        """This number has been validated once more; the sid."""
        wanted = {"phone_number": f"0151 {12345000 + number}", "country": "DE"}
        wanted.update(client_secret=SECRET, send_attempt=1)
        sid = self.caller.ask("POST", REQUEST, wanted).json["sid"]
        submitted = {"sid": sid, "client_secret": SECRET, "token": CODE}
        proven = self.caller.ask("POST", SUBMIT, submitted)
        self.assertEqual(proven.content, b'{"success":true}')
        return str(sid)

    def sessions(self: Any) -> list[str]:
        answers = self.race(lambda contender: {"password": PASSWORD})
        return [answer.json["session"] for answer in answers]

    def present(self: Any, sessions: list[str], sids: list[str]) -> Any:
        """Each presents its validation in its session."""

        def body(contender: int) -> Any:
            creds = {"sid": sids[contender], "client_secret": SECRET}
            auth = {"type": STAGE, "threepid_creds": creds, "session": sessions[contender]}
            return {"password": PASSWORD, "auth": auth}

        return Counter(answer.errcode for answer in self.race(body))

    def assertOwned(self: Any, numbers: int) -> None:
        """So many numbers have an account."""
        cursor = self.behind.cursor()
        cursor.execute("SELECT COUNT(*) FROM threepids WHERE medium = 'msisdn'")
        self.assertEqual(cursor.fetchone()[0], numbers)
        self.assertAccounts(numbers)

    def test_oneNumber(self: Any) -> None:
        """Of sixteen clients that have each validated one number, one registers with it."""
        for number in range(ROUNDS):
            answers = self.present(
                self.sessions(), [self.validation(number) for _ in range(CONTENDERS)]
            )
            self.assertEqual(answers, {None: 1, "M_THREEPID_IN_USE": CONTENDERS - 1})
        self.assertOwned(ROUNDS)

    def test_oneValidation(self: Any) -> None:
        """Of sixteen sessions that present one validation at once, one gets it."""
        for number in range(FEW_ROUNDS):
            sids = [self.validation(number)] * CONTENDERS
            answers = self.present(self.sessions(), sids)
            self.assertEqual(answers, {None: 1, "M_UNAUTHORIZED": CONTENDERS - 1})
        self.assertOwned(FEW_ROUNDS)

    def test_oneSession(self: Any) -> None:
        """A session that presents its validation sixteen times at once makes one account."""
        for number in range(FEW_ROUNDS):
            sids = [self.validation(number)] * CONTENDERS
            answers = self.present(self.sessions()[:1] * CONTENDERS, sids)
            self.assertEqual(answers, {None: CONTENDERS})
        self.assertOwned(FEW_ROUNDS)


class SQLitePhoneRacesTests(OnSQLite, PhoneRaces, SynchronousTestCase):
    pass


class PostgreSQLPhoneRacesTests(OnPostgreSQL, PhoneRaces, SynchronousTestCase):
    pass


class TwoProcessesPhoneRacesTests(OnTwoProcesses, PhoneRaces, SynchronousTestCase):
    pass
