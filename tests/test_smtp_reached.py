"""The checks of ``check-config --connect`` on a mail server."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.threads import deferToThread

from regsys.cli.connect import _ask_smtp
from regsys.cli.peers import Unreachable
from tests.doubles.smtp import MailServer, listening
from tests.outbound import test_email
from tests.outbound.smtp_case import email_config

# The kinds of TLS: by STARTTLS, or from the beginning.
KINDS: tuple[dict[str, Any], ...] = ({}, {"force_tls": True})


class ReachedTests(test_email.SocketCase):
    async def ask(self, **changed: Any) -> None:
        """A server with TLS of this kind, and a certificate for localhost."""
        force_tls = changed.get("force_tls", False)
        server = MailServer(tls=None if force_tls else self.context)
        port = listening(self, server, self.context if force_tls else None)
        named = {"host": "localhost", "tls_name": "localhost", "port": port}
        await deferToThread(_ask_smtp, email_config(**{**named, **changed}))

    async def test_good(self) -> None:
        """It is reached if its certificate is valid for mails."""
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(self.certificate)
        if before is None:
            self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        else:
            self.addCleanup(os.environ.__setitem__, "SSL_CERT_FILE", before)
        for kind in KINDS:
            await self.ask(**kind)

    async def test_noCertificateWanted(self) -> None:
        """Without TLS its certificate is not checked."""
        await self.ask(starttls=False)

    async def test_certificate(self) -> None:
        """A certificate with which no mail would be sent is reported, with the option."""
        for kind in KINDS:
            with self.assertRaises(Unreachable) as caught:
                await self.ask(**kind)
            self.assertIn("email.tlsname", str(caught.exception))
            self.assertIn("self", str(caught.exception))  # self-signed
