"""Phone numbers against ``regsys serve`` as a real process, with an identity server on loopback
that has every fault (contract B7.8, threat C9)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.outbound.http import DEADLINE_S
from tests.doubles.identity import (
    CODE,
    MEANINGLESS,
    NOT_VALIDATED,
    ODD_VALIDATIONS,
    IdentityProcess,
)
from tests.support import postgres
from tests.support.log_canaries import leaked
from tests.support.service_process import Answer, ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
STAGE = "m.login.msisdn"
NUMBER, CANONICAL = "0151 12345678", "4915112345678"
PASSWORD = "correct horse battery staple"
# The service gives up at its deadline; the rest is an allowance for a slow machine.
IN_TIME_S = 2 * DEADLINE_S


class PhoneFlows:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self: Any) -> None:
        self.double = IdentityProcess(self)
        self.double.start()
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(
            folder,
            self.database(folder),
            account_threepid_delegates={"msisdn": self.double.url},
            registrations_require_3pid=["msisdn"],
            rc_3pid_validation={"per_second": 1000, "burst_count": 1000},
            # Never through a proxy that the environment names.
            no_proxy_hosts=["127.0.0.1"],
        )
        self.service = ServiceProcess(self, config)

    def tearDown(self: Any) -> None:
        secrets = {"a number": CANONICAL, "as written": NUMBER, "a sid": "canary"}
        secrets["the password"] = PASSWORD
        self.assertEqual(leaked(self.service.output, secrets), [])
        self.assertNotIn("Traceback", self.service.output)

    def ask(self: Any, client_secret: str) -> Answer:
        body = {"phone_number": NUMBER, "country": "DE", "client_secret": client_secret}
        path = f"{V3}/register/msisdn/requestToken"
        answer: Answer = self.service.ask("POST", path, {**body, "send_attempt": 1})
        return answer

    def present(self: Any, session: str, sid: str) -> Answer:
        creds = {"sid": sid, "client_secret": "secret"}
        auth = {"session": session, "type": STAGE, "threepid_creds": creds}
        answer: Answer = self.service.ask("POST", f"{V3}/register", {"auth": auth})
        return answer

    def test_registers(self: Any) -> None:
        """Requested, validated, registered, and logged in by the number; any fault on the way
        passes no stage and leaves the session alive."""
        begun = self.service.ask(
            "POST", f"{V3}/register", {"username": "alice", "password": PASSWORD}
        )
        self.assertEqual(begun.json["flows"], [{"stages": [STAGE]}])
        session = begun.json["session"]
        for name in NOT_VALIDATED:
            self.assertEqual(self.present(session, f"{name}..canary").status, 401, name)
        for name in {*ODD_VALIDATIONS, *MEANINGLESS} - {"empty-object"}:
            self.assertEqual(self.present(session, f"{name}..canary").status, 503, name)
            self.assertIn(self.ask(f"{name}..canary").status, (200, 503), name)
        asked = self.ask("secret")
        self.assertEqual(asked.status, 200, asked)
        url = asked.json["submit_url"].replace("https://test.example", "")
        sid = asked.json["sid"]
        self.assertEqual(self.present(session, sid).status, 401)
        body = {"sid": sid, "client_secret": "secret", "token": CODE}
        self.assertEqual(self.service.ask("POST", url, body).json, {"success": True})
        self.double_goes_and_comes(session, sid)
        done = self.present(session, sid)
        self.assertEqual((done.status, done.json.get("user_id")), (200, "@alice:test.example"))
        self.assertEqual(self.ask("other").json["errcode"], "M_THREEPID_IN_USE")
        phone = {"type": "m.id.phone", "country": "DE", "phone": NUMBER}
        login = {"type": "m.login.password", "identifier": phone, "password": PASSWORD}
        self.assertEqual(self.service.ask("POST", f"{V3}/login", login).status, 200)

    def double_goes_and_comes(self: Any, session: str, sid: str) -> None:
        """A request that waits for a stalled server is answered in time; once the server is back
        nothing is lost."""
        before = time.monotonic()
        self.double.pause()
        self.assertEqual(self.present(session, sid).status, 503)
        self.assertLess(time.monotonic() - before, IN_TIME_S)
        self.double.resume()


class SQLitePhoneTests(PhoneFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLPhoneTests(PhoneFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))

    def double_goes_and_comes(self, session: str, sid: str) -> None:
        """This takes ten seconds, so one database is enough."""
