"""With ``regsys.mail_needs_stages`` no mail is sent before the stages that precede it."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from tests.support.accounts import AccountCase
from tests.support.client import Answer
from tests.support.validations import ALICE, EmailValidationCase

TOKEN = "m.login.registration_token"


class StagesFirstTests(EmailValidationCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registrations_require_3pid": ["email"],
        "registration_requires_token": True,
        "rc_3pid_validation": {"per_second": 0.001, "burst_count": 2},
        "regsys": {"rc_availability": False, "mail_needs_stages": True},
    }

    def setUp(self) -> None:
        super().setUp()
        self.wait(self.subsystem.registration_tokens.create(token="good", settings={}))

    def pass_token(self, session: str) -> Answer:
        answer = self.go_on(session, {"type": TOKEN, "token": "good"})
        self.assertEqual(answer.json["completed"], [TOKEN], answer)
        return answer

    def assertNothingSent(self, answer: Answer, status: int, errcode: str) -> None:
        self.assertRefused(answer, status, errcode)
        self.assertEqual((self.mails.sent, self.rows("SELECT * FROM validations")), ([], []))

    def test_before(self) -> None:
        """Without a session, or with one that lacks these stages, nothing is sent, written or
        counted; once it has passed them the same request is answered."""
        session = self.begin()
        for _ in range(5):
            self.assertNothingSent(self.request_token(), 400, "M_MISSING_PARAM")
            self.assertNothingSent(self.request_token(session=7), 400, "M_BAD_JSON")
            self.assertNothingSent(self.request_token(session="unknown"), 400, "M_UNKNOWN")
            self.assertNothingSent(self.request_token(session=session), 401, "M_UNAUTHORIZED")
        self.pass_token(session)
        sid = self.start_validation(session=session)
        self.assertEqual(self.mail.address, ALICE)
        self.submit(**self.link())
        self.assertRegistered(self.present(session, sid), "alice")

    def test_afterwards(self) -> None:
        """A session that has its account has no further mails sent."""
        session = self.begin()
        self.pass_token(session)
        sid = self.start_validation(session=session)
        self.submit(**self.link())
        self.assertRegistered(self.present(session, sid), "alice")
        answer = self.request_token("bob@mail.example", session=session)
        self.assertRefused(answer, 400, "M_UNKNOWN")
        self.assertEqual(len(self.mails.sent), 1)

    def test_nothingBefore(self) -> None:
        """If the address is the first stage any session is enough."""
        self.system(**{**self.options, "registration_requires_token": False})
        self.start_validation(session=self.begin())
        self.assertEqual(len(self.mails.sent), 1)

    def test_off(self) -> None:
        """By default mails need no session, since clients request them without one."""
        self.system(**{**self.options, "regsys": {"rc_availability": False}})
        self.start_validation()
        self.assertEqual(len(self.mails.sent), 1)


class AccountTests(AccountCase):
    """On a server where mails for new users wait for other stages."""

    options: ClassVar[Mapping[str, Any]] = {
        **AccountCase.options,
        "regsys": {"rc_availability": False, "mail_needs_stages": True},
    }

    def test_account(self) -> None:
        """A user with an account has no registration under way, and needs no session."""
        self.add_address(self.alice)
        self.assertEqual(self.addresses_of(self.alice), [ALICE])
        self.assertRefused(self.request_token("bob@mail.example"), 400, "M_MISSING_PARAM")
