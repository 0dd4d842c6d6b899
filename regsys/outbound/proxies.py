"""Requests to other servers, directly or through a proxy.

HTTPS goes through a tunnel (CONNECT, RFC 9110, 9.3.6): the proxy learns only the host's name, and
the certificate is the host's. Plain HTTP is sent to the proxy as a request for the whole URL.
"""

from __future__ import annotations

import re
from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from regsys.config.proxies import ProxiesConfig, Proxy
from regsys.outbound.hosts import DirectEndpoints, HostEndpoint, TLSPolicy
from regsys.outbound.measured import Meter

# Bytes of a proxy's answer to CONNECT.
HEAD_LIMIT = 8 * 1024
# Bytes after the headers, for the longest body that we read (a homeserver's).
BODY_BYTES = 2 * 1024 * 1024


@implementer(IAgent)
@attr.frozen(kw_only=True)
class ProxyingAgent:
    """Sends each request through its proxy of ``proxies``, if any. Connections are not kept: the
    same host is rarely asked twice."""

    reactor: Any
    proxies: ProxiesConfig
    timeout_s: float
    policy: IPolicyForHTTPS = attr.field(factory=TLSPolicy)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        wanted, headers = URI.fromBytes(uri), headers or Headers()
        pool, meter = HTTPConnectionPool(self.reactor, persistent=False), Meter(self.reactor)
        direct = DirectEndpoints(meter, self.policy, self.timeout_s)
        agent: Any = Agent.usingEndpointFactory(self.reactor, direct, pool)
        proxy = self.proxies.proxy_for(wanted.scheme.decode(), wanted.host.decode(), wanted.port)
        if proxy is not None:
            endpoint = self._endpoint(proxy, meter)
            if wanted.scheme == b"https":
                tunnels = _Tunnels(endpoint, proxy.authorization, self.policy)
                agent = Agent.usingEndpointFactory(self.reactor, tunnels, pool)
            else:
                agent = ProxyAgent(endpoint, self.reactor, pool)
                if proxy.authorization is not None:
                    headers.addRawHeader(b"Proxy-Authorization", proxy.authorization)
        return meter.then(agent.request(method, uri, headers, bodyProducer), BODY_BYTES)

    def _endpoint(self, proxy: Proxy, meter: Meter) -> IStreamClientEndpoint:
        host = proxy.host.encode("ascii")
        plain = HostEndpoint(meter, host, proxy.port, self.timeout_s)
        if not proxy.tls:
            return plain
        return wrapClientTLS(self.policy.creatorForNetloc(host, proxy.port), plain)


@implementer(IAgentEndpointFactory)
@attr.frozen
class _Tunnels:
    """TLS endpoints, each through a tunnel of its own."""

    proxy: IStreamClientEndpoint
    authorization: Optional[bytes] = attr.field(repr=False)
    policy: IPolicyForHTTPS

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        tunnel = TunnelEndpoint(self.proxy, _target(uri), self.authorization)
        return wrapClientTLS(self.policy.creatorForNetloc(uri.host, uri.port), tunnel)


def _target(uri: URI) -> bytes:
    host = b"[%s]" % uri.host if b":" in uri.host else uri.host
    return b"%s:%d" % (host, uri.port)


@implementer(IStreamClientEndpoint)
@attr.frozen
class TunnelEndpoint:
    """Connections to ``target`` (``host:port``) through a tunnel of the proxy."""

    proxy: IStreamClientEndpoint
    target: bytes
    authorization: Optional[bytes] = attr.field(default=None, repr=False)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires once the tunnel is open; ConnectError if the proxy opens none."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        opening = _Opening(self.target, self.authorization, factory)
        await self.proxy.connect(Factory.forProtocol(lambda: opening))
        return await opening.opened


class _Opening(Protocol):
    """Asks for the tunnel, and forwards to the inner protocol once it is open. ``opened`` fires
    with the protocol that ``factory`` builds; cancelling it aborts the connection."""

    transport: Any = None

    def __init__(
        self, target: bytes, authorization: Optional[bytes], factory: IProtocolFactory
    ) -> None:
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._give_up())
        self._target = target
        self._authorization = authorization
        self._factory = factory
        self._head = b""
        self._inner: Optional[IProtocol] = None

    def connectionMade(self) -> None:
        lines = [b"CONNECT %s HTTP/1.1" % self._target, b"Host: " + self._target]
        if self._authorization is not None:
            lines.append(b"Proxy-Authorization: " + self._authorization)
        self.transport.write(b"\r\n".join([*lines, b"", b""]))

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(head) > HEAD_LIMIT:
                self._refuse("the proxy talks no HTTP")
        elif re.match(rb"HTTP/1\.[01] 2\d\d\b", head):
            self._hand_over(rest)
        else:
            self._refuse("the proxy refuses")

    def _hand_over(self, rest: bytes) -> None:
        inner = self._factory.buildProtocol(self.transport.getPeer())
        if inner is None:
            self._refuse("the tunnel is not needed any more")
            return
        self._inner = inner
        inner.makeConnection(self.transport)
        self.opened.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(ConnectError(string="the proxy hung up"))

    def _refuse(self, why: str) -> None:
        self._give_up()
        if not self.opened.called:
            self.opened.errback(ConnectError(string=why))

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()
