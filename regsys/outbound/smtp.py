"""An SMTP session: Twisted's client up to the login, then one mail.

Twisted's own mail transaction is not used: it has no SMTPUTF8, misses a dot to be doubled where
chunks meet, and loops with a server that refuses everything.
"""

# mypy: allow-untyped-calls
# (Twisted's mail package has no types.)

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.mail import smtp
from twisted.mail.imap4 import PLAINAuthenticator
from twisted.python.failure import Failure

from regsys.errors import MailDeferred, MailRefused, RegistrationError
from regsys.model import Secret
from regsys.outbound.email_message import EnvelopeAddress
from regsys.outbound.hosts import OTHER_NAME, UNTRUSTED, certificate_problem
from regsys.outbound.smtp_replies import is_about_mail, readable

# How long a server may take to answer a command, and to close after QUIT.
ANSWER_S = 20.0
QUIT_S = 5.0
# Lines of an answer, more than any server sends.
_MOST_LINES = 100
_VERBS = frozenset(b"EHLO HELO STARTTLS AUTH MAIL RCPT DATA QUIT".split())
_FINE = range(200, 300)
_CERTIFICATE_MENDS = {
    OTHER_NAME: "if it is the right server, set email.tlsname to the name in its certificate"
    " (now {name})",
    UNTRUSTED: "renew it, or name the file of its authority in the environment variable"
    " SSL_CERT_FILE; email.enable_tls: false sends mails without encryption",
}


@attr.frozen
class Account:
    """Our login at the mail server. ``may_go_plain``: even over a connection without TLS."""

    user: str
    password: Secret
    may_go_plain: bool


