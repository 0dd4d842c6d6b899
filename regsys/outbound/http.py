"""The one client with which regsys asks other servers (threat B5, C9): treq, with bounds.

No redirect is followed, no cookie kept. An answer is small and comes soon, or it is none. Addresses
from the configuration are used as written; those that clients name are asked by a guarded client.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Protocol, Sequence, Union

import attr
import treq.client
from hyperlink import EncodedURL
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHostnameResolver, IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from regsys.config.identity_servers import Networks
from regsys.config.proxies import ProxiesConfig
from regsys.errors import NoAnswer as NoAnswer
from regsys.outbound.guarded import GuardedAgent
from regsys.outbound.hosts import certificate_problem
from regsys.outbound.proxies import ProxyingAgent

# Connect, headers and body together.
DEADLINE_S = 10.0
BODY_LIMIT = 64 * 1024
# A host that stalls must not eat up our sockets, however many people wait for it.
AT_ONCE = 100
_NONE: Mapping[str, str] = {}
# Names with their values; as pairs where a name comes more than once.
Query = Union[Mapping[str, str], Sequence[tuple[str, str]]]
_OURS = {"User-Agent": "regsys"}


class NotConnected(NoAnswer):
    """There was no connection: nothing was sent."""


@attr.frozen
class Answer:
    """An answer of any status. ``date``: its header of this name. ``is_repeated``: the request was
    sent before, and may have been carried out then."""

    status: int
    body: bytes = attr.field(repr=False)
    date: Optional[str] = None
    is_repeated: bool = False

    def json(self) -> Any:
        """The body as JSON; NoAnswer if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise NoAnswer("the answer is not JSON") from None


