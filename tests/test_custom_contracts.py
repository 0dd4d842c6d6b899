"""Our own blocking, senders and stages keep the contracts of those that an embedder may bring."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any, Mapping, Optional, Sequence
from urllib.parse import parse_qs

from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.server import NOT_DONE_YET

from regsys.accounts.blocking import Blocking
from regsys.callbacks.passwords import PasswordCallbacks
from regsys.captcha.proof_of_work import ProofOfWork
from regsys.captcha.stages import PAGES, CaptchaStage, ProofOfWorkStage
from regsys.cli.demo.messages import Outbox, TextOutbox
from regsys.client_api.credentials import LoginLimits, PasswordCheck
from regsys.client_api.password_stage import PasswordStage
from regsys.config import PasswordPolicy
from regsys.config.phones import SmsConfig
from regsys.consent import TermsStage
from regsys.errors import SmsDeferred, SmsRefused
from regsys.limits.rate import LeakyBuckets
from regsys.model import Secret, Threepid, UIASession
from regsys.outbound.email import SMTPMailer
from regsys.outbound.email_message import MessageBuilder
from regsys.outbound.http import HTTPClient
from regsys.outbound.sms import SmsGateway
from regsys.registration_tokens import RegistrationTokenStage
from regsys.storage.nonces import NonceStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore
from regsys.storage.validations import ValidationStore
from regsys.testing import MemoryAccounts, MemoryActiveUsers, config
from regsys.testing.contracts import (
    BlockingContract,
    SmsSenderContract,
    StageContract,
    ValidationMailsContract,
)
from regsys.testing.contracts.case import NOW_MS, SERVER, account, user
from regsys.testing.database import memory_database
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.stages import DelegatedMsisdnStage, EmailIdentityStage, MsisdnStage
from regsys.threepids.validation_mail import Mails, ValidationMailSender
from regsys.uia.stages import DummyStage
from regsys.wiring.process import hashing_pool
from tests.captcha.test_proof_of_work import solve
from tests.doubles.smtp import STALL, MailServer, listening
from tests.outbound.smtp_case import email_config
from tests.outbound.test_http import Other
from tests.support.question_stage import ANSWERED, QuestionStage
from tests.support.sms import MemorySms
from tests.support.values import PLENTY, TOKEN, token, wanted


def started() -> Clock:
    """A clock at NOW_MS."""
    clock = Clock()
    clock.advance(NOW_MS / 1000)
    return clock


# --- Blocking ----------------------------------------------------------------------------


class BlockingTests(BlockingContract, TestCase):
    """A limit of one active user."""

    def make(self) -> Blocking:
        self.users = MemoryActiveUsers(started())
        return Blocking(
            config=config(limit_usage_by_mau=True, max_mau_value=1).blocking,
            notices_localpart="notices",
            users=self.users,
            accounts=MemoryAccounts(),
            threepids=None,
            clock=started(),
        )

    async def block(self) -> None:
        await self.users.add(user("bob"))

    def unblock(self) -> None:
        self.users.seen_ms.clear()


# --- Messages ----------------------------------------------------------------------------


class GatewayTests(SmsSenderContract, TestCase):
    def make(self) -> SmsGateway:
        self.gateway, self.clock = Other(), Clock()
        http = HTTPClient(StubTreq(self.gateway), self.clock)
        return SmsGateway(config=SmsConfig(url="http://sms.example/", as_form=True), http=http)

    def sent(self) -> Sequence[tuple[str, str]]:
        fields = [parse_qs(request.sent.decode()) for request in self.gateway.requests]
        return [(item["to"][0].lstrip("+"), item["text"][0]) for item in fields]

    def answer_with(self, status: int) -> None:
        def answer(request: Any) -> bytes:
            request.setResponseCode(status)
            return b""

        self.gateway.answer = answer

    def refuse(self) -> None:
        self.answer_with(400)

    def break_down(self) -> None:
        self.answer_with(503)

    def stall(self) -> None:
        self.gateway.answer = lambda request: NOT_DONE_YET

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class MemorySmsTests(SmsSenderContract, TestCase):
    """The fake of other tests."""

    def make(self) -> MemorySms:
        self.sms = MemorySms()
        return self.sms

    def sent(self) -> Sequence[tuple[str, str]]:
        return self.sms.sent

    def refuse(self) -> None:
        self.sms.trouble = SmsRefused()

    def break_down(self) -> None:
        self.sms.trouble = SmsDeferred()


class DemoTests(SmsSenderContract, TestCase):
    """What the demonstration shows in place of sending it never fails."""

    def make(self) -> TextOutbox:
        self.outbox = Outbox()
        return TextOutbox(self.outbox)

    def sent(self) -> Sequence[tuple[str, str]]:
        return [(item.to.lstrip("+"), item.text) for item in self.outbox.messages]

    def refuse(self) -> None:
        raise SkipTest("nothing is refused")

    def break_down(self) -> None:
        raise SkipTest("nothing is sent")


class MailTests(ValidationMailsContract, TestCase):
    """Our mails, over SMTP to a server in this process."""

    def make(self) -> ValidationMailSender:
        self.server, self.clock = MailServer(), Clock()
        chosen = email_config(starttls=False)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", listening(self, self.server))
        mailer = SMTPMailer(
            config=chosen,
            message_builder=MessageBuilder(
                server_name="hs.example",
                from_name="Matrix",
                from_address="noreply@hs.example",
            ),
            endpoint=endpoint,
            tls=None,
            clock=self.clock,
        )
        mails = Mails.load(chosen, "hs.example", "https://hs.example/")
        return ValidationMailSender(mails=mails, deliver=mailer.send)

    def sent(self) -> Sequence[tuple[str, EmailMessage]]:
        return [(item.to, item.message) for item in self.server.mails]

    def refuse(self) -> None:
        self.server.faults = {"RCPT": 550}

    def break_down(self) -> None:
        self.server.faults = {"greeting": 421}

    def stall(self) -> None:
        self.server.faults = {"greeting": STALL}

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


# --- Stages ------------------------------------------------------------------------------


class DummyTests(StageContract, TestCase):
    def make(self) -> DummyStage:
        return DummyStage()

    def right(self) -> Mapping[str, Any]:
        return {"type": "m.login.dummy"}


class TermsTests(StageContract, TestCase):
    def make(self) -> TermsStage:
        return TermsStage({"privacy_policy": {"version": "1", "en": {"name": "P", "url": "u"}}})

    def right(self) -> Mapping[str, Any]:
        return {"type": "m.login.terms"}


class QuestionTests(StageContract, TestCase):
    """The stage of other tests."""

    def make(self) -> QuestionStage:
        return QuestionStage()

    def right(self) -> Mapping[str, Any]:
        return ANSWERED


class CaptchaTests(StageContract, TestCase):
    captcha = "m.login.recaptcha"

    def make(self) -> CaptchaStage:
        async def verify(response: str, address: str) -> bool:
            return response == "solved"

        assert self.captcha in PAGES
        return CaptchaStage(
            type=self.captcha,
            public_key="public",
            verify=verify,
            use_once=NonceStore(memory_database(self)).use,
            clock=started(),
        )

    def right(self) -> Mapping[str, Any]:
        return {"type": self.captcha, "response": "solved"}


class ProofOfWorkTests(StageContract, TestCase):
    def make(self) -> ProofOfWorkStage:
        self.work = ProofOfWork(secret=b"a secret", difficulty=1, clock=started())
        return ProofOfWorkStage(self.work)

    def right(self) -> Mapping[str, Any]:
        return {"response": solve(self.work.challenge(self.session().session_id))}


class StoreStageCase(StageContract):
    """A stage over our tables, with a limit that no test reaches."""

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.clock = started()
        self.db = memory_database(self, self.clock)
        self.validations = ValidationStore(self.db)
        self.limiter = LeakyBuckets(per_second=1000, burst_count=1000, seconds=self.clock.seconds)

    @staticmethod
    def key_of(address: str) -> str:
        return address


class RegistrationTokenTests(StoreStageCase, TestCase):
    async def make(self) -> RegistrationTokenStage:
        store = RegistrationTokenStore(self.db)
        await store.create(token(uses_allowed=1))
        await SessionStore(self.db).add(self.session(), PLENTY)
        return RegistrationTokenStage(
            store=store, limiter=self.limiter, key_of=self.key_of, clock=self.clock
        )

    def right(self) -> Mapping[str, Any]:
        return {"session": "S" * 24, "token": TOKEN}


class EmailTests(StoreStageCase, TestCase):
    def make(self) -> EmailIdentityStage:
        return EmailIdentityStage(store=self.validations, clock=self.clock)

    async def right(self) -> Mapping[str, Any]:
        await self.validations.begin(wanted("sid"))
        await self.validations.confirm("sid", NOW_MS)
        return {"session": "S" * 24, "threepid_creds": {"sid": "sid", "client_secret": "secret"}}


class MsisdnTests(StoreStageCase, TestCase):
    def make(self) -> MsisdnStage:
        return MsisdnStage(store=self.validations, clock=self.clock)

    async def right(self) -> Mapping[str, Any]:
        await self.validations.begin(wanted("sid", medium="msisdn", address="4915112345678"))
        await self.validations.confirm("sid", NOW_MS)
        return {"session": "S" * 24, "threepid_creds": {"sid": "sid", "client_secret": "secret"}}


class PhoneServer:
    """Another server, which has validated one number."""

    async def validated_threepid(self, sid: str, client_secret: str) -> Optional[Threepid]:
        proven = Threepid("msisdn", "4915112345678", NOW_MS)
        return proven if (sid, client_secret) == ("sid", "secret") else None


class DelegatedMsisdnTests(StoreStageCase, TestCase):
    def make(self) -> DelegatedMsisdnStage:
        return DelegatedMsisdnStage(
            phone_server=PhoneServer(),  # type: ignore[arg-type]  # what the stage asks
            store=self.validations,
            attempts=ValidationAttempts(limiter=self.limiter, key_of=self.key_of),
            clock=self.clock,
        )

    def right(self) -> Mapping[str, Any]:
        return {"session": "S" * 24, "threepid_creds": {"sid": "sid", "client_secret": "secret"}}


class PasswordTests(StoreStageCase, TestCase):
    """The password of the session's user."""

    def session(self) -> UIASession:
        session = super().session()
        return UIASession(
            session_id=session.session_id,
            method="POST",
            uri="/_matrix/client/v3/account/deactivate",
            created_ms=session.created_ms,
            expires_ms=session.expires_ms,
            user_id=user("alice"),
        )

    async def make(self) -> PasswordStage:
        hasher = hashing_pool(config(), maybeDeferred, threads=1, seconds=self.clock.seconds)
        accounts = UserStore(self.db)
        password_hash = await hasher.hash(Secret("in the looking glass"))
        await accounts.create_account(account("key", "alice", password_hash=password_hash))
        limits = LoginLimits(
            address=self.limiter, account=self.limiter, failed=self.limiter, key_of=self.key_of
        )
        return PasswordStage(
            passwords=PasswordCheck(
                server_name=SERVER,
                accounts=accounts,
                threepids=None,
                hasher=hasher,
                limits=limits,
                policy=PasswordPolicy(),
                callbacks=PasswordCallbacks.on(self.clock),
            )
        )

    def right(self) -> Mapping[str, Any]:
        return {
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": "in the looking glass",
        }
