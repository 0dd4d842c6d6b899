"""Requests to one server over connections that stay open: what a worker has for its master, and an
auth service for its homeserver.

A registration waits for such requests, so each costs a third of what treq and Twisted's agent need.
One request is under way on a connection at a time. A connection that is cut, or whose answer is no
longer waited for, is never used again. No proxy is used.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional
from urllib.parse import urlencode, urlsplit

import attr
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from regsys.outbound.hosts import endpoint_to
from regsys.outbound.http import BODY_LIMIT, Answer, NoAnswer, NotConnected, reason_of

CONNECT_S = 2.0
# Servers close a connection on which nothing arrives for a minute or more.
IDLE_S = 30
HEAD_LIMIT = 16 * 1024
# The chunks of a body and what stands around them.
MOST = HEAD_LIMIT + 2 * BODY_LIMIT
_NONE: Mapping[str, str] = {}
_WITHOUT_BODY = (b"204", b"304")


@attr.define(eq=False, kw_only=True)
class PersistentClient:
    """``host`` is for the header. ``most_idle``: how many connections are kept; those that were
    idle for IDLE_S are not used again. ``at_once``: how many requests may be under way."""

    endpoint: IStreamClientEndpoint
    host: str
    clock: IReactorTime
    most_idle: int
    at_once: int
    # Those that are not in use, with when they were last used: the latest is at the end.
    _idle: list[tuple[_Connection, float]] = attr.field(init=False, factory=list)
    _factory: Any = attr.field(init=False, factory=lambda: Factory.forProtocol(_Connection))
    _under_way: int = attr.field(init=False, default=0)

    @classmethod
    def to_url(cls, reactor: Any, url: str, most_idle: int, at_once: int) -> PersistentClient:
        """For the server of this URL, whose path does not count."""
        parts = urlsplit(url)
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        return cls(
            endpoint=endpoint_to(reactor, host, port, is_tls, CONNECT_S),
            host=parts.netloc,
            clock=reactor,
            most_idle=most_idle,
            at_once=at_once,
        )

    async def get(
        self, url: str, query: Mapping[str, str], headers: Mapping[str, str] = _NONE
    ) -> Answer:
        """``url`` is what the URL has from its path on. The answer, of any status. NoAnswer: no
        connection, or no whole answer on it."""
        path = f"{url}?{urlencode(query)}" if query else url
        return await self._ask(f"GET {path} HTTP/1.1\r\n{self._fields(headers)}\r\n".encode())

    async def send_json(
        self, method: str, url: str, value: Mapping[str, Any], headers: Mapping[str, str] = _NONE
    ) -> Answer:
        """The same, with a body."""
        body = json.dumps(value)  # ASCII
        return await self._ask(
            f"{method} {url} HTTP/1.1\r\n{self._fields(headers)}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def _fields(self, headers: Mapping[str, str]) -> str:
        # A line break in a value, which may be a client's, would begin another field.
        lines = [f"{name}: {' '.join(text.splitlines())}\r\n" for name, text in headers.items()]
        return f"Host: {self.host}\r\nUser-Agent: regsys\r\n{''.join(lines)}"

    async def _ask(self, request: bytes) -> Answer:
        if self._under_way >= self.at_once:
            raise NotConnected("too many requests are waiting for it")
        self._under_way += 1
        try:
            connection = self._take() or await self._connect()
            answer = await connection.ask(request)
        except (CancelledError, NoAnswer):
            raise
        except Exception as error:  # whatever else may go wrong between two machines
            raise NoAnswer(reason_of(error)) from None
        finally:
            self._under_way -= 1
        self._keep(connection)
        return answer

    async def close(self) -> None:
        """Close the connections that are not in use; returns once they are closed."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await connection.close()

    def _take(self) -> Optional[_Connection]:
        latest_s = self.clock.seconds() - IDLE_S
        while self._idle:
            connection, used_s = self._idle.pop()
            if connection.is_usable and used_s > latest_s:
                return connection
            connection.give_up()
        return None

    async def _connect(self) -> _Connection:
        try:
            connection: Any = await self.endpoint.connect(self._factory)
        except CancelledError:
            raise
        except ConnectError as error:
            raise NotConnected(str(error)) from None
        except Exception as error:  # such as a host without an address
            raise NotConnected(reason_of(error)) from None
        assert isinstance(connection, _Connection)
        return connection

    def _keep(self, connection: _Connection) -> None:
        if connection.is_usable and len(self._idle) < self.most_idle:
            self._idle.append((connection, self.clock.seconds()))
        else:
            connection.give_up()


