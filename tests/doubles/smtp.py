"""A real mail server for tests, with the faults that mail servers have (threat C8).

``listening`` runs it in the test's own process; for tests whose reactor does not run there is
``tests.support.smtp_process``.
"""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any, Mapping, Optional, Union

import attr
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import CramMD5Credentials
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.tcp import Client
from twisted.mail import smtp
from twisted.mail.imap4 import PLAINCredentials
from twisted.mail.interfaces import IMessageDelivery
from zope.interface import implementer

# Where a fault can be: the greeting, the answer to a command, or to the whole message.
STEPS = ("greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message")
# A code to answer with, or code and text; or no answer; a closed connection; an invalid answer.
Fault = Union[int, str, tuple[int, bytes]]
STALL, DROP, NONSENSE, ENDLESS = "stall", "drop", "nonsense", "endless"
_ADDRESS = re.compile(rb"(?:FROM|TO):<([^>]*)>(.*)", re.I)


@attr.frozen(kw_only=True)
class Delivered:
    """A mail that was received. ``user``: the login of the sender; None if there was none."""

    sender: str
    to: str
    raw: bytes
    encrypted: bool = False
    user: Optional[str] = None

    @property
    def message(self) -> EmailMessage:
        """The mail as a mail program reads it."""
        parsed = BytesParser(EmailMessage, policy=default).parsebytes(self.raw)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def part(self, kind: str) -> str:
        """Its ``plain`` or its ``html`` part."""
        body = self.message.get_body((kind,))
        assert body is not None, f"no {kind} part"
        return str(body.get_content()).replace("\r\n", "\n")


@attr.define(eq=False)
class MailServer(ServerFactory):
    """``faults`` by step; may be changed at any time. ``tls``: offers STARTTLS with it; None if it
    does not. ``login``: name and password that are required. ``mechanisms``: None if all of them
    are offered. ``writes_auth_the_old_way``: as ``AUTH=LOGIN PLAIN`` and in no other form."""

    faults: Mapping[str, Fault] = attr.field(factory=dict)
    tls: Any = None
    login: Optional[tuple[str, str]] = None
    mechanisms: Optional[tuple[bytes, ...]] = None
    takes_utf8: bool = False
    writes_auth_the_old_way: bool = False
    is_encrypted: bool = False
    mails: list[Delivered] = attr.field(factory=list)
    connections: int = 0
    open: int = 0
    lines: list[bytes] = attr.field(factory=list)

    noisy = False

    def buildProtocol(self, addr: Any) -> Connection:
        self.connections += 1
        return Connection(self)

    def mail_received(self, mail: Delivered) -> None:
        self.mails.append(mail)


@implementer(IRealm)
class _Realm:
    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        return IMessageDelivery, avatarId.decode(), lambda: None


class Connection(smtp.ESMTP):
    """Twisted's server, with our faults in the place of its answers."""

    noisy = False
    timeout = None

    def __init__(self, server: MailServer) -> None:
        challengers = {
            b"CRAM-MD5": CramMD5Credentials,
            b"PLAIN": PLAINCredentials,
            b"LOGIN": smtp.LOGINCredentials,
        }
        offered = server.mechanisms or tuple(challengers)
        super().__init__(
            {name: challengers[name] for name in offered} if server.login else {}, server.tls
        )
        self.server = server
        self.step = "greeting"
        self.startedTLS = server.is_encrypted
        if server.login:
            name, password = server.login
            checker = InMemoryUsernamePasswordDatabaseDontUse(**{name: password.encode()})
            self.portal = Portal(_Realm(), [checker])

    def connectionMade(self) -> None:
        self.server.open += 1
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        self.server.open -= 1
        super().connectionLost(reason)

    def lineReceived(self, line: bytes) -> Any:
        self.server.lines.append(line)
        return super().lineReceived(line)

    def state_COMMAND(self, line: bytes) -> None:
        self.step = line.split(b" ")[0].decode().upper()
        super().state_COMMAND(line)

    def sendCode(self, code: int, message: bytes = b"") -> None:
        fault = self.server.faults.get(self.step)
        if fault is None:
            super().sendCode(code, message)
        elif isinstance(fault, int):
            # As real servers do, it repeats the client's lines.
            super().sendCode(fault, b"no: " + b" ".join(self.server.lines[-3:]))
        elif isinstance(fault, tuple):
            super().sendCode(*fault)
        elif fault == DROP:
            self.transport.abortConnection()
        elif fault == NONSENSE:
            self.sendLine(b"What?")
        elif fault == ENDLESS:
            for _ in range(1000):
                self.sendLine(b"250-and")

    def extensions(self) -> Any:
        found = super().extensions()
        return {**found, b"smtputf8": None} if self.server.takes_utf8 else found

    def listExtensions(self) -> bytes:
        lines: bytes = super().listExtensions()
        return lines.replace(b"AUTH ", b"AUTH=") if self.server.writes_auth_the_old_way else lines

    def ext_STARTTLS(self, rest: bytes) -> None:
        if "STARTTLS" in self.server.faults:
            self.sendCode(220)
        else:
            super().ext_STARTTLS(rest)

    def _cbAuthenticated(self, loginInfo: Any) -> None:
        self.authenticated = loginInfo[1]

    def do_MAIL(self, rest: bytes) -> None:
        found = _ADDRESS.match(rest)
        if self.server.login and not self.authenticated:
            self.sendCode(530, b"Log in first")
        elif found is None or (b"SMTPUTF8" in found[2] and not self.server.takes_utf8):
            self.sendCode(501, b"Syntax error")
        else:
            self._from = found[1]
            self.sendCode(250, b"Fine")

    def do_RCPT(self, rest: bytes) -> None:
        found = _ADDRESS.match(rest)
        if found is None:
            self.sendCode(501, b"Syntax error")
        else:
            arriving = _Arriving(self, self._from.decode(), found[1].decode())
            self._to = [(found[1], lambda: arriving)]
            self.sendCode(250, b"Fine")

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b""


class _Arriving:
    """A message whose lines arrive."""

    def __init__(self, connection: Connection, sender: str, to: str) -> None:
        self.connection = connection
        self.envelope = {"sender": sender, "to": to}
        self.lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self.lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        server = self.connection.server
        self.connection.step = "message"
        if not isinstance(server.faults.get("message"), (int, tuple)):
            server.mail_received(
                Delivered(
                    **self.envelope,
                    raw=b"\r\n".join([*self.lines, b""]),
                    encrypted=bool(self.connection.startedTLS),
                    user=self.connection.authenticated or None,
                )
            )
        return succeed(None)

    def connectionLost(self) -> None:
        self.lines.clear()


def listening(test: Any, server: MailServer, context: Any = None) -> int:
    """Listen on loopback until the test ends; returns the port. ``context``: with TLS from the
    beginning."""
    from twisted.internet import reactor

    if context is None:
        port = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]
    else:
        server.is_encrypted = True
        port = reactor.listenSSL(  # type: ignore[attr-defined]
            0, server, context, interface="127.0.0.1"
        )
    test.addCleanup(port.stopListening)
    test.addCleanup(lambda: Deferred.fromCoroutine(_wait_for_connections()))
    number: int = port.getHost().port
    return number


async def _wait_for_connections() -> None:
    """Wait until our side of all connections is closed; otherwise trial complains."""
    from twisted.internet import reactor

    while any(isinstance(reader, Client) for reader in reactor.getReaders()):  # type: ignore[attr-defined]
        await deferLater(reactor, 0.001)  # type: ignore[arg-type]
