"""Two ways to send a request to a resource without a socket: as a client would, and byte by
byte."""

from __future__ import annotations

from typing import Any, Optional

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site

from regsys.http import Call, Endpoint, Reply, site


class Echo:
    """An endpoint that keeps its calls and answers all of them with ``reply``."""

    def __init__(self, *paths: str, reply: Optional[Reply] = None) -> None:
        self.calls: list[Call] = []
        self.reply = reply or Reply({"ok": True})
        self.endpoint = Endpoint("echo", paths, {"GET": self.answer, "POST": self.answer})

    async def answer(self, call: Call) -> Reply:
        self.calls.append(call)
        return self.reply


class Answer:
    """A response whose body has arrived."""

    def __init__(self, response: Any, content: bytes) -> None:
        self.code: int = response.code
        self.headers = response.headers
        self.content = content

    def header(self, name: str) -> Optional[str]:
        """The header's only value; None if it isn't there."""
        values = self.headers.getRawHeaders(name)
        if values is None:
            return None
        (value,) = values
        return str(value)


def ask(
    case: SynchronousTestCase, resource: IResource, path: str, method: str = "GET", **more: Any
) -> Answer:
    """Send a request to the resource, as the root of an embedder's own site, and wait for the
    answer."""
    client = StubTreq(resource)
    response = case.successResultOf(client.request(method, f"http://hs.test{path}", **more))
    return Answer(response, case.successResultOf(client.content(response)))


class Wire:
    """A connection to a site of ours, byte by byte. ``clock`` drives its timeouts."""

    def __init__(self, resource: IResource, **more: Any) -> None:
        clock = Clock()
        self._connect(site(resource, clock=clock, **more), clock, "192.0.2.7")

    @classmethod
    def to(cls, site: Site, clock: Clock, host: str = "192.0.2.7") -> Wire:
        """A further connection to a site, from this address."""
        wire = cls.__new__(cls)
        wire._connect(site, clock, host)
        return wire

    def _connect(self, site: Site, clock: Clock, host: str) -> None:
        self.clock, self.site = clock, site
        kind = IPv6Address if ":" in host else IPv4Address
        self.transport = StringTransport(peerAddress=kind("TCP", host, 4711))
        self.channel = site.buildProtocol(self.transport.getPeer())
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send bytes; returns all that has come back since the last time."""
        self.channel.dataReceived(data)
        return self.received()

    def received(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def hang_up(self) -> None:
        self.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting)
