"""With ``regsys.mail_needs_stages`` no mail is sent before the stages that come before it."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from tests.support.accounts import AccountCase
from tests.support.client import Answer
from tests.support.validations import ALICE, ProofCase

TOKEN = "m.login.registration_token"


class StagesFirstTests(ProofCase):
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
        """Without a session, or with one that has not come so far, nothing is sent, written or
        counted; and the same request is answered once it has."""
        session = self.begin()
        for _ in range(5):
            self.assertNothingSent(self.ask(), 400, "M_MISSING_PARAM")
            self.assertNothingSent(self.ask(session=7), 400, "M_BAD_JSON")
            self.assertNothingSent(self.ask(session="unknown"), 400, "M_UNKNOWN")
            self.assertNothingSent(self.ask(session=session), 401, "M_UNAUTHORIZED")
        self.pass_token(session)
        sid = self.asked(session=session)
        self.assertEqual(self.mail.address, ALICE)
        self.submit(**self.link())
        self.assertRegistered(self.present(session, sid), "alice")

    def test_afterwards(self) -> None:
        """A session that has its account has no further mails sent."""
        session = self.begin()
        self.pass_token(session)
        sid = self.asked(session=session)
        self.submit(**self.link())
        self.assertRegistered(self.present(session, sid), "alice")
        answer = self.ask("bob@mail.example", session=session)
        self.assertRefused(answer, 400, "M_UNKNOWN")
        self.assertEqual(len(self.mails.sent), 1)

    def test_nothingBefore(self) -> None:
        """Where the address is the first stage any session will do."""
        self.system(**{**self.options, "registration_requires_token": False})
        self.asked(session=self.begin())
        self.assertEqual(len(self.mails.sent), 1)

    def test_off(self) -> None:
        """By default mails need no session, as clients ask for them."""
        self.system(**{**self.options, "regsys": {"rc_availability": False}})
        self.asked()
        self.assertEqual(len(self.mails.sent), 1)


class AccountTests(AccountCase):
    """Of a server on which mails for newcomers wait for other stages."""

    options: ClassVar[Mapping[str, Any]] = {
        **AccountCase.options,
        "regsys": {"rc_availability": False, "mail_needs_stages": True},
    }

    def test_account(self) -> None:
        """The owner of an account has no registration under way, and needs no session."""
        self.added(self.alice)
        self.assertEqual(self.held(self.alice), [ALICE])
        self.assertRefused(self.ask("bob@mail.example"), 400, "M_MISSING_PARAM")
