"""The SMTP dialogue with a mail server, in memory: its lines, and the result of each fault."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import StringTransport

from regsys.model import JOB_LEASE_MS
from regsys.outbound.email import AT_ONCE, CONNECT_S, PLACE_S, WHOLE_S
from regsys.outbound.smtp import ANSWER_S, QUIT_S
from tests.doubles.smtp import DROP, ENDLESS, NONSENSE, STALL, Fault
from tests.outbound.smtp_case import SMTPCase, mail


class DeliveryTests(SMTPCase):
    def test_sent(self) -> None:
        """A mail arrives unchanged, dots at the beginning of a line included, and the log reports
        the delivery without the recipient."""
        self.assertIsNone(self.successResultOf(self.send()))
        (arrived,) = self.server.mails
        self.assertEqual(
            (arrived.sender, arrived.to), ("noreply@hs.example", "address-canary@hs.example")
        )
        self.assertEqual(arrived.part("plain").splitlines(), mail().text.splitlines())
        self.assertIn(b"EHLO hs.example", self.server.lines)
        self.assertEqual(self.server.lines[-1], b"QUIT")
        self.assertEqual(self.server.open, 0)
        self.assertGreater(self.canaries.event_count, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_internationalDomain(self) -> None:
        """A domain is sent in its A-label, in the header too."""
        self.successResultOf(self.send(to="anna@bücher.example"))
        (arrived,) = self.server.mails
        self.assertEqual(arrived.to, "anna@xn--bcher-kva.example")
        self.assertEqual(arrived.message["To"], "anna@xn--bcher-kva.example")

    def test_internationalMailbox(self) -> None:
        """A mailbox name beyond ASCII is sent to a server that supports it, and refused for good
        otherwise: no other name is tried."""
        self.assertIn("SMTPUTF8", self.refusal(self.send(to="jörg@hs.example")))
        self.server.takes_utf8 = True
        self.successResultOf(self.send(to="jörg@hs.example"))
        (arrived,) = self.server.mails
        self.assertEqual((arrived.to, arrived.message["To"]), ("jörg@hs.example",) * 2)
        self.assertIn(b"MAIL FROM:<noreply@hs.example> SMTPUTF8", self.server.lines)

    def test_quotedMailbox(self) -> None:
        """A mailbox name that needs quotes has them once, whether they were given or not."""
        for to in ("a,b@hs.example", '"a,b"@hs.example'):
            self.successResultOf(self.send(to=to))
            self.assertEqual(self.server.mails.pop().to, '"a,b"@hs.example')

    def test_unusableAddress(self) -> None:
        """An invalid address is refused without asking the server."""
        for to in (
            "", "a", "@hs.example", "a@", "a@b c", "a b@hs.example", "a@hs.example\r\nDATA",
            "a\0@hs.example", "a@[192.0.2.1]", "a@hs.example>", "a@-ü.example", "a@☃.example",
        ):  # fmt: skip
            self.refusal(self.send(to=to))
        self.assertEqual(self.server.connections, 0)

    def test_manyAtOnce(self) -> None:
        """There are at most AT_ONCE connections; the next mail gets the first that ends."""
        self.server.faults = {"greeting": STALL}
        mailer = self.mailer()
        sendings = [self.send(mailer) for _ in range(AT_ONCE + 1)]
        self.assertEqual(self.server.connections, AT_ONCE)
        self.server.faults = {}
        self.clock.advance(ANSWER_S)
        self.wire.flush()
        for sending in sendings[:-1]:
            self.deferral(sending)
        self.assertIsNone(self.successResultOf(sendings[-1]))
        self.assertEqual(self.server.open, 0)

    def test_noPlace(self) -> None:
        """A mail without a place within PLACE_S is retried later, and loses no place for others.
        All ends before another process could take the mail over."""
        places = DeferredSemaphore(1)
        mailer = attr.evolve(self.mailer(), places=places)
        self.successResultOf(places.acquire())
        sending = self.send(mailer)
        self.clock.advance(PLACE_S)
        self.assertIn("waiting", self.deferral(sending))
        places.release()
        self.successResultOf(self.send(mailer))
        self.assertLess((PLACE_S + WHOLE_S) * 1000, JOB_LEASE_MS)


class FaultTests(SMTPCase):
    def test_refused(self) -> None:
        """A refusal of the recipient or the message is final, unless the server says that it is
        temporary; any other refusal is for the operator or the server to correct. So is a 500
        anywhere: the server has not understood the command."""
        for step in ("greeting", "MAIL", "RCPT", "DATA", "message"):
            for code in (421, 451, 500, 550):
                self.server.faults = {step: code}
                sending = self.send()
                is_about_mail = step in ("RCPT", "DATA", "message")
                judge = self.refusal if is_about_mail and code == 550 else self.deferral
                self.assertIn(str(code), judge(sending), (step, code))
                self.assertEqual((self.server.mails, self.server.open), ([], 0), (step, code))

    def test_ourFault(self) -> None:
        """A final refusal of the recipient for a reason that concerns this server is not the
        recipient's fault: the mail is retried, and the log has the server's text."""
        for code, words in (
            (554, "Relay access denied"),
            (554, "5.7.1 <b@hs.example>: Relay access denied"),
            (550, "relay not permitted"),
            (553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
            (553, "5.7.1 Sender address rejected: not owned by user robot"),
            (550, "5.1.8 Sender address rejected: Domain not found"),
            (530, "5.7.0 Authentication required"),
            (550, "5.7.26 unauthenticated mail is not accepted"),
            (504, "5.5.2 Helo command rejected: need fully-qualified hostname"),
            (550, "Client host blocked using a blocklist"),
            (550, "Access denied - Invalid HELO name"),
            (550, "5.7.1 Recipient address rejected: not allowed to send (SPF fail)"),
            (554, "Transaction failed"),
        ):
            self.server.faults = {"RCPT": (code, words.encode())}
            reason = self.deferral(self.send())
            self.assertIn(f"said {code} to RCPT: ", reason)
            self.assertIn(words.replace("b@hs", "b…@hs"), reason)

    def test_recipientsFault(self) -> None:
        """A final refusal for a reason that concerns the recipient ends the mail, and the address
        is masked."""
        for code, words in (
            (550, "5.1.1 <address-canary@hs.example>: user unknown"),
            (550, "no such user"),
            (554, "5.7.1 Recipient address rejected: Access denied"),
            (550, "5.4.1 Recipient address rejected: Access denied"),
            (552, "5.2.2 mailbox full"),
            (551, "5.0.0 user has moved"),
            (553, "mailbox name not allowed"),
        ):
            self.server.faults = {"RCPT": (code, words.encode())}
            reason = self.refusal(self.send())
            self.assertIn(words.replace("address-canary@", "a…@"), reason)

    def test_wordsAfterTheMessage(self) -> None:
        """Once the server has the message, its text may quote it: only its code is logged."""
        words = b"5.7.1 https://hs.example/link-canary is on a block list"
        self.server.faults = {"message": (554, words)}
        self.assertIn("said 554 to the message.", self.deferral(self.send()))

    def test_oldServer(self) -> None:
        """A server without EHLO gets its mail all the same."""
        self.server.faults = {"EHLO": 502}
        self.successResultOf(self.send())
        self.assertEqual(len(self.server.mails), 1)

    def test_noAnswer(self) -> None:
        """A server that stalls, hangs up, answers nonsense or never ends is given up in time, and
        its connection is closed."""
        endings: list[tuple[Fault, str]] = [
            (STALL, "did not answer"),
            (DROP, "hung up"),
            (NONSENSE, "no SMTP answer"),
            (ENDLESS, "too many lines"),
        ]
        for step in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "message"):
            for fault, words in endings:
                self.server.faults = {step: fault}
                sending = self.send()
                self.clock.advance(ANSWER_S)
                self.assertIn(words, self.deferral(sending), (step, fault))
                self.wire.flush()
                self.assertEqual(self.server.open, 0, (step, fault))
                self.assertEqual(self.clock.getDelayedCalls(), [], (step, fault))

    def test_dripping(self) -> None:
        """A server that sends a little all the time is given up after WHOLE_S."""
        transport = StringTransport()
        self.wire.connect = lambda factory: self.dripping(factory, transport)  # type: ignore[method-assign]
        sending = self.send()
        for _ in range(int(WHOLE_S) - 1):
            self.clock.advance(1)
            self.protocol.dataReceived(b"220-wait\r\n")
            self.assertNoResult(sending)
        self.clock.advance(1)
        self.assertIn("too long", self.deferral(sending))
        self.assertTrue(transport.disconnected)

    def dripping(self, factory: Any, transport: StringTransport) -> Deferred[Any]:
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(transport)
        return succeed(self.protocol)

    def test_noConnection(self) -> None:
        """An unreachable server, or an unknown host, is an error."""
        self.wire.instead = fail(ConnectionRefusedError())
        self.assertIn("refused", self.deferral(self.send()))
        self.wire.instead = Deferred()
        sending = self.send()
        self.clock.advance(CONNECT_S)
        self.assertIn("does not answer", self.deferral(sending))

    def test_ignoresQuit(self) -> None:
        """A server that does not close after the mail does not keep the connection."""
        transport = StringTransport()
        self.wire.connect = lambda factory: self.dripping(factory, transport)  # type: ignore[method-assign]
        sending = self.send()
        for answer in (b"220 a", b"250 a", b"250 a", b"250 a", b"354 a", b"250 a"):
            self.protocol.dataReceived(answer + b"\r\n")
        self.assertIsNone(self.successResultOf(sending))
        self.clock.advance(QUIT_S)
        self.assertTrue(transport.disconnected)
