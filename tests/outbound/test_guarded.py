"""Requests to hosts that clients name: never to a forbidden network, whatever names resolve to."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any, Sequence

import attr
from twisted.internet import reactor, ssl
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorPluggableNameResolver, IResolutionReceiver
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from regsys.config import ProxiesConfig
from regsys.config.identity_servers import Networks
from regsys.config.proxies import Proxy
from regsys.outbound.guarded import LOOKUPS, GuardedAgent, own_resolver
from regsys.outbound.http import DEADLINE_S, HTTPClient, NoAnswer
from regsys.outbound.measured import HEAD_BYTES
from regsys.testing import config
from regsys.wiring.process import open_process, prepare
from tests.outbound.endless import ENDLESS
from tests.support.patience import PATIENCE_S

PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.1"


@attr.define
class LyingResolver:
    """Resolves every name to the next of ``answers``, as a malicious name server does."""

    answers: list[Sequence[str]]

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *_: Any, **__: Any) -> Any:
        receiver.resolutionBegan(None)
        for host in self.answers.pop(0):
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, port))
        receiver.resolutionComplete()
        return receiver


@implementer(IReactorPluggableNameResolver)
class ResolvingReactor(MemoryReactorClock):
    """A reactor that resolves names by ``nameResolver``; ``tried`` has the addresses that it has
    begun to connect to."""

    def __init__(self, *answers: Sequence[str]) -> None:
        super().__init__()
        self.nameResolver = LyingResolver(list(answers))

    @property
    def tried(self) -> list[str]:
        return [host for host, *_ in self.tcpClients]


class GuardedTests(SynchronousTestCase):
    def ask(self, machine: ResolvingReactor, url: str = "https://id.example/", **more: Any) -> str:
        """Send a request, and wait until it fails; the reason."""
        proxies = more.pop("proxies", ProxiesConfig())
        http = HTTPClient.guarded(machine, proxies, Networks(**more))
        asking = Deferred.fromCoroutine(http.get(url, {}))
        machine.pump([0.5] * int(2 * DEADLINE_S))
        return str(self.failureResultOf(asking, NoAnswer).value)

    def test_forbidden(self) -> None:
        """A name of a forbidden address is not connected to, in whatever form the address is
        written."""
        for host in (
            *("127.0.0.1", PRIVATE, "169.254.169.254", "0.0.0.1", "100.64.0.1", "255.255.255.255"),
            *("::1", "::", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
            *(
                "2002:a00:1::",
                "ff02::1",
                "::a00:1",
                "::ffff:0:a00:1",
                "2001:0:4136:e378::f5ff:fffe",
            ),
            *("100:0:0:1::1", "2001:10::1", "3fff::1", "5f00::1"),
        ):
            machine = ResolvingReactor([host])
            self.assertIn("may not be connected to", self.ask(machine), host)
            self.assertEqual(machine.tried, [], host)

    def test_public(self) -> None:
        """Public addresses are connected to, forbidden ones beside them are not."""
        for host in (PUBLIC, "2606:2800:220:1::1", "64:ff9b::5db8:d822", "2001:200::1"):
            machine = ResolvingReactor([PRIVATE, host, "::1"])
            self.ask(machine)
            self.assertEqual(machine.tried, [host])

    def test_rebinding(self) -> None:
        """A name that resolves to another address the next time is checked again."""
        machine = ResolvingReactor([PUBLIC], [PRIVATE])
        for _ in range(2):
            self.ask(machine)
        self.assertEqual(machine.tried, [PUBLIC])

    def test_literal(self) -> None:
        """An address in the place of a name is checked too."""
        machine = ResolvingReactor(["127.0.0.1"], ["::1"])
        for host in ("127.0.0.1", "[::1]"):
            self.assertIn("may not be connected", self.ask(machine, f"https://{host}:8090/"))

    def test_ownResolver(self) -> None:
        """Names are resolved by the resolver for such hosts, if there is one."""
        machine = ResolvingReactor()
        resolver: Any = LyingResolver([[PUBLIC]])
        http = HTTPClient.guarded(machine, ProxiesConfig(), Networks(), resolver)
        asking = Deferred.fromCoroutine(http.get("https://id.example/", {}))
        machine.pump([0.5] * int(2 * DEADLINE_S))
        self.failureResultOf(asking, NoAnswer)
        self.assertEqual(machine.tried, [PUBLIC])

    def test_exceptions(self) -> None:
        """Allowed exceptions are connected to; another list forbids other networks."""
        machine = ResolvingReactor([PRIVATE], [PUBLIC])
        self.ask(machine, allowed=("10.0.0.0/24",))
        self.ask(machine, denied=("93.0.0.0/8",))
        self.assertEqual(machine.tried, [PRIVATE])

    def test_onlyHTTPS(self) -> None:
        """No request is sent in plain text, or through a proxy, which might resolve the name
        differently."""
        self.assertIn("HTTPS alone", self.ask(ResolvingReactor([PUBLIC]), "http://id.example/"))
        proxies = ProxiesConfig(by_scheme={"https": Proxy("proxy.example", 3128)})
        machine = ResolvingReactor([PUBLIC])
        self.assertIn("a proxy stands before", self.ask(machine, proxies=proxies))
        self.assertEqual(machine.tried, [])


@implementer(IResolutionReceiver)
class RecordingReceiver:
    """The result of a resolver; ``complete`` fires at the end."""

    def __init__(self) -> None:
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolution: Any) -> None:
        """It is never cancelled."""

    def addressResolved(self, address: Any) -> None:
        """All addresses are accepted."""

    def resolutionComplete(self) -> None:
        self.complete.callback(None)


class LookupsTests(TestCase):
    async def test_silentNameServers(self) -> None:
        """Stalled name servers never use up the threads of other lookups, and a waiting thread does
        not keep the process from ending."""
        silent, threads = threading.Event(), []

        def getaddrinfo(*args: Any) -> Any:
            threads.append(threading.current_thread())
            silent.wait(PATIENCE_S)
            return []

        resolver = own_resolver(reactor, getaddrinfo)
        found = [RecordingReceiver() for _ in range(20)]
        try:
            for one in found:
                resolver.resolveHostName(one, "silent.example")
            self.assertEqual(
                await deferToThread(lambda: "free").addTimeout(PATIENCE_S / 2, reactor), "free"
            )
        finally:
            silent.set()
        for one in found:
            await one.complete
        self.assertTrue(all(thread.daemon for thread in threads))
        self.assertEqual(len(set(threads)), LOOKUPS)

    def test_backend(self) -> None:
        """The real client for untrusted hosts has such threads."""
        database = {"name": "sqlite3", "args": {"database": self.mktemp()}}
        chosen = config(database=database)
        prepare(chosen)
        process = open_process(chosen, reactor, b"secret")
        treq: Any = process.guarded_http.treq
        self.assertIsNotNone(treq._agent.agent.resolver)


class Greeter(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"{}"


class SocketTests(TestCase):
    """Over real sockets, to a real server on this machine."""

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
        pem = (folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes()
        certificate = ssl.PrivateCertificate.loadPEM(pem)
        self.connections: list[Any] = []
        site = Site(Greeter())
        build = site.buildProtocol
        site.buildProtocol = lambda addr: self.connections.append(addr) or build(addr)  # type: ignore
        self.options = certificate.options()
        self.listen(site)
        self.policy = BrowserLikePolicyForHTTPS(ssl.trustRootFromCertificates([certificate]))

    def listen(self, factory: Any) -> None:
        port = reactor.listenSSL(0, factory, self.options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"https://localhost:{port.getHost().port}/"

    async def ask(self, networks: Networks) -> Any:
        agent = GuardedAgent(
            reactor=reactor,
            networks=networks,
            proxies=ProxiesConfig(),
            timeout_s=5,
            policy=self.policy,
        )
        return await HTTPClient.over(agent, reactor).get(self.url, {})

    async def test_thisMachine(self) -> None:
        """This machine is not even connected to; as an exception it is, with its certificate
        checked."""
        try:
            await self.ask(Networks())
        except NoAnswer as reason:
            self.assertIn("may not be connected to", str(reason))
        self.assertEqual(self.connections, [])
        answer = await self.ask(Networks(allowed=("127.0.0.0/8", "::1")))
        self.assertEqual((answer.status, len(self.connections)), (200, 1))
        self.policy = BrowserLikePolicyForHTTPS()
        try:
            await self.ask(Networks(allowed=("127.0.0.0/8", "::1")))
        except NoAnswer as reason:
            self.assertIn("does not trust", str(reason))
        else:
            self.fail("an untrusted certificate was accepted")

    async def test_endless(self) -> None:
        """An endless answer is cut off long before the deadline, even where its bytes are not body:
        in headers, in interim answers."""
        for case, endless in ENDLESS.items():
            self.listen(Factory.forProtocol(endless))
            try:
                await self.ask(Networks(allowed=("127.0.0.0/8", "::1")))
            except NoAnswer as reason:
                self.assertIn("the connection failed", str(reason), case)
            self.assertGreater(endless.written, HEAD_BYTES, case)
            self.assertLess(endless.written, 8 * 1024 * 1024, case)
