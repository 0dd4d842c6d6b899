"""Connections that limit how many bytes a server may send (threat B5, C9).

Twisted's client reads any number of header lines and of interim (1xx) responses. All bytes are
counted as they arrive, so that no part of HTTP or TLS goes uncounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, TypeVar

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConnector,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

# Before the body: TLS, interim responses, headers, and as much of the body as arrives with the last
# of them, which is one read of a socket at most (64 KiB).
HEAD_BYTES = 128 * 1024

_Response = TypeVar("_Response")


@implementer(IReactorTCP, IReactorTime, IReactorPluggableNameResolver)
@attr.define(eq=False)
class Meter:
    """A reactor for one request, for HostnameEndpoint: counts the bytes that its connections
    receive, and closes them after too many."""

    reactor: Any
    left: int = HEAD_BYTES

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: IProtocolFactory,
        timeout: float = 30,
        bindAddress: Optional[tuple[str, int]] = None,
    ) -> IConnector:
        counted = _Counted(factory, self)
        connector: IConnector = self.reactor.connectTCP(host, port, counted, timeout, bindAddress)
        return connector

    def then(self, asked: Deferred[_Response], body_bytes: int) -> Deferred[_Response]:
        """``asked`` fires when the headers have arrived; from then on ``body_bytes`` may follow."""

        def begin_body(response: _Response) -> _Response:
            self.left = body_bytes
            return response

        return asked.addCallback(begin_body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reactor, name)


class _Counting(ProtocolWrapper):
    factory: _Counted

    def dataReceived(self, data: bytes) -> None:
        meter = self.factory.meter
        meter.left -= len(data)
        if meter.left < 0:
            self.abortConnection()
        else:
            self.wrappedProtocol.dataReceived(data)


if TYPE_CHECKING:
    _Factory = WrappingFactory[_Counting]
else:
    _Factory = WrappingFactory  # Twisted's is generic since 26.4 only


class _Counted(_Factory):
    protocol = _Counting
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, meter: Meter) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]  # Twisted's
        self.meter = meter
