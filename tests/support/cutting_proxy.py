"""A TCP proxy that cuts connections at any byte of what passes through it.

It may stand between any client and any server: for example between your own store and regsys.
``async with cutting_proxy(port) as proxy`` listens on ``proxy.port`` and passes everything on to
the port on loopback. ``proxy.cut("request", 20)`` cuts the connection after the next 20 bytes to
the server, ``proxy.cut("answer", 0)`` before the first byte of its answer; both ends see a reset,
and the next connection is left alone. ``proxy.passed`` counts the bytes of each side.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any, AsyncIterator, Optional

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

HOST = "127.0.0.1"


class CuttingProxy(Factory):
    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.passed: Counter[str] = Counter()
        self.cuts = 0
        self.open: set[_Side] = set()
        self._side = ""
        self._left: Optional[int] = None

    def cut(self, side: str, after: int) -> None:
        """Cut the next connection on which this side (``request`` or ``answer``) sends, after so
        many bytes of it from now on."""
        self._side, self._left = side, after

    def take(self, side: str, data: bytes) -> tuple[bytes, bool]:
        """What may pass of this data, and whether the connection is cut then."""
        self.passed[side] += len(data)
        if side != self._side or self._left is None:
            return data, False
        if len(data) <= self._left and self._left:
            self._left -= len(data)
            if self._left:
                return data, False
        allowed, self._left = data[: self._left] if self._left else b"", None
        self.cuts += 1
        return allowed, True

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Client(self, "request")


class _Side(Protocol):
    """One of the two ends; ``other`` is set once both are connected."""

    transport: Any
    other: Optional[_Side] = None

    def __init__(self, proxy: CuttingProxy, name: str) -> None:
        self.proxy = proxy
        self.name = name
        self.early = b""

    def connectionMade(self) -> None:
        self.proxy.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        allowed, is_cut = self.proxy.take(self.name, data)
        if self.other is None:
            self.early += allowed
        else:
            self.other.transport.write(allowed)
        if is_cut:
            self.end()

    def end(self) -> None:
        self.transport.abortConnection()
        if self.other is not None:
            # Not aborted: what it was allowed has to arrive.
            self.other.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.proxy.open.discard(self)
        if self.other is not None:
            self.other.transport.loseConnection()


class _Client(_Side):
    def connectionMade(self) -> None:
        super().connectionMade()
        end = TCP4ClientEndpoint(reactor, HOST, self.proxy.upstream)
        server = _Side(self.proxy, "answer")
        connectProtocol(end, server).addCallbacks(self._connected, lambda failure: self.end())

    def _connected(self, server: _Side) -> None:
        server.other, self.other = self, server
        server.transport.write(self.early)
        if self not in self.proxy.open:
            server.transport.loseConnection()


@contextlib.asynccontextmanager
async def cutting_proxy(upstream: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(upstream)
    listening = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(proxy)
    proxy.port = listening.getHost().port
    try:
        yield proxy
    finally:
        await listening.stopListening()
        for side in list(proxy.open):
            side.transport.abortConnection()
