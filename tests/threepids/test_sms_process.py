"""Codes sent by a gateway on a socket, from ``regsys serve`` as a real process."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.outbound.http import DEADLINE_S
from tests.doubles.sms import AUTHORIZATION, STALL, SmsDouble
from tests.support import postgres
from tests.support.log_canaries import leaked
from tests.support.patience import until
from tests.support.service_process import ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
STAGE = "m.login.msisdn"
NUMBER, CANONICAL = "0151 12345678", "4915112345678"
PASSWORD = "correct horse battery staple"


class SmsFlows:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self: Any) -> None:
        self.gateway = SmsDouble(self)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(
            folder,
            self.database(folder),
            registrations_require_3pid=["msisdn"],
            rc_3pid_validation={"per_second": 1000, "burst_count": 1000},
            regsys={"sms": self.gateway.options(), "rc_availability": False},
            # Never through a proxy that the environment names.
            no_proxy_hosts=["127.0.0.1"],
        )
        self.service = ServiceProcess(self, config)

    def tearDown(self: Any) -> None:
        secrets = {"a number": CANONICAL, "as written": NUMBER, "the gateway's": AUTHORIZATION}
        self.assertEqual(leaked(self.service.output, secrets), [])
        self.assertNotIn("Traceback", self.service.output)

    def ask(self: Any, client_secret: str, path: str = "register", **more: Any) -> str:
        """Request a code; answered without waiting for the gateway, whatever it does; the sid."""
        body = {"phone_number": NUMBER, "country": "DE", "client_secret": client_secret}
        before = time.monotonic()
        address = f"{V3}/{path}/msisdn/requestToken"
        answer = self.service.ask("POST", address, {**body, "send_attempt": 1}, **more)
        self.assertLess(time.monotonic() - before, DEADLINE_S)
        self.assertEqual(answer.status, 200, answer)
        sid = answer.json["sid"]
        assert isinstance(sid, str)
        return sid

    def validate_number(self: Any, client_secret: str, sid: str) -> dict[str, str]:
        """Submit the code of the next message; the credentials."""
        number, text = self.gateway.next_message()
        self.assertEqual(number, f"+{CANONICAL}")
        (code,) = re.findall(r"\d{8}", text)
        creds = {"sid": sid, "client_secret": client_secret}
        path = "/_matrix/client/unstable/add_threepid/msisdn/submit_token"
        answer = self.service.ask("POST", path, {**creds, "token": code})
        self.assertEqual(answer.json, {"success": True}, answer)
        return creds

    def test_registers(self: Any) -> None:
        """No request waits for a gateway that stalls, fails or is down: a code comes once it is
        back, and leads to an account; its number can be removed, validated again and added
        again."""
        self.gateway.faults.put(503)
        creds = self.validate_number("secret", self.ask("secret"))
        fields = {"username": "alice", "password": PASSWORD}
        session = self.service.ask("POST", f"{V3}/register", fields).json["session"]
        auth = {"session": session, "type": STAGE, "threepid_creds": creds}
        done = self.service.ask("POST", f"{V3}/register", {"auth": auth})
        self.assertEqual((done.status, done.json.get("user_id")), (200, "@alice:test.example"))
        self.remove_and_add(done.json["access_token"])

    def remove_and_add(self: Any, token: str) -> None:
        held = f"{V3}/account/3pid"
        (item,) = self.service.ask("GET", held, token=token).json["threepids"]
        self.assertEqual((item["medium"], item["address"]), ("msisdn", CANONICAL))
        gone = {"medium": "msisdn", "address": CANONICAL}
        self.assertEqual(self.service.ask("POST", f"{held}/delete", gone, token=token).status, 200)
        self.gateway.stop()
        failed = self.failures()
        sid = self.ask("again", "account/3pid", token=token)
        until(lambda: self.failures() > failed, lambda: "nobody misses the gateway")
        self.gateway.start()
        creds = self.validate_number("again", sid)
        answer = self.service.ask("POST", f"{held}/add", creds, token=token)
        user = {"type": "m.id.user", "user": "alice"}
        auth = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
        auth["session"] = answer.json["session"]
        answer = self.service.ask("POST", f"{held}/add", {**creds, "auth": auth}, token=token)
        self.assertEqual(answer.status, 200, answer)
        (item,) = self.service.ask("GET", held, token=token).json["threepids"]
        self.assertEqual(item["address"], CANONICAL)

    def failures(self: Any) -> int:
        """How often a message could not be sent."""
        return int(self.service.output.count("failed (attempt"))

    def test_refused(self: Any) -> None:
        """A message that the gateway refuses is given up, one that stalls delays no other."""
        self.gateway.faults.put(422)
        self.ask("refused")
        self.service.wait_for("is given up")
        self.gateway.faults.put(STALL)
        self.ask("stalled")
        until(self.gateway.faults.empty)
        self.validate_number("sound", self.ask("sound"))


class SQLiteSmsTests(SmsFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLSmsTests(SmsFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