class SMTPSession(smtp.ESMTPClient):
    """Sends one message to one mailbox.

    ``done`` fires once: with None when the server has accepted the message, else with MailRefused
    or MailDeferred, whose text has the server's code, and its text unless that might repeat the
    login or the message. ``tls_name``: the name that its certificate must have. The caller must
    call ``close`` in the end.
    """

    transport: Any
    timeout: Any = ANSWER_S
    _expected: Any
    # Else Twisted keeps a transcript, with the password and the link.
    debug = False

    def __init__(
        self,
        *,
        sender: str,
        to: EnvelopeAddress,
        message: bytes,
        introduces_as: str,
        account: Optional[Account],
        tls: Any,
        tls_name: str,
        is_encrypted: bool,
        require_tls: bool,
        clock: IReactorTime,
    ) -> None:
        password = account.password.reveal().encode() if account else None
        super().__init__(password, tls, introduces_as)
        self.requireAuthentication = account is not None
        self.requireTransportSecurity = require_tls
        self._clock = clock
        self.done: Deferred[None] = Deferred()
        self._sender, self._to, self._message = sender, to, message
        self._account, self._is_encrypted, self._tls_name = account, is_encrypted, tls_name
        self._takes_utf8 = False
        self._is_settled = False
        self._may_quit = False
        self._last_command = "our connection"
        self._login_texts = [account.password.reveal()] if account else []

    def callLater(self, period: float, func: Any) -> Any:
        """Overridden: Twisted's client would use the global reactor."""
        return self._clock.callLater(period, func)

    # --- How it ends ---------------------------------------------------------------------

    def close(self) -> None:
        """End the session: with QUIT if the server has just answered, else at once."""
        self._is_settled = True  # ``done`` must not fire any more
        if self.transport is None or not self.connected:
            return
        if self._may_quit:
            self.sendLine(b"QUIT")
            self.transport.loseConnection()
            self.setTimeout(QUIT_S)
        else:
            self.transport.abortConnection()

    def _settle(self, error: Optional[RegistrationError] = None) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(error)

    def _fail(self, reason: str) -> None:
        self._settle(MailDeferred(f"The mail server {reason}."))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.connected = 0
        problem = certificate_problem(reason)
        if problem is None:
            error = reason.getErrorMessage().rstrip(".")
            self._fail(f"hung up after {self._last_command}: {error}")
        else:
            mend = _CERTIFICATE_MENDS[problem].format(name=self._tls_name)
            self._fail(f"has a certificate that {problem}: {mend}")

    def timeoutConnection(self) -> None:
        self._fail(f"did not answer {self._last_command} within {ANSWER_S:g} s")
        self.transport.abortConnection()

    def sendError(self, exc: Any) -> None:
        """Called by Twisted for an error before the mail."""
        if isinstance(exc, smtp.TLSRequiredError):
            self._fail("offers no encryption, and email.require_transport_security is set")
        elif isinstance(exc, smtp.AUTHRequiredError):
            self._fail("offers no login that we know, and email.smtp_user is set")
        elif exc.code > 0:
            self._may_quit = True
            self._fail(f"said {exc.code} to {self._last_command}")
        else:
            self._fail(f"gave no SMTP answer to {self._last_command}")

    # --- Commands, answers and the login -------------------------------------------------

    def sendLine(self, line: bytes) -> None:
        verb = line.split(b" ")[0]
        if verb in _VERBS:
            self._last_command = verb.decode("ascii")
        elif self._last_command == "AUTH":
            self._login_texts.append(line.decode("ascii"))
        if line.startswith(b"AUTH PLAIN "):
            self._login_texts.append(line[11:].decode("ascii"))
        super().sendLine(line)

    def lineReceived(self, line: bytes) -> Any:
        if self._is_settled:
            return None
        if len(self.resp) >= _MOST_LINES:
            return self._fail("sends an answer of too many lines")
        return super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> Any:
        self._fail("gave too long an answer")
        return super().lineLengthExceeded(line)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._tlsMode = self._is_encrypted

    def esmtpState_serverConfig(self, code: int, resp: bytes) -> None:
        # The first line is the server's name; extensions may be written in any case.
        _, *offered = resp.upper().splitlines() or [b""]
        self._takes_utf8 = b"SMTPUTF8" in offered
        # Old servers write AUTH=LOGIN PLAIN, some of them both ways.
        logins = [line[5:] for line in offered if line[:5] in (b"AUTH ", b"AUTH=")]
        others = [line for line in offered if line[:5] not in (b"AUTH ", b"AUTH=")]
        login = [b"AUTH " + b" ".join(logins)] if logins else []
        super().esmtpState_serverConfig(code, b"\n".join([*others, *login]))

    def esmtpState_starttls(self, code: int, resp: bytes) -> None:
        # Anyone on the way may have added lines before TLS: they must not count as sent under TLS.
        if self.clearLineBuffer():
            self._fail("said more before TLS than it may")
        else:
            super().esmtpState_starttls(code, resp)

    def authenticate(self, code: int, resp: bytes, items: Mapping[bytes, Any]) -> None:
        account = self._account
        if account is not None and not (self._tlsMode or account.may_go_plain):
            self._fail(
                "offers no encryption, so the password of email.smtp_user is not sent; "
                "if that is how it has to be, set email.enable_tls to false"
            )
            return
        if account is not None:
            user = account.user.encode()
            # The one of twisted.mail.smtp adds an authorization identity, which some servers refuse
            # (RFC 4616).
            plain = [PLAINAuthenticator(user), smtp.LOGINAuthenticator(user)]
            digest = [smtp.CramMD5ClientAuthenticator(user)]
            self.authenticators = plain + digest if self._tlsMode else digest + plain
        super().authenticate(code, resp, items)

    def _esmtpState_plainAuth(self, code: int, resp: bytes) -> None:
        # Twisted would try the same password once more, and servers count failures.
        self.esmtpAUTHDeclined(code, resp)

    # --- The mail ------------------------------------------------------------------------

    def smtpState_from(self, code: int, resp: bytes) -> None:
        self._may_quit = True
        if self._to.needs_utf8 and not self._takes_utf8:
            self._settle(MailRefused("The mail server takes no such address: no SMTPUTF8."))
            return
        option = " SMTPUTF8" if self._to.needs_utf8 else ""
        self._command(f"MAIL FROM:<{self._sender}>{option}", self._on_sender)

    def _on_sender(self, code: int, resp: bytes) -> None:
        self._command(f"RCPT TO:<{self._to.spec}>", self._on_recipient)

    def _on_recipient(self, code: int, resp: bytes) -> None:
        self._command("DATA", self.smtpState_data, range(354, 355))

    def smtpState_data(self, code: int, resp: bytes) -> None:
        body = self._message.replace(b"\r\n.", b"\r\n..")
        end = b".\r\n" if body.endswith(b"\r\n") else b"\r\n.\r\n"
        self._may_quit = False
        self._last_command = "the message"
        self._expected, self._okresponse = _FINE, self._on_accepted
        self.transport.write(body + end)

    def _on_accepted(self, code: int, resp: bytes) -> None:
        self._may_quit = True
        self._settle()

    def _command(self, line: str, then: Any, expected: range = _FINE) -> None:
        self._expected, self._okresponse, self._failresponse = expected, then, self._on_refused
        self.sendLine(line.encode())

    def _on_refused(self, code: int, resp: bytes) -> None:
        """The server refuses the mail: for good if the reason is the recipient or the message. An
        administrator can correct what is wrong with the sender."""
        self._may_quit = True
        words = resp.decode("utf-8", "replace")
        # No answer before the message itself can repeat a link in it.
        is_secret = self._last_command == "the message"
        text = None if is_secret else readable(words, self._login_texts)
        reason = f"said {code} to {self._last_command}{f': {text}' if text else ''}".rstrip(".")
        if code >= 500 and self._last_command != "MAIL" and is_about_mail(code, words):
            self._settle(MailRefused(f"The mail server {reason}."))
        else:
            self._fail(reason)
