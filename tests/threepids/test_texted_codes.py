"""Registering with a phone number to which we send a code (contract B7.8, B8.6)."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Mapping

from treq.testing import StubTreq

from regsys.errors import CodeUsedUp, SmsRefused, WrongCode
from regsys.interfaces import ISmsSender
from regsys.model import CODE_TRIES, masked
from regsys.testing import provides
from tests.outbound.test_http import Other
from tests.support.client import Answer
from tests.support.log_canaries import watch
from tests.support.sms import OWN, Texted
from tests.threepids.test_phones import CANONICAL, PLENTY, REQUEST, SECRET, STAGE, SUBMIT, PhoneCase


class TextedCodeTests(Texted, PhoneCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registrations_require_3pid": ["msisdn"],
        "account_threepid_delegates": None,
        "regsys": OWN,
    }

    def proven_by_code(self, **more: Any) -> str:
        sid = self.ask(**more).json["sid"]
        assert isinstance(sid, str)
        self.assertEqual(self.submit(sid, self.code()).json, {"success": True})
        return sid

    def test_provides(self) -> None:
        provides(ISmsSender, self.sms)

    def test_registers(self) -> None:
        """A code goes to the number in its one form; with it the number is the account's."""
        answer = self.ask()
        url = f"https://test.example{SUBMIT}"
        told = {"msisdn": CANONICAL, "intl_fmt": "+49 1511 2345678", "submit_url": url}
        self.assertEqual(answer.json, {"sid": answer.json["sid"], **told})
        ((number, text),) = self.sms.sent
        self.assertEqual(number, CANONICAL)
        self.assertIn("a new account on test.example", text)
        self.assertLess(len(text), 160)
        session = self.begin("alice")
        self.assertRefused(self.present(session, answer.json["sid"]), 401, "M_UNAUTHORIZED")
        sid = self.proven_by_code()
        self.assertRegistered(self.present(session, sid), "alice")
        self.assertEqual(self.owners(), {CANONICAL: "@alice:test.example"})
        self.assertEqual(self.double.asked, [])

    def test_languages(self) -> None:
        """The message speaks the language of who asked, in one message's length."""
        for turn, (language, word) in enumerate((("de", "Ihr Code"), ("fr-CA", "votre code"))):
            body = {"phone_number": f"0151 1234567{turn}", "country": "DE"}
            body = {**body, "client_secret": SECRET, "send_attempt": 1}
            self.client.post(REQUEST, body, Accept_Language=language)
            self.assertIn(word, self.sms.sent[-1][1])

    def test_attempts(self) -> None:
        """The same attempt sends nothing, a higher one the same code again."""
        first, code = self.ask().json, self.code()
        self.assertEqual(self.ask().json, first)
        self.assertEqual(len(self.sms.sent), 1)
        self.assertEqual(self.ask(send_attempt=2).json, first)
        self.assertEqual((len(self.sms.sent), self.code()), (2, code))

    def test_tries(self) -> None:
        """After ten wrong codes the right one isn't taken any more; another message has another."""
        sid, spent = self.ask().json["sid"], self.code()
        for _ in range(CODE_TRIES):
            wrong = self.submit(sid, "00000000")
            self.assertRefused(wrong, 400, "M_TOKEN_INCORRECT")
            self.assertEqual(wrong.json["error"], WrongCode.sentence)
        late = self.submit(sid, spent)
        self.assertRefused(late, 400, "M_TOKEN_INCORRECT")
        self.assertEqual(late.json["error"], CodeUsedUp.sentence)
        self.assertEqual(self.ask().json["sid"], sid)
        again = self.ask(send_attempt=2).json["sid"]
        self.assertEqual(len(self.sms.sent), 2)
        self.assertRefused(self.submit(sid, spent), 400, "M_NO_VALID_SESSION")
        self.assertEqual(self.submit(again, self.code()).json, {"success": True})

    def test_spelling(self) -> None:
        """Blanks in a code do not count."""
        sid, code = self.ask().json["sid"], self.code()
        self.assertEqual(self.submit(sid, f" {code[:4]} {code[4:]}").status, 200)

    def test_oneSession(self) -> None:
        """A proof passes one session."""
        self.system(registrations_require_3pid=["msisdn", "email"], email=MAIL)
        sid, first, second = self.proven_by_code(), self.begin("alice"), self.begin("bob")
        self.assertEqual(self.present(first, sid).json["completed"], [STAGE])
        self.assertRefused(self.present(second, sid), 401, "M_UNAUTHORIZED")
        self.assertEqual(self.present(second, sid, "another").json["completed"], [])

    def test_inUse(self) -> None:
        """Where it is hidden that a number is taken, its owner is told instead of sent a code."""
        self.assertRegistered(self.present(self.begin("owner"), self.proven_by_code()), "owner")
        self.assertRefused(self.ask(client_secret="other"), 400, "M_THREEPID_IN_USE")
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        answer = self.ask(client_secret="other")
        told = {"sid", "submit_url", "msisdn", "intl_fmt"}
        self.assertEqual((answer.status, answer.json.keys()), (200, told))
        number, text = self.sms.sent[-1]
        self.assertEqual((number, re.findall(r"\d{4}", text)), (CANONICAL, []))

    def test_masked(self) -> None:
        """No log has the whole number, or the code, whatever becomes of the message."""
        canaries = watch(self, {"the number": CANONICAL, "as written": "0151 12345678"})
        for trouble in (None, SmsRefused(), ValueError("no")):
            self.sms.trouble = trouble
            self.assertEqual(self.ask(client_secret=f"s{type(trouble).__name__}").status, 200)
        self.flushLoggedErrors(ValueError)
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.assertGreater(canaries.heard, 0)
        self.assertEqual(masked(CANONICAL), "49…78")

    def test_retried(self) -> None:
        """A message that could not be sent goes out later; one that was refused does not."""
        self.sms.trouble = ValueError("no")
        self.ask()
        self.flushLoggedErrors(ValueError)
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.sms.trouble = None
        self.clock.advance(1800)
        self.wait(self.subsystem.jobs.run_due())
        self.assertEqual([number for number, _ in self.sms.sent], [CANONICAL])
        self.sms.trouble = SmsRefused()
        self.ask(send_attempt=2)
        self.sms.trouble = None
        self.clock.advance(1800)
        self.wait(self.subsystem.jobs.run_due())
        self.assertEqual(len(self.sms.sent), 1)

    def test_tooLate(self) -> None:
        """What has come to be of no use is not sent any more."""
        self.sms.trouble = ValueError("no")
        self.ask()
        self.flushLoggedErrors(ValueError)
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.sms.trouble = None
        self.clock.advance(3600)
        self.wait(self.subsystem.jobs.run_due())
        self.assertEqual(self.sms.sent, [])
        self.assertEqual(self.counts()["jobs"], 0)


class GatewayTests(PhoneCase):
    """From the request of a client to the gateway's door."""

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
        watch(self, {"the number": CANONICAL, "our key": "canary"})
        answer: Answer = self.ask()
        self.assertEqual(answer.status, 200, answer)
        self.clock.pump([30] * 5)
        (request,) = self.other.requests
        self.assertEqual((request.method, request.uri), (b"POST", b"/v1?a=b"))
        self.assertEqual(request.getHeader("authorization"), "Bearer canary")
        sent = json.loads(request.sent)
        self.assertEqual((sent["from"], sent["n"], sent["all"][0]["to"]), ("x", 1, f"+{CANONICAL}"))
        self.assertRegex(sent["all"][0]["body"], r"^100% \d{8} is your code")


MAIL = {"notif_from": "a@test.example"}
