"""The connection of a worker to its master: persistent, over TCP, TLS or a Unix socket."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

import attr
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from regsys.config.workers import MasterConfig, WorkerConfig
from regsys.errors import NoMaster, Unavailable
from regsys.model import Secret
from regsys.outbound.hosts import endpoint_to, netloc
from regsys.outbound.http import HTTPClient, JSONClient, NoAnswer
from regsys.outbound.persistent import CONNECT_S, PersistentClient

MOST_IDLE = 50
# As many as there may be requests of clients.
AT_ONCE = 10_000


async def _nothing_to_close() -> None:
    pass


@attr.define(kw_only=True, eq=False)
class Master:
    """``url`` is what the URL has before the path, as far as ``http`` does not know it itself.
    ``close`` closes the connections that are not in use."""

    http: JSONClient
    secret: Secret
    url: str = ""
    close: Callable[[], Awaitable[None]] = _nothing_to_close
    _asking: set[Deferred[Any]] = attr.field(init=False, factory=set)
    _is_given_up: bool = attr.field(init=False, default=False)

    @classmethod
    def on(cls, reactor: Any, worker: WorkerConfig) -> Master:
        """The real one. No proxy is used."""
        config = worker.master
        http = PersistentClient(
            endpoint=_endpoint(reactor, config),
            host=_netloc(config),
            clock=reactor,
            most_idle=MOST_IDLE,
            at_once=AT_ONCE,
        )
        return cls(http=http, secret=worker.secret, close=http.close)

    @classmethod
    def over(cls, http: HTTPClient, worker: WorkerConfig) -> Master:
        """One whose requests ``http`` sends."""
        url = f"{'https' if worker.master.tls else 'http'}://{_netloc(worker.master)}"
        return cls(http=attr.evolve(http, at_once=AT_ONCE), url=url, secret=worker.secret)

    def give_up(self) -> None:
        """This process must end soon: from now on the master is not waited for."""
        self._is_given_up = True
        for asking in list(self._asking):
            asking.cancel()

    async def ask(self, path: str, body: Mapping[str, Any], seconds: float) -> tuple[int, Any]:
        """POST this; returns the status and the parsed body, None if it is not JSON. NoMaster if
        there is no whole answer within so many seconds, Unavailable after ``give_up``."""
        if self._is_given_up:
            raise Unavailable()
        headers = {"Authorization": f"Bearer {self.secret.reveal()}"}
        asking = Deferred.fromCoroutine(self.http.send_json("POST", self.url + path, body, headers))
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


def _endpoint(reactor: Any, config: MasterConfig) -> IStreamClientEndpoint:
    if config.path is not None:
        return UNIXClientEndpoint(reactor, config.path, timeout=CONNECT_S)
    assert config.host is not None and config.port is not None
    return endpoint_to(reactor, config.host, config.port, config.tls, CONNECT_S)


def _netloc(config: MasterConfig) -> str:
    if config.host is None or config.port is None:
        return "localhost"
    return netloc(config.host, config.port)
