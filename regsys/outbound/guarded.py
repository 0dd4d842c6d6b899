"""Requests to hosts that clients name, which must not reach a private network (threat B5).

The guard checks the address of each connection when it is made: a name may resolve to another
address by then than it did in an earlier check (DNS rebinding).
"""

from __future__ import annotations

import socket
import threading
from typing import Any, Optional

import attr
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IConnector,
    IHostnameResolver,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.python.threadpool import ThreadPool
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from regsys.config.identity_servers import Networks
from regsys.config.proxies import ProxiesConfig
from regsys.outbound.hosts import HostEndpoint, TLSPolicy
from regsys.outbound.measured import Meter

# Bytes after the headers: a body within ``http.BODY_LIMIT`` and its framing.
BODY_BYTES = 128 * 1024
# Name look-ups at a time; more of them wait.
LOOKUPS = 5


@implementer(IAgent)
@attr.frozen(kw_only=True)
class GuardedAgent:
    """Sends requests by HTTPS alone, and never to an address that ``networks`` forbid.

    It uses no proxy: a proxy would resolve the name itself, and its connection could not be
    checked. If ``resolver`` is None, the reactor's is used.
    """

    reactor: Any
    networks: Networks
    proxies: ProxiesConfig
    timeout_s: float
    resolver: Optional[IHostnameResolver] = None
    policy: IPolicyForHTTPS = attr.field(factory=TLSPolicy)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        wanted = URI.fromBytes(uri)
        if wanted.scheme != b"https":
            return fail(ConnectError(string="hosts that clients name are asked by HTTPS alone"))
        if self.proxies.proxy_for("https", wanted.host.decode(), wanted.port) is not None:
            return fail(ConnectError(string="a proxy stands before hosts that clients name"))
        resolver = self.reactor.nameResolver if self.resolver is None else self.resolver
        meter = Meter(self.reactor)
        guard = _Guard(meter, self.networks, resolver)
        endpoints = _Endpoints(guard, self.timeout_s, self.policy)
        pool = HTTPConnectionPool(self.reactor, persistent=False)
        agent: Any = Agent.usingEndpointFactory(self.reactor, endpoints, pool)
        return meter.then(agent.request(method, uri, headers, bodyProducer), BODY_BYTES)


@implementer(IAgentEndpointFactory)
@attr.frozen
class _Endpoints:
    """TLS endpoints, over connections that ``guard`` makes."""

    guard: _Guard
    timeout_s: float
    policy: IPolicyForHTTPS

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        plain = HostEndpoint(self.guard, uri.host, uri.port, self.timeout_s)
        return wrapClientTLS(self.policy.creatorForNetloc(uri.host, uri.port), plain)


class _Daemon(threading.Thread):
    """A thread that does not keep the process alive, whatever it waits for."""

    def start(self) -> None:
        self.daemon = True
        super().start()


class _Threads(ThreadPool):
    threadFactory = _Daemon


def own_resolver(reactor: Any, getaddrinfo: Any = socket.getaddrinfo) -> IHostnameResolver:
    """This machine's resolver, in threads of its own: a stranger's name server that stalls would
    else block the threads in which all other names are resolved."""
    threads = _Threads(0, LOOKUPS, "regsys-lookups")
    threads.start()
    resolver: IHostnameResolver = GAIResolver(reactor, lambda: threads, getaddrinfo)
    return resolver


@implementer(IReactorTCP, IReactorTime, IReactorPluggableNameResolver)
@attr.frozen
class _Guard:
    """A reactor for HostEndpoint: each connection, to any address that a name resolves to, begins
    here and is checked."""

    reactor: Any
    networks: Networks
    nameResolver: IHostnameResolver

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: IProtocolFactory,
        timeout: float = 30,
        bindAddress: Optional[tuple[str, int]] = None,
    ) -> IConnector:
        if self.networks.forbids(host):
            raise ConnectError(string="this address may not be connected to")
        connector: IConnector = self.reactor.connectTCP(host, port, factory, timeout, bindAddress)
        return connector

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reactor, name)


def resolve_apart(reactor: Any) -> None:
    """Have all names resolved in threads of their own (threat C23): modules use the reactor's, for
    calls that may block for ever. A resolver that somebody else has installed stays."""
    if isinstance(reactor.nameResolver, GAIResolver):
        reactor.installNameResolver(own_resolver(reactor))
