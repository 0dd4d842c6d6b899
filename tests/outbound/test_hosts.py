"""Hosts that resolvers know and IDNA refuses: over plain HTTP, over TLS, by a proxy, for mails."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any, Optional

from twisted.internet import reactor, ssl
from twisted.internet._resolver import GAIResolver
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from regsys.config import ProxiesConfig
from regsys.config.identity_servers import Networks
from regsys.config.proxies import Proxy
from regsys.outbound.email import SMTPMailer
from regsys.outbound.guarded import GuardedAgent
from regsys.outbound.hosts import TLSPolicy
from regsys.outbound.http import HTTPClient, NoAnswer
from regsys.outbound.proxies import ProxyingAgent
from tests.doubles.smtp import MailServer, listening
from tests.outbound.smtp_case import email_config, mail

# An underscore, hyphens where IDNA allows none, and an ordinary name.
HOSTS = ("mail_relay", "_sip.a_b.example", "r3---sn.example", "plain.example")


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"hello " + request.getHeader("host").encode()


class HostsTests(TestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        names = ",".join(f"DNS:{host}" for host in HOSTS)
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            f" -keyout key.pem -out cert.pem -subj /CN=x -addext subjectAltName={names}".split(),
            cwd=folder,
            check=True,
            capture_output=True,
        )
        pem = (folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes()
        self.certificate = ssl.PrivateCertificate.loadPEM(pem)
        self.trusted = ssl.trustRootFromCertificates([self.certificate])
        self.asked: list[str] = []
        resolver: Any = GAIResolver(reactor, reactor.getThreadPool, self.getaddrinfo)  # type: ignore[attr-defined]
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(resolver))  # type: ignore[attr-defined]

    def getaddrinfo(self, host: str, port: int, *rest: Any) -> Any:
        self.asked.append(host)
        return socket.getaddrinfo("127.0.0.1", port, *rest)

    def listen(self, *, tls: bool) -> int:
        site = Site(Hello())
        if tls:
            port = reactor.listenSSL(0, site, self.certificate.options(), interface="127.0.0.1")  # type: ignore[attr-defined]
        else:
            port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def get(self, url: str, proxies: Optional[ProxiesConfig] = None) -> bytes:
        agent = ProxyingAgent(
            reactor=reactor,
            proxies=proxies or ProxiesConfig(),
            timeout_s=5,
            policy=TLSPolicy(self.trusted),
        )
        return (await HTTPClient.over(agent, reactor).get(url, {})).body  # type: ignore[arg-type]

    async def test_http(self) -> None:
        """Each host is resolved under the name as written, and answers."""
        port = self.listen(tls=False)
        for host in HOSTS:
            self.assertEqual(
                await self.get(f"http://{host}:{port}/"), f"hello {host}:{port}".encode()
            )
        self.assertEqual(self.asked, list(HOSTS))

    async def test_tls(self) -> None:
        """Its certificate must be for it; one for another name is refused."""
        port = self.listen(tls=True)
        for host in HOSTS:
            self.assertEqual(
                await self.get(f"https://{host}:{port}/"), f"hello {host}:{port}".encode()
            )
        for wrong in ("other_host", "host.invalid", "plain_.example"):
            with self.assertRaises(NoAnswer) as caught:
                await self.get(f"https://{wrong}:{port}/")
            self.assertIn("another name", str(caught.exception))

    async def test_untrusted(self) -> None:
        """An untrusted certificate for the right name is refused."""
        self.trusted = ssl.platformTrust()
        with self.assertRaises(NoAnswer) as caught:
            await self.get(f"https://mail_relay:{self.listen(tls=True)}/")
        self.assertIn("does not trust", str(caught.exception))

    async def test_proxy(self) -> None:
        """A proxy may have such a name as well."""
        port = self.listen(tls=False)
        proxies = ProxiesConfig(by_scheme={"http": Proxy("web_proxy", port)})
        self.assertEqual(
            await self.get("http://far_away.example/", proxies), b"hello far_away.example"
        )
        self.assertEqual(self.asked, ["web_proxy"])

    async def test_guarded(self) -> None:
        """Hosts that clients name work with such names, too."""
        port = self.listen(tls=True)
        agent = GuardedAgent(
            reactor=reactor,
            networks=Networks(allowed=("127.0.0.0/8",)),
            proxies=ProxiesConfig(),
            timeout_s=5,
            policy=TLSPolicy(self.trusted),
        )
        answer = await HTTPClient.over(agent, reactor).get(f"https://r3---sn.example:{port}/", {})  # type: ignore[arg-type]
        self.assertEqual(answer.status, 200)

    async def test_mails(self) -> None:
        """A mail server with an underscore gets the mail, under TLS with its own name."""
        server = MailServer(tls=self.certificate.options())
        port = listening(self, server)
        config = email_config(host="mail_relay", tls_name="mail_relay", port=port, require_tls=True)
        await SMTPMailer.on(reactor, config, "hs.example", self.trusted).send(mail())
        self.assertEqual([mail.encrypted for mail in server.mails], [True])
