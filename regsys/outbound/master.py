"""The connection of a worker to its master: persistent, over TCP, TLS or a Unix socket."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from regsys.config.workers import MasterConfig, WorkerConfig
from regsys.errors import NoMaster, Unavailable
from regsys.model import Secret
from regsys.outbound.http import HTTPClient, NoAnswer

CONNECT_S = 2.0
# The master closes a connection on which nothing arrives for a minute.
IDLE_S = 30
MOST_IDLE = 50
# As many as there may be requests of clients.
AT_ONCE = 10_000


@implementer(IAgentEndpointFactory)
@attr.frozen
class _Socket:
    reactor: Any
    path: str

    def endpointForURI(self, uri: URI) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(self.reactor, self.path, timeout=CONNECT_S)


@attr.define(kw_only=True, eq=False)
class Master:
    """``url`` has no path. No proxy is used. ``pool`` keeps the connections that are not in use."""

    http: HTTPClient
    url: str
    secret: Secret
    pool: Optional[HTTPConnectionPool] = None
    _asking: set[Deferred[Any]] = attr.field(init=False, factory=set)
    _is_given_up: bool = attr.field(init=False, default=False)

    @classmethod
    def on(cls, reactor: Any, worker: WorkerConfig) -> Master:
        """The real one."""
        config = worker.master
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost, pool.cachedConnectionTimeout = MOST_IDLE, IDLE_S
        agent: IAgent
        if config.path is not None:
            agent = Agent.usingEndpointFactory(reactor, _Socket(reactor, config.path), pool)
        else:
            agent = Agent(reactor, connectTimeout=CONNECT_S, pool=pool)
        return attr.evolve(cls.over(HTTPClient.over(agent, reactor), worker), pool=pool)

    @classmethod
    def over(cls, http: HTTPClient, worker: WorkerConfig) -> Master:
        return cls(
            http=attr.evolve(http, at_once=AT_ONCE),
            url=_url(worker.master),
            secret=worker.secret,
        )

    def give_up(self) -> None:
        """This process must end soon: from now on the master is not waited for."""
        self._is_given_up = True
        for asking in list(self._asking):
            asking.cancel()

    async def close(self) -> None:
        """Close the connections that are not in use."""
        if self.pool is not None:
            await self.pool.closeCachedConnections()

    async def ask(self, path: str, body: Mapping[str, Any], seconds: float) -> tuple[int, Any]:
        """POST this; returns the status and the parsed body, None if it is not JSON. NoMaster if
        there is no whole answer within so many seconds, Unavailable after ``give_up``."""
        if self._is_given_up:
            raise Unavailable()
        headers = {"Authorization": f"Bearer {self.secret.reveal()}"}
        asking = Deferred.fromCoroutine(self.http.post_json(self.url + path, body, headers))
        self._asking.add(asking)
        try:
            answer = await asking.addTimeout(seconds, self.http.clock)
        except NoAnswer as error:
            raise NoMaster(str(error)) from None
        except TimeoutError:
            raise NoMaster(f"no answer within {seconds:g} s") from None
        except CancelledError:
            raise Unavailable() from None
        finally:
            self._asking.discard(asking)
        try:
            return answer.status, answer.json()
        except NoAnswer:
            return answer.status, None


def _url(config: MasterConfig) -> str:
    if config.path is not None:
        return "http://localhost"
    host = f"[{config.host}]" if ":" in (config.host or "") else config.host
    return f"{'https' if config.tls else 'http'}://{host}:{config.port}"
