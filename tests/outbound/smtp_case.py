"""A mailer whose server is at the other end of a transport in memory, and a log that is watched."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.config import EmailConfig
from regsys.errors import MailDeferred, MailRefused
from regsys.model.threepids import Mail
from regsys.outbound.email import SMTPMailer
from regsys.outbound.email_message import MessageBuilder
from tests.doubles.smtp import MailServer
from tests.support.log_canaries import Canaries

SECRETS = {
    "the password": "password-canary",
    "the password in base 64": "cGFzc3dvcmQtY2FuYXJ5",
    "the link": "https://hs.example/link-canary",
    "the address": "address-canary@hs.example",
}
LOGIN = ("robot", "password-canary")


def mail(**changed: Any) -> Mail:
    given = {
        "to": "address-canary@hs.example",
        "subject": "[hs.example] Confirm",
        "text": "https://hs.example/link-canary\n.\n..dots\n",
        "html": "<p>https://hs.example/link-canary",
        "message_id": "0123456789ab",
    }
    return Mail(**{**given, **changed})


def email_config(**changed: Any) -> EmailConfig:
    given = {
        "host": "mail.example",
        "port": 25,
        "tls_name": "mail.example",
        "from_name": "Matrix",
        "from_address": "noreply@hs.example",
        "app_name": "Matrix",
    }
    return EmailConfig(**{**given, **changed})


@implementer(IStreamClientEndpoint)
class Wire:
    """Connects to this server, in memory."""

    def __init__(self, server: MailServer) -> None:
        self.server = server
        self.pumps: list[IOPump] = []
        self.instead: Optional[Deferred[Any]] = None

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        if self.instead is not None:
            return self.instead
        client, server = protocolFactory.buildProtocol(None), self.server.buildProtocol(None)
        here = IPv4Address("TCP", "192.0.2.1", 25)
        pump = connect(
            server,
            FakeTransport(server, True, peerAddress=here),
            client,
            FakeTransport(client, False),
            greet=False,
        )
        self.pumps.append(pump)
        return succeed(client)

    def flush(self) -> None:
        for pump in self.pumps:
            pump.flush()


class SMTPCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server, self.clock = MailServer(), Clock()
        self.wire = Wire(self.server)
        self.canaries = Canaries(SECRETS)
        self.canaries.start()
        self.addCleanup(self.assertNothingLeaked)
        self.addCleanup(self.canaries.stop)

    def assertNothingLeaked(self) -> None:
        self.assertEqual(self.canaries.leaks, [])

    def mailer(self, **changed: Any) -> SMTPMailer:
        config = email_config(**changed)
        return SMTPMailer(
            config=config,
            message_builder=MessageBuilder(
                server_name="hs.example:8448",
                from_name=config.from_name,
                from_address=config.from_address,
            ),
            endpoint=self.wire,
            tls=None,
            clock=self.clock,
        )

    def send(self, mailer: Optional[SMTPMailer] = None, **changed: Any) -> Deferred[None]:
        sending = Deferred.fromCoroutine((mailer or self.mailer()).send(mail(**changed)))
        self.wire.flush()
        return sending

    def deferral(self, sending: Deferred[None]) -> str:
        """Why the mail is to be retried."""
        return self.checked_text(self.failureResultOf(sending, MailDeferred).value)

    def refusal(self, sending: Deferred[None]) -> str:
        """Why the mail is refused for good."""
        return self.checked_text(self.failureResultOf(sending, MailRefused).value)

    def checked_text(self, error: Any) -> str:
        text = f"{error.text} {error!r}"
        self.canaries.check("the error", text)
        return text
