"""Encryption and login in the SMTP dialogue: what is never sent in plain."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport

from regsys.errors import MailDeferred
from regsys.model import Secret
from regsys.outbound.email import SMTPMailer
from regsys.outbound.email_message import EnvelopeAddress
from regsys.outbound.smtp import Account, SMTPSession
from tests.outbound.smtp_case import LOGIN, SMTPCase


class LoginTests(SMTPCase):
    def setUp(self) -> None:
        super().setUp()
        self.server.login = LOGIN

    def test_mechanisms(self) -> None:
        """Each of the three mechanisms leads to the mail, and the password is never logged."""
        for mechanism in (b"PLAIN", b"LOGIN", b"CRAM-MD5"):
            self.server.mechanisms = (mechanism,)
            self.successResultOf(self.send(self.with_login(starttls=False)))
            self.assertEqual(self.server.mails.pop().user, "robot", mechanism)

    def test_oldOffer(self) -> None:
        """The login of a server that only writes AUTH= is used."""
        self.server.writes_auth_the_old_way = True
        for mechanism in (b"PLAIN", b"LOGIN"):
            self.server.mechanisms = (mechanism,)
            self.successResultOf(self.send(self.with_login(starttls=False)))
            self.assertEqual(self.server.mails.pop().user, "robot", mechanism)

    def test_answerRepeatsTheLogin(self) -> None:
        """A reply that repeats our login is kept out of the error."""
        self.server.mechanisms = (b"PLAIN",)
        for repeated in (b"AHJvYm90AHBhc3N3b3JkLWNhbmFyeQ==", b"password-canary"):
            self.server.faults = {"RCPT": (554, b"relay denied after " + repeated)}
            reason = self.deferral(self.send(self.with_login(starttls=False)))
            self.assertIn("said 554 to RCPT.", reason)

    def with_login(self, **changed: Any) -> SMTPMailer:
        return self.mailer(user="robot", password=Secret("password-canary"), **changed)

    def test_wrongPassword(self) -> None:
        """A refused login is tried once: servers count failures."""
        self.server.login = ("robot", "another")
        for mechanism in (b"PLAIN", b"LOGIN", b"CRAM-MD5"):
            self.server.mechanisms, self.server.lines = (mechanism,), []
            self.assertIn("535 to AUTH", self.deferral(self.send(self.with_login(starttls=False))))
            attempts = [line for line in self.server.lines if line.startswith(b"AUTH")]
            self.assertEqual(len(attempts), 1, mechanism)

    def test_neverInPlain(self) -> None:
        """Without encryption the password is not sent, unless TLS was switched off, or the server
        is on this machine."""
        for options, goes in (
            ({}, False),
            ({"require_tls": True}, False),
            ({"require_tls": True, "starttls": False}, False),
            ({"host": "127.0.0.1", "require_tls": True}, False),
            ({"host": "localhost"}, True),
            ({"host": "::1"}, True),
            ({"starttls": False}, True),
        ):
            self.server.lines = []
            sending = self.send(self.with_login(**options))
            tried = any(line.startswith(b"AUTH") for line in self.server.lines)
            self.assertEqual(tried, goes, options)
            if goes:
                self.successResultOf(sending)
            else:
                self.assertIn("encryption", self.deferral(sending))

    def test_noLoginOnOffer(self) -> None:
        """A server that offers no login gets no mail without one."""
        self.server.login = None
        self.assertIn("no login", self.deferral(self.send(self.with_login(starttls=False))))
        self.assertEqual(self.server.mails, [])

    def test_notLoggedIn(self) -> None:
        """Without smtp_user there is no login; if the server requires one, the operator must set
        it."""
        self.assertIn("530 to MAIL", self.deferral(self.send()))


class PlainTests(SMTPCase):
    def test_required(self) -> None:
        """With require_transport_security no mail is sent over a plain connection."""
        self.assertIn("no encryption", self.deferral(self.send(self.mailer(require_tls=True))))
        self.assertEqual(self.server.mails, [])
        self.assertNotIn(b"MAIL", b"".join(self.server.lines))

    def test_saidBeforeTLS(self) -> None:
        """Data in one piece with the answer to STARTTLS don't count as received under TLS."""
        transport = StringTransport()
        sending = SMTPSession(
            sender="a@hs.example",
            to=EnvelopeAddress.parse("b@hs.example"),
            message=b"",
            introduces_as="hs.example",
            account=Account("robot", Secret("password-canary"), may_go_plain=False),
            tls=object(),
            tls_name="hs.example",
            is_encrypted=False,
            require_tls=True,
            clock=self.clock,
        )
        sending.makeConnection(transport)
        sending.dataReceived(b"220 a\r\n")
        sending.dataReceived(b"250-a\r\n250 StartTLS\r\n")
        sending.dataReceived(b"220 go\r\n250-a\r\n250 AUTH PLAIN\r\n")
        error = self.failureResultOf(sending.done, MailDeferred).value
        self.assertIn("before TLS", error.text)
        self.assertEqual(transport.value(), b"EHLO hs.example\r\nSTARTTLS\r\n")
        sending.close()