class JSONClient(Protocol):
    """What asks one server by JSON: an HTTPClient, or a PersistentClient, whose URLs begin with the
    path. NoAnswer: there is none, or not in time."""

    clock: IReactorTime

    async def get(self, url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Its answer, of any status."""

    async def send_json(
        self, method: str, url: str, value: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Answer:
        """The same, with a body."""


class URLAsWritten(EncodedURL):
    """A URL whose host only the resolver judges: treq passes each name through IDNA, which refuses
    addresses of IPv6, and underscores (see ``outbound/hosts.py``)."""

    def to_uri(self) -> URLAsWritten:
        return self


@implementer(IAgent)
@attr.frozen
class PlainAgent:
    """An agent for treq that asks for no compressed answer, and keeps the headers of answers from
    treq. Otherwise it would unpack what is compressed, however much that becomes, before anybody
    can count it, and would keep cookies."""

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        headers.removeHeader(b"Accept-Encoding")
        asking: Deferred[IResponse] = self.agent.request(method, uri, headers, bodyProducer)
        return asking.addCallback(_without_headers)


def _without_headers(response: IResponse) -> IResponse:
    dates = response.headers.getRawHeaders(b"Date", ())
    response.headers = Headers({b"Date": dates} if dates else {})
    return response


@attr.define(eq=False)
class HTTPClient:
    """``treq`` sends the requests: ``over`` makes it of an agent, ``treq.testing.StubTreq`` stands
    for one. ``clock`` counts the deadline.

    ``attr.evolve`` of one has places of its own, and may have other bounds: a server that is
    often asked, and then stalls, must not take those of the others.
    """

    treq: treq.client.HTTPClient
    clock: IReactorTime
    at_once: int = AT_ONCE
    deadline_s: float = DEADLINE_S
    body_limit: int = BODY_LIMIT
    _under_way: int = attr.field(default=0, init=False)

    @classmethod
    def over(cls, agent: IAgent, clock: IReactorTime) -> HTTPClient:
        """One whose requests ``agent`` sends, which verifies certificates as Twisted's own does."""
        return cls(treq.client.HTTPClient(PlainAgent(agent)), clock)

    @classmethod
    def on(cls, reactor: Any, proxies: ProxiesConfig) -> HTTPClient:
        """The real one, for addresses from the configuration."""
        agent = ProxyingAgent(reactor=reactor, proxies=proxies, timeout_s=DEADLINE_S)
        return cls.over(agent, reactor)

    @classmethod
    def guarded(
        cls,
        reactor: Any,
        proxies: ProxiesConfig,
        networks: Networks,
        resolver: Optional[IHostnameResolver] = None,
    ) -> HTTPClient:
        """The real one, for hosts that clients name. If ``resolver`` is None, the reactor's."""
        agent = GuardedAgent(
            reactor=reactor,
            networks=networks,
            proxies=proxies,
            timeout_s=DEADLINE_S,
            resolver=resolver,
        )
        return cls.over(agent, reactor)

    def apart(self) -> HTTPClient:
        """The same with places of its own, which no other service that stalls can take."""
        return HTTPClient(self.treq, self.clock, self.at_once)

    async def post_form(
        self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] = _NONE
    ) -> Answer:
        """POST the fields as a form does. NoAnswer: unreachable, too slow, too long."""
        return await self._ask("POST", url, headers, data=dict(fields))

    async def post_json(
        self, url: str, value: Mapping[str, Any], headers: Mapping[str, str] = _NONE
    ) -> Answer:
        """The same, with a JSON body."""
        return await self.send_json("POST", url, value, headers)

    async def send_json(
        self, method: str, url: str, value: Mapping[str, Any], headers: Mapping[str, str] = _NONE
    ) -> Answer:
        """The same by another method, such as PUT."""
        # Not treq's ``json``: that adds a charset, which JSON's type does not have (RFC 8259, 11).
        kind = {"Content-Type": "application/json"}
        sent = json.dumps(value).encode("ascii")
        return await self._ask(method, url, {**headers, **kind}, data=sent)

    async def get(self, url: str, query: Query, headers: Mapping[str, str] = _NONE) -> Answer:
        """GET, with this query. NoAnswer: the same."""
        return await self._ask("GET", url, headers, params=query)

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], **sent: Any) -> Answer:
        if self._under_way >= self.at_once:
            raise NotConnected("too many requests are waiting for other servers")
        self._under_way += 1
        try:
            asking = Deferred.fromCoroutine(self._exchange(method, url, headers, **sent))
            return await asking.addTimeout(self.deadline_s, self.clock, _too_slow)
        except NoAnswer:
            raise
        except ConnectError as error:
            raise NotConnected(str(error)) from None
        except Exception as error:
            # Whatever else may go wrong between two machines. The kind says enough: the text
            # of some quotes what was sent.
            raise NoAnswer(reason_of(error)) from None
        finally:
            self._under_way -= 1

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], **sent: Any
    ) -> Answer:
        response = await self.treq.request(
            method,
            URLAsWritten.from_text(url),
            headers=Headers({name: [value] for name, value in {**_OURS, **headers}.items()}),
            allow_redirects=False,
            unbuffered=True,
            **sent,
        )
        dates = response.headers.getRawHeaders("Date") or (None,)
        return Answer(response.code, await _read(response, self.body_limit), dates[0])


def _too_slow(result: object, seconds: float) -> Failure:
    return Failure(NoAnswer(f"no answer within {seconds:g} s"))


def reason_of(error: Exception) -> str:
    """The class of an error; where Twisted wraps a list of reasons, those of the reasons."""
    reasons: Any = getattr(error, "reasons", None) or [Failure(error)]
    for reason in reasons:
        problem = certificate_problem(reason)
        if problem is not None:
            return f"it has a certificate that {problem}"
    kinds = ", ".join(reason.type.__name__ for reason in reasons)
    return f"the connection failed, or is no HTTP: {kinds}"


def _read(response: IResponse, limit: int) -> Deferred[bytes]:
    reader = _Reader(limit)
    response.deliverBody(reader)
    return reader.body


class _Reader(protocol.Protocol):
    """Collects a body as long as it is short, into ``body``; cancelling that closes the connection,
    which it would not with ``treq.collect``."""

    transport: Any

    def __init__(self, limit: int) -> None:
        self.body: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())
        self._limit = limit
        self._read = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self.body.called:
            return
        self._read += data
        if len(self._read) > self._limit:
            self.body.errback(NoAnswer(f"the answer is longer than {self._limit} bytes"))
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if self.body.called:
            return
        # PotentialDataLoss: an old server ends its answer by closing the connection.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.body.callback(bytes(self._read))
        else:
            self.body.errback(reason)
