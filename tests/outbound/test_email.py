"""Mails over real sockets: encryption, certificates, and servers that fail while connecting."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.trial.unittest import TestCase

from regsys.config import EmailConfig
from regsys.errors import MailDeferred
from regsys.model import Secret
from regsys.outbound.email import SMTPMailer
from tests.doubles.smtp import DROP, MailServer, listening
from tests.outbound.smtp_case import LOGIN, SECRETS, email_config, mail
from tests.support.log_canaries import Canaries
from tests.support.ports import free_port


class SocketCase(TestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            " -keyout key.pem -out cert.pem -subj /CN=localhost"
            " -addext subjectAltName=DNS:localhost".split(),
            cwd=folder,
            check=True,
            capture_output=True,
        )
        self.certificate = folder.resolve() / "cert.pem"
        pem = (folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes()
        certificate = ssl.PrivateCertificate.loadPEM(pem)
        self.context = certificate.options()
        self.trusted = ssl.trustRootFromCertificates([certificate])
        self.canaries = Canaries(SECRETS)
        self.canaries.start()
        self.addCleanup(self.canaries.stop)

    async def send(self, port: int, trusted: Any = "ours", **changed: Any) -> None:
        from twisted.internet import reactor

        named = {"host": "localhost", "tls_name": "localhost", "port": port}
        config: EmailConfig = email_config(**{**named, **changed})
        trust = self.trusted if trusted == "ours" else trusted
        mailer = SMTPMailer.on(reactor, config, "hs.example", trust)
        await mailer.send(mail())
        self.assertEqual(self.canaries.leaks, [])

    async def deferral(self, port: int, trusted: Any = "ours", **changed: Any) -> str:
        with self.assertRaises(MailDeferred) as caught:
            await self.send(port, trusted, **changed)
        self.assertEqual(self.canaries.leaks, [])
        return caught.exception.text


class SocketTests(SocketCase):
    async def test_plain(self) -> None:
        """A mail is sent to a server that offers no TLS, or if TLS is switched off."""
        server = MailServer()
        await self.send(listening(self, server))
        server.tls = self.context
        await self.send(listening(self, server), starttls=False)
        self.assertEqual([mail.encrypted for mail in server.mails], [False, False])

    async def test_startTLS(self) -> None:
        """STARTTLS is used if it is offered, and the login comes after it."""
        server = MailServer(tls=self.context, login=LOGIN)
        login = {"user": "robot", "password": Secret("password-canary")}
        await self.send(listening(self, server), require_tls=True, **login)
        (arrived,) = server.mails
        self.assertEqual((arrived.encrypted, arrived.user), (True, "robot"))
        before = server.lines[: server.lines.index(b"STARTTLS")]
        self.assertEqual(before, [b"EHLO hs.example"])

    async def test_forceTLS(self) -> None:
        """With force_tls there is TLS from the beginning, which counts as encryption."""
        server = MailServer(login=LOGIN)
        login = {"user": "robot", "password": Secret("password-canary")}
        port = listening(self, server, self.context)
        await self.send(port, force_tls=True, require_tls=True, starttls=False, **login)
        (arrived,) = server.mails
        self.assertEqual((arrived.encrypted, arrived.user), (True, "robot"))

    async def test_certificates(self) -> None:
        """An untrusted certificate, or one for another name, ends the delivery: no mail is sent, in
        plain neither; tlsname is the name that counts."""
        server = MailServer(tls=self.context)
        port = listening(self, server)
        self.assertIn("SSL_CERT_FILE", await self.deferral(port, None))
        error = await self.deferral(port, tls_name="other.example")
        self.assertIn(
            "made out to another name: if it is the right server, set email.tlsname", error
        )
        self.assertIn("now other.example", error)
        self.assertEqual(server.mails, [])
        await self.send(port, host="127.0.0.1")
        secure = MailServer()
        port = listening(self, secure, self.context)
        self.assertIn("SSL_CERT_FILE", await self.deferral(port, None, force_tls=True))
        error = await self.deferral(port, force_tls=True, tls_name="other.example")
        self.assertIn("email.tlsname", error)
        self.assertEqual(secure.mails, [])

    async def test_startTLSFails(self) -> None:
        """If a server offers STARTTLS and fails at it, the mail is not sent in plain."""
        server = MailServer(tls=self.context)
        port = listening(self, server)
        server.faults = {"STARTTLS": 454}
        self.assertIn("454 to STARTTLS", await self.deferral(port))
        server.faults = {"STARTTLS": DROP}
        self.assertIn("hung up after STARTTLS", await self.deferral(port))
        self.assertEqual(server.mails, [])

    async def test_back(self) -> None:
        """The same mailer fails while the server is down, and delivers when it is up again."""
        self.assertIn("refused", await self.deferral(free_port()))
        server = MailServer()
        port = listening(self, server)
        server.faults = {"greeting": DROP}
        self.assertIn("hung up", await self.deferral(port))
        server.faults = {}
        await self.send(port)
        self.assertEqual(len(server.mails), 1)

    async def test_notTLS(self) -> None:
        """A server without TLS is not trusted if TLS is expected from the beginning."""
        server = MailServer()
        self.assertIn("hung up", await self.deferral(listening(self, server), force_tls=True))
        self.assertEqual(server.mails, [])
