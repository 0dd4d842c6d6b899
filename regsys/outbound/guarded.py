"""A way to hosts that clients name, and to no network of ours (threat B5).

What counts is the address that a connection is made to, at the moment when it is: by then a name
may mean another address than it did when somebody looked.
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

# Once the headers are there, for a body within ``http.BODY_LIMIT`` and how it is sent.
BODY_BYTES = 128 * 1024
# At a time; more of them wait.
LOOKUPS = 5


@implementer(IAgent)
@attr.frozen(kw_only=True)
class GuardedAgent:
    """Asks by HTTPS alone, and never an address that ``networks`` forbid.

    Nor does it by way of a proxy: that would look the name up itself, and what it connects to
    nobody here could see. If ``resolver`` is None, names are found as by anybody else here.
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
    """TLS with a host, over a connection that ``guard`` makes."""

    guard: _Guard
    timeout_s: float
    policy: IPolicyForHTTPS

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        plain = HostEndpoint(self.guard, uri.host, uri.port, self.timeout_s)
        return wrapClientTLS(self.policy.creatorForNetloc(uri.host, uri.port), plain)


class _Daemon(threading.Thread):
    """Ends with the process, whatever it waits for."""

    def start(self) -> None:
        self.daemon = True
        super().start()


class _Threads(ThreadPool):
    threadFactory = _Daemon


def lookups(reactor: Any, getaddrinfo: Any = socket.getaddrinfo) -> IHostnameResolver:
    """Finds hosts by this machine's resolver, in threads of its own: name servers that strangers
    keep silent would else hold up the threads by which we find everybody else."""
    threads = _Threads(0, LOOKUPS, "regsys-lookups")
    threads.start()
    resolver: IHostnameResolver = GAIResolver(reactor, lambda: threads, getaddrinfo)
    return resolver


@implementer(IReactorTCP, IReactorTime, IReactorPluggableNameResolver)
@attr.frozen
class _Guard:
    """A reactor as far as HostEndpoint makes use of one: once a name has been resolved, it
    connects to each address in turn, and every connection begins here."""

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