class _Connection(Protocol):
    """``is_usable``: it is open, and both ends know where the next request begins."""

    transport: Any
    is_usable = True
    _answer: Optional[Deferred[Answer]] = None
    _data = b""

    def __init__(self) -> None:
        self._lost: Deferred[None] = Deferred()

    def ask(self, request: bytes) -> Deferred[Answer]:
        self._answer = Deferred(lambda _: self.give_up())
        self.transport.write(request)
        return self._answer

    def give_up(self) -> None:
        self.is_usable = False
        self.transport.abortConnection()

    def close(self) -> Deferred[None]:
        self.is_usable = False
        self.transport.loseConnection()
        return self._lost

    def dataReceived(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.called:  # nothing was asked
            self.give_up()
            return
        self._data += data
        try:
            read = _read(self._data)
        except ValueError as error:
            self.give_up()
            answer.errback(NoAnswer(f"the answer is no HTTP: {error}"))
            return
        if read is not None:
            self._answer, self._data = None, b""
            self.is_usable = read.keeps_open
            answer.callback(read.answer)
        elif len(self._data) > MOST:
            self.give_up()
            answer.errback(NoAnswer(f"the answer is longer than {BODY_LIMIT} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_usable = False
        if self._answer is not None and not self._answer.called:
            self._answer.errback(reason)
        self._lost.callback(None)


@attr.frozen
class _Read:
    """``keeps_open``: whether another request may follow on the connection."""

    answer: Answer
    keeps_open: bool


def _read(data: bytes) -> Optional[_Read]:
    """The answer in this data; None if there is more to come. ValueError if it is none, or one
    whose end only the connection's end would show."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        if len(head) > HEAD_LIMIT:
            raise ValueError("its head is too long")
        return None
    first, *lines = head.split(b"\r\n")
    version, _, status = first.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not status[:3].isdigit():
        raise ValueError("it has no status")
    if status.startswith(b"1"):  # what comes before an answer
        return _read(rest)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    whole: Optional[tuple[bytes, bytes]]
    if status[:3] in _WITHOUT_BODY:
        whole = b"", rest
    elif headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        whole = _unchunked(rest)
    else:
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            raise ValueError("it has no length")
        if int(length) > BODY_LIMIT:
            raise ValueError(f"it is longer than {BODY_LIMIT} bytes")
        whole = None if len(rest) < int(length) else (rest[: int(length)], rest[int(length) :])
    if whole is None:
        return None
    body, left = whole
    is_last = version != b"HTTP/1.1" or headers.get(b"connection", b"").lower() == b"close"
    date = headers[b"date"].decode("latin-1") if b"date" in headers else None
    return _Read(Answer(int(status[:3]), body, date), not is_last and not left)


def _unchunked(data: bytes) -> Optional[tuple[bytes, bytes]]:
    """The body of these chunks, and what follows it; None if there is more to come."""
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return None
        size = int(line.partition(b";")[0], 16)
        if not 0 <= size <= BODY_LIMIT - len(body):
            raise ValueError(f"it is longer than {BODY_LIMIT} bytes")
        if len(data) < size + 2:
            return None
        if not size and data[:2] == b"\r\n":
            return body, data[2:]
        if data[size : size + 2] != b"\r\n":
            raise ValueError("it has wrong chunks, or trailers")
        body, data = body + data[:size], data[size + 2 :]
