"""Registering with a phone number to which regsys sends a code (contract B7.8, B8.6)."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Mapping

from treq.testing import StubTreq

from regsys.errors import SmsRefused
from regsys.interfaces import ISmsSender
from regsys.model.identity import masked
from regsys.model.threepids import CODE_TRIES
from regsys.testing import provides
from regsys.threepids.validation_tokens import no_tries_left, wrong_token
from tests.outbound.test_http import Other
from tests.support.client import Answer
from tests.support.due_jobs import run_due
from tests.support.log_canaries import watch_for_leaks
from tests.support.sms import OWN, SmsCase
from tests.threepids.test_phones import CANONICAL, PLENTY, REQUEST, SECRET, STAGE, SUBMIT, PhoneCase


class SmsCodeTests(SmsCase, PhoneCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registrations_require_3pid": ["msisdn"],
        "account_threepid_delegates": None,
        "regsys": OWN,
    }

    def validate_by_code(self, **more: Any) -> str:
        sid = self.request_token(**more).json["sid"]
        assert isinstance(sid, str)
        self.assertEqual(self.submit(sid, self.code()).json, {"success": True})
        return sid

    def test_provides(self) -> None:
        provides(ISmsSender, self.sms)

    def test_registers(self) -> None:
        """A code is sent to the canonical number; with it the number is the account's."""
        answer = self.request_token()
        url = f"https://test.example{SUBMIT}"
        expected = {"msisdn": CANONICAL, "intl_fmt": "+49 1511 2345678", "submit_url": url}
        self.assertEqual(answer.json, {"sid": answer.json["sid"], **expected})
        ((number, text),) = self.sms.sent
        self.assertEqual(number, CANONICAL)
        self.assertIn("a new account on test.example", text)
        self.assertLess(len(text), 160)
        session = self.begin("alice")
        self.assertRefused(self.present(session, answer.json["sid"]), 401, "M_UNAUTHORIZED")
        sid = self.validate_by_code()
        self.assertRegistered(self.present(session, sid), "alice")
        self.assertEqual(self.owners(), {CANONICAL: "@alice:test.example"})
        self.assertEqual(self.double.asked, [])

    def test_languages(self) -> None:
        """The message is in the client's language, and fits one text message."""
        for turn, (language, word) in enumerate((("de", "Ihr Code"), ("fr-CA", "votre code"))):
            body = {"phone_number": f"0151 1234567{turn}", "country": "DE"}
            body = {**body, "client_secret": SECRET, "send_attempt": 1}
            self.client.post(REQUEST, body, Accept_Language=language)
            self.assertIn(word, self.sms.sent[-1][1])

    def test_attempts(self) -> None:
        """The same attempt sends nothing, a higher one the same code again."""
        first, code = self.request_token().json, self.code()
        self.assertEqual(self.request_token().json, first)
        self.assertEqual(len(self.sms.sent), 1)
        self.assertEqual(self.request_token(send_attempt=2).json, first)
        self.assertEqual((len(self.sms.sent), self.code()), (2, code))

    def test_tries(self) -> None:
        """After ten wrong codes the right one is refused; another message has another code."""
        sid, spent = self.request_token().json["sid"], self.code()
        for _ in range(CODE_TRIES):
            wrong = self.submit(sid, "00000000")
            self.assertRefused(wrong, 400, "M_TOKEN_INCORRECT")
            self.assertEqual(wrong.json["error"], wrong_token(texted=True).text)
        late = self.submit(sid, spent)
        self.assertRefused(late, 400, "M_TOKEN_INCORRECT")
        self.assertEqual(late.json["error"], no_tries_left(texted=True).text)
        self.assertEqual(self.request_token().json["sid"], sid)
        again = self.request_token(send_attempt=2).json["sid"]
        self.assertEqual(len(self.sms.sent), 2)
        self.assertRefused(self.submit(sid, spent), 400, "M_NO_VALID_SESSION")
        self.assertEqual(self.submit(again, self.code()).json, {"success": True})

    def test_spelling(self) -> None:
        """Blanks in a code are ignored."""
        sid, code = self.request_token().json["sid"], self.code()
        self.assertEqual(self.submit(sid, f" {code[:4]} {code[4:]}").status, 200)

    def test_oneSession(self) -> None:
        """A validation passes one session."""
        self.system(registrations_require_3pid=["msisdn", "email"], email=MAIL)
        sid, first, second = self.validate_by_code(), self.begin("alice"), self.begin("bob")
        self.assertEqual(self.present(first, sid).json["completed"], [STAGE])
        self.assertRefused(self.present(second, sid), 401, "M_UNAUTHORIZED")
        self.assertEqual(self.present(second, sid, "another").json["completed"], [])

    def test_inUse(self) -> None:
        """If it is hidden that a number is in use, its user is told instead of sent a code."""
        self.assertRegistered(self.present(self.begin("owner"), self.validate_by_code()), "owner")
        self.assertRefused(self.request_token(client_secret="other"), 400, "M_THREEPID_IN_USE")
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        answer = self.request_token(client_secret="other")
        expected = {"sid", "submit_url", "msisdn", "intl_fmt"}
        self.assertEqual((answer.status, answer.json.keys()), (200, expected))
        number, text = self.sms.sent[-1]
        self.assertEqual((number, re.findall(r"\d{4}", text)), (CANONICAL, []))

    def test_masked(self) -> None:
        """No log line has the whole number, or the code, whatever happens to the message."""
        canaries = watch_for_leaks(self, {"the number": CANONICAL, "as written": "0151 12345678"})
        for trouble in (None, SmsRefused(), ValueError("no")):
            self.sms.trouble = trouble
            self.assertEqual(
                self.request_token(client_secret=f"s{type(trouble).__name__}").status, 200
            )
        self.flushLoggedErrors(ValueError)
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.assertGreater(canaries.event_count, 0)
        self.assertEqual(masked(CANONICAL), "49…78")

    def test_retried(self) -> None:
        """A message that could not be sent is retried; one that was refused is not."""
        self.sms.trouble = ValueError("no")
        self.request_token()
        self.flushLoggedErrors(ValueError)
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.sms.trouble = None
        self.clock.advance(1800)
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual([number for number, _ in self.sms.sent], [CANONICAL])
        self.sms.trouble = SmsRefused()
        self.request_token(send_attempt=2)
        self.sms.trouble = None
        self.clock.advance(1800)
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(len(self.sms.sent), 1)

    def test_tooLate(self) -> None:
        """A message that is no longer of use is not sent."""
        self.sms.trouble = ValueError("no")
        self.request_token()
        self.flushLoggedErrors(ValueError)
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.sms.trouble = None
        self.clock.advance(3600)
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(self.sms.sent, [])
        self.assertEqual(self.counts()["jobs"], 0)


