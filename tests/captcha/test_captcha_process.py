"""Captcha flows against ``regsys serve`` as a real process, with a captcha service on loopback that
fails in every way (contract B8.7, threat C9)."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.captcha.test_proof_of_work import solve
from tests.doubles.captcha import BAD, FAULTS, GOOD, SECRET, STALL, CaptchaProcess
from tests.support import postgres
from tests.support.log_canaries import leaked
from tests.support.service_process import Answer, ServiceProcess, psycopg2, sqlite, write_config

REGISTER = "/_matrix/client/v3/register"
PASSWORD = "correct horse battery staple"
DUMMY = {"type": "m.login.dummy"}
SECRETS = {"the private key": SECRET, "a response": "#canary", "the password": PASSWORD}


class CaptchaFlows:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self) -> None:
        self.double = CaptchaProcess(self)
        self.double.start()

    def tearDown(self) -> None:
        self.assertEqual(leaked(self.service.output, SECRETS), [])
        self.assertNotIn("Traceback", self.service.output)

    def serve(self, stage: str, **options: Any) -> None:
        """Start a service with these options, whose captcha has this stage."""
        folder = Path(self.mktemp())
        folder.mkdir()
        # Never through a proxy that the environment names.
        direct = {"no_proxy_hosts": ["127.0.0.1"]}
        chosen = {"enable_registration_captcha": True, **direct, **options}
        config = write_config(folder.resolve(), self.database(folder.resolve()), **chosen)
        self.service, self.stage = ServiceProcess(self, config), stage

    def begin(self, name: str) -> Any:
        """Ask to register; the body of the 401."""
        body = {"username": name, "password": PASSWORD}
        answer = self.service.ask("POST", REGISTER, body)
        self.assertEqual(answer.status, 401, answer)
        self.assertEqual(answer.json["flows"], [{"stages": [self.stage, DUMMY["type"]]}])
        return answer.json

    def answer(self, session: str, response: str) -> Answer:
        auth = {"session": session, "type": self.stage, "response": response}
        return self.service.ask("POST", REGISTER, {"auth": auth})

    def assertCompletes(self, session: str, response: str, name: str) -> None:
        """The captcha is passed with this response, and the account is made."""
        passed = self.answer(session, response)
        self.assertEqual((passed.status, passed.json["completed"]), (401, [self.stage]))
        done = self.service.ask("POST", REGISTER, {"auth": {**DUMMY, "session": session}})
        self.assertEqual((done.status, done.json.get("user_id")), (200, f"@{name}:test.example"))

    def assertRefused(self, answer: Answer) -> None:
        got = (answer.status, answer.json["errcode"], answer.json["completed"])
        self.assertEqual(got, (401, "M_UNAUTHORIZED", []), answer)

    def assertUnavailable(self, answer: Answer, case: str) -> None:
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "2"), case)

    def test_recaptcha(self) -> None:
        """After a refusal, nonsense, a stall, a hang-up and an absent service the session goes on
        each time, and completes once the service is back. A response passes one session only."""
        self.serve(
            "m.login.recaptcha",
            recaptcha_public_key="public",
            recaptcha_private_key=SECRET,
            recaptcha_siteverify_api=self.double.url,
        )
        begun = self.begin("alice")
        self.assertEqual(begun["params"], {self.stage: {"public_key": "public"}})
        session = begun["session"]
        self.assertRefused(self.answer(session, BAD))
        for fault in FAULTS:
            self.assertUnavailable(self.answer(session, f"{fault}#canary"), fault)
        self.assertUnavailable(self.answer_while_it_dies(session), STALL)
        self.assertUnavailable(self.answer(session, GOOD), "unreachable")
        self.double.start()
        self.assertCompletes(session, GOOD, "alice")
        other = self.begin("bob")["session"]
        self.assertRefused(self.answer(other, GOOD))
        self.assertCompletes(other, f"{GOOD}#canary", "bob")

    def answer_while_it_dies(self, session: str) -> Answer:
        """The answer to a response over which the service stalls, and then dies."""
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(self.answer, session, STALL)
            self.double.wait_for(STALL)
            self.double.stop()
            return answer.result()

    def test_otherServices(self) -> None:
        """hCaptcha and Turnstile, by their own stages."""
        for kind in ("hcaptcha", "turnstile"):
            keys = {"public_key": kind, "private_key": SECRET, "siteverify_api": self.double.url}
            self.serve(f"org.regsys.{kind}", regsys={"captcha": {"kind": kind, **keys}})
            begun = self.begin("alice")
            self.assertEqual(begun["params"], {self.stage: {"public_key": kind}})
            self.assertRefused(self.answer(begun["session"], BAD))
            self.assertUnavailable(self.answer(begun["session"], "500"), kind)
            self.assertCompletes(begun["session"], GOOD, "alice")

    def test_proofOfWork(self) -> None:
        """No service is needed: a solution passes the session of its challenge, and no other."""
        self.serve(
            "org.regsys.altcha", regsys={"captcha": {"kind": "proof_of_work", "difficulty": 2}}
        )
        self.double.stop()
        first, second = self.begin("alice"), self.begin("bob")
        solutions = [solve(begun["params"][self.stage]) for begun in (first, second)]
        self.assertRefused(self.answer(first["session"], solutions[1]))
        self.assertCompletes(first["session"], solutions[0], "alice")
        self.assertCompletes(second["session"], solutions[1], "bob")


class SQLiteCaptchaTests(CaptchaFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)

    def test_sessionsQueue(self) -> None:
        """Behind a stalled captcha service four requests of a session wait, the others are told to
        retry; a client that hangs up while waiting is not served (threat A28). This takes ten
        seconds, so one database is enough."""
        self.serve(
            "m.login.recaptcha",
            recaptcha_public_key="public",
            recaptcha_private_key=SECRET,
            recaptcha_siteverify_api=self.double.url,
        )
        session = self.begin("alice")["session"]
        waiting = [self.stalled(session, f"{STALL}#{number}") for number in range(5)]
        self.double.wait_for(f"{STALL}#0")
        started_s = time.monotonic()
        answer = self.answer(session, GOOD)
        self.assertEqual((answer.status, answer.json["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        self.assertGreater(answer.json["retry_after_ms"], 0)
        for connection in waiting[1:]:
            connection.close()
        self.assertEqual(self.answer(session, GOOD).json["completed"], [self.stage])
        # The first one's ten seconds, and not those of the four behind it.
        self.assertLess(time.monotonic() - started_s, 20)

    def stalled(self, session: str, response: str) -> socket.socket:
        """A connection on which this response was sent."""
        place = urlsplit(self.service.base_url)
        assert place.hostname is not None and place.port is not None
        connection = socket.create_connection((place.hostname, place.port))
        self.addCleanup(connection.close)
        auth = {"session": session, "type": self.stage, "response": response}
        body = json.dumps({"auth": auth}).encode()
        head = f"POST {REGISTER} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        # The service reads in the order of arrival: earlier requests have been read by now.
        self.assertEqual(self.service.ask("GET", "/_matrix/client/versions").status, 200)
        return connection


class PostgreSQLCaptchaTests(CaptchaFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
