"""Other servers through a proxy, over real sockets: TLS is end-to-end behind the tunnel."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Optional

from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import Site

from regsys.config import ProxiesConfig
from regsys.config.proxies import Proxy
from regsys.outbound.http import DEADLINE_S, HTTPClient, NoAnswer
from regsys.outbound.proxies import ProxyingAgent

PASSWORD = b"Basic bWU6Y2FuYXJ5"


class Echo(Resource):
    """Answers with the body of the request; ``headers`` are those of the last request."""

    isLeaf = True
    headers: Any = None

    def render_POST(self, request: Any) -> bytes:
        self.headers = request.requestHeaders
        return bytes(request.uri + b" " + request.content.read())


class TunnelProxy(Protocol):
    """A proxy that opens one tunnel, to ``port`` whatever the request names."""

    heads: list[bytes]
    port: int
    answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"

    def __init__(self) -> None:
        self.far: Optional[Protocol] = None
        self.early = b""

    def dataReceived(self, data: bytes) -> None:
        if self.far is not None:
            self.far.transport.write(data)
            return
        self.heads.append(data)
        if b" 200 " not in self.answer:
            self.transport.write(self.answer)
            return
        near, far = self, Protocol()
        far.dataReceived = lambda data: near.transport.write(data)  # type: ignore[method-assign]
        far.connectionLost = lambda *_: near.transport.loseConnection()  # type: ignore[method-assign]
        connecting = HostnameEndpoint(reactor, b"127.0.0.1", self.port).connect(
            Factory.forProtocol(lambda: far)
        )
        connecting.addCallback(self.open)

    def open(self, far: Any) -> None:
        self.far = far
        self.transport.write(self.answer)

    def connectionLost(self, *_: Any) -> None:
        if self.far is not None:
            self.far.transport.loseConnection()


class ProxiesTests(TestCase):
    def setUp(self) -> None:
        self.echo, self.heads = Echo(), []
        folder = Path(self.mktemp())
        folder.mkdir()
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            " -keyout key.pem -out cert.pem -subj /CN=other.example"
            " -addext subjectAltName=DNS:other.example".split(),
            cwd=folder,
            check=True,
            capture_output=True,
        )
        pem = (folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes()
        self.certificate = ssl.PrivateCertificate.loadPEM(pem)
        tls = self.certificate.options()
        secure = self.listen(lambda site: reactor.listenSSL(0, site, tls, interface="127.0.0.1"))
        plain = self.listen(lambda site: reactor.listenTCP(0, site, interface="127.0.0.1"))
        tunnel = type("Tunnel", (TunnelProxy,), {"heads": self.heads, "port": secure})
        self.tunnel: Any = tunnel
        proxy = reactor.listenTCP(0, Factory.forProtocol(tunnel), interface="127.0.0.1")
        self.addCleanup(proxy.stopListening)
        self.proxies = ProxiesConfig(
            by_scheme={
                "https": Proxy("127.0.0.1", proxy.getHost().port, authorization=PASSWORD),
                "http": Proxy("127.0.0.1", plain, authorization=PASSWORD),
            }
        )
        self.trusted = ssl.trustRootFromCertificates([self.certificate])

    def listen(self, listen: Any) -> int:
        port = listen(Site(self.echo))
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def ask(self, url: str) -> Deferred[Any]:
        policy = BrowserLikePolicyForHTTPS(self.trusted)
        agent = ProxyingAgent(reactor=reactor, proxies=self.proxies, timeout_s=5, policy=policy)
        return Deferred.fromCoroutine(HTTPClient.over(agent, reactor).post_form(url, {"a": "b"}))

    async def no_answer(self, url: str = "https://other.example/") -> str:
        try:
            await self.ask(url)
        except NoAnswer as reason:
            return str(reason)
        raise AssertionError("there was an answer")

    async def test_tunnel(self) -> None:
        """HTTPS goes through the tunnel: the proxy gets the host's name alone and its own password,
        which the host does not get."""
        answer = await self.ask("https://other.example/x?y=z")
        self.assertEqual((answer.status, answer.body), (200, b"/x?y=z a=b"))
        (head,) = self.heads
        self.assertTrue(head.startswith(b"CONNECT other.example:443 HTTP/1.1\r\nHost: other"))
        self.assertIn(b"\r\nProxy-Authorization: " + PASSWORD + b"\r\n", head)
        self.assertFalse(self.echo.headers.hasHeader("proxy-authorization"))

    async def test_certificate(self) -> None:
        """A tunnel does not replace the certificate check: the certificate must be the host's."""
        self.assertIn("another name", await self.no_answer("https://wrong.example/"))
        self.trusted = ssl.platformTrust()
        self.assertIn("does not trust", await self.no_answer())
        self.assertIsNone(self.echo.headers)

    async def test_noTunnel(self) -> None:
        """A proxy that refuses, or answers something else, is an error."""
        for answer, why in (
            (b"HTTP/1.1 407 Who?\r\n\r\n", "the proxy refuses"),
            (b"HTTP/1.1 2000 Yes\r\n\r\n", "the proxy refuses"),
            (b"SSH-2.0\r\n\r\n", "the proxy refuses"),
            (b"x" * 9000, "the proxy talks no HTTP"),
        ):
            self.tunnel.answer = answer
            self.assertIn(why, await self.no_answer())

    def test_silence(self) -> None:
        """A stalled proxy is given up at the one deadline."""
        memory = MemoryReactorClock()
        proxies = ProxiesConfig(by_scheme={"https": Proxy("192.0.2.1", 3128)})
        http = HTTPClient.on(memory, proxies)
        asking = Deferred.fromCoroutine(http.post_form("https://other.example/", {}))
        ((_, port, factory, *_),) = memory.tcpClients
        self.assertEqual(port, 3128)
        transport = StringTransport()
        factory.buildProtocol(None).makeConnection(transport)
        self.assertIn(b"CONNECT other.example:443", transport.value())
        memory.advance(DEADLINE_S)
        self.failureResultOf(asking, NoAnswer)
        self.assertTrue(transport.disconnected or transport.disconnecting)

    async def test_plain(self) -> None:
        """HTTP is fetched by the proxy, which gets the whole URL."""
        answer = await self.ask("http://other.example/x")
        self.assertEqual(answer.body, b"http://other.example/x a=b")
        got = self.echo.headers.getRawHeaders(b"proxy-authorization")
        self.assertEqual(got, [PASSWORD])
        self.assertEqual(self.heads, [])

    async def test_directly(self) -> None:
        """A host that is excepted from the proxy is asked directly."""
        port = self.proxies.by_scheme["http"].port
        self.proxies = ProxiesConfig(by_scheme=self.proxies.by_scheme, direct=("127.0.0.1",))
        answer = await self.ask(f"http://127.0.0.1:{port}/x")
        self.assertEqual(answer.body, b"/x a=b")
        self.assertFalse(self.echo.headers.hasHeader("proxy-authorization"))