class GatewayTests(PhoneCase):
    """From the request of a client to the gateway."""

    def system(self, **options: Any) -> None:
        self.other = Other()
        sms = {"url": "https://sms.example/v1?a=b", "authorization": "Bearer canary"}
        fields = {"from": "x", "all": [{"to": "%(number)s", "body": "100%% %(text)s"}], "n": 1}
        own = {"sms": {**sms, "fields": fields}, "rc_availability": False}
        super(PhoneCase, self).system(
            treq=StubTreq(self.other),
            rc_3pid_validation=PLENTY,
            **{**options, "regsys": own},
        )

    def test_sent(self) -> None:
        """The gateway gets what the configuration says, once."""
        watch_for_leaks(self, {"the number": CANONICAL, "our key": "canary"})
        answer: Answer = self.request_token()
        self.assertEqual(answer.status, 200, answer)
        self.clock.pump([30] * 5)
        (request,) = self.other.requests
        self.assertEqual((request.method, request.uri), (b"POST", b"/v1?a=b"))
        self.assertEqual(request.getHeader("authorization"), "Bearer canary")
        sent = json.loads(request.sent)
        self.assertEqual((sent["from"], sent["n"], sent["all"][0]["to"]), ("x", 1, f"+{CANONICAL}"))
        self.assertRegex(sent["all"][0]["body"], r"^100% \d{8} is your code")


MAIL = {"notif_from": "a@test.example"}
