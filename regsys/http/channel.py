"""One connection of a client, with limits so that no client delays the others.

Twisted's channel parses HTTP. This one makes the next request of a connection wait for a later turn
of the reactor (threat A26), and gives each request a deadline by which it must have arrived (A27).
"""

# Twisted's channel is not annotated, and ours inherits from it.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any, Callable

import attr
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http

from regsys.http.connections import Connections
from regsys.http.reply import Reply, rendered

# Seconds from the first byte of a request to the end of its headers, and from there to the end of
# its body.
HEAD_S = 10
BODY_S = 30
# Pipelined requests that begin in one turn of the reactor. A page takes a few milliseconds.
A_TURN = 4
# Bytes of the trailers after a chunked body, which we ignore.
TRAILERS_LIMIT = 4096

BAD_REQUEST = Reply({"errcode": "M_UNKNOWN", "error": "This is not a valid HTTP request."}, 400)

log = Logger()


class TooManyChunks(Exception):
    """The body comes in so many chunks that reading them would delay other clients."""


@attr.define(eq=False)
class Turns:
    """Connections whose next request has already arrived. A few of them begin in each turn of the
    reactor, so that new requests of other connections do not wait behind all of them."""

    call_later: Callable[..., Any]
    _waiting: OrderedDict[Channel, None] = attr.field(init=False, factory=OrderedDict)
    _is_called: bool = attr.field(init=False, default=False)

    def add(self, channel: Channel) -> None:
        self._waiting[channel] = None
        if not self._is_called:
            self._is_called = True
            self.call_later(0, self._take)

    def discard(self, channel: Channel) -> None:
        self._waiting.pop(channel, None)

    def _take(self) -> None:
        self._is_called = False
        now = [self._waiting.popitem(last=False)[0] for _ in range(min(A_TURN, len(self._waiting)))]
        if self._waiting:
            self._is_called = True
            self.call_later(0, self._take)
        for channel in now:
            try:
                channel.begin_next_request()
            except Exception:
                # As the reactor does for dataReceived: this connection ends, the others go on.
                log.failure("a request could not be read")
                channel.give_way()


class _State(enum.Enum):
    """What a connection waits for."""

    BETWEEN = enum.auto()  # the first byte of a request
    HEAD = enum.auto()  # the rest of its headers
    BODY = enum.auto()  # the rest of its body
    ANSWER = enum.auto()


# How long, in seconds, the connection waits in each state.
_TIMEOUTS_S = {_State.HEAD: HEAD_S, _State.BODY: BODY_S}


class Channel(http.HTTPChannel):
    """``connections`` and ``turns`` are those of its site; ``keys``: what it is counted under.

    Between two requests ``paused`` keeps LineReceiver from parsing the next one.
    """

    transport: Any
    connections: Connections
    turns: Turns
    keys: tuple[str, ...]
    _state = _State.BETWEEN
    _host: Any = None

    def connectionMade(self) -> None:
        self._idle_s = self.timeOut  # setTimeout will overwrite it
        super().connectionMade()
        if not self.connections.admit(self, self.keys):
            self.give_way()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.turns.discard(self)
        self.connections.closed(self)
        super().connectionLost(reason)

    def getHost(self) -> Any:
        """The address that the client has connected to, cached: each request needs it, and asking
        the operating system takes as long as reading a small request."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def give_way(self) -> None:
        """Close at once: another connection takes this one's place."""
        self.transport.abortConnection()

    # --- Receiving -----------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self.transport.disconnecting:
            return  # TLS still passes on what it has read
        before = self._state
        if before is _State.BETWEEN and not self.paused and (data or self._buffer):
            self._state = _State.HEAD
        LineReceiver.dataReceived(self, data)
        # A request that arrived in one piece is past both states by now.
        if self._state is not before and self._state in _TIMEOUTS_S:
            self.setTimeout(_TIMEOUTS_S[self._state])
            self.connections.mark_arriving(self)
        if self.paused:
            self._pause_if_enough_waits()

    def lineReceived(self, line: bytes) -> None:
        # A folded header, or half an end of a line within one: servers read both in different ways
        # (RFC 9112, 2.2 and 5.2). Twisted refuses the latter since 26.10 only.
        if line[:1] in (b" ", b"\t") or b"\r" in line or b"\n" in line:
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        if line[:1] in b"HhTt" and not self._is_unambiguous(line):
            self._respondToBadRequestAndDisconnect()
            return False
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # A Content-Length of more digits than int() takes.
            self._respondToBadRequestAndDisconnect()
            return False

    def _is_unambiguous(self, line: bytes) -> bool:
        """Whether a proxy before us must read this header as we do: where the request ends, and for
        which host it is. Twisted itself refuses two lengths, and a length beside chunks, but it
        accepts ``identity``."""
        name, _, value = line.lower().partition(b":")
        if name == b"transfer-encoding":
            return value.strip(b" \t") == b"chunked" and self._version == b"HTTP/1.1"
        return name != b"host" or not self.requests[-1].requestHeaders.hasHeader(b"Host")

    def rawDataReceived(self, data: bytes) -> None:
        try:
            super().rawDataReceived(data)
        except TooManyChunks:
            if self.requests[-1].startedWriting:
                self.loseConnection()
            else:
                self._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        decoder: Any = self._transferDecoder
        if self.length is None:
            decoder._maxTrailerHeadersSize = TRAILERS_LIMIT
        super().allHeadersReceived()
        self._state = _State.BODY

    def allContentReceived(self) -> None:
        self._state = _State.ANSWER
        self.connections.mark_busy(self)
        super().allContentReceived()

    # --- What goes out -------------------------------------------------------------------

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """As Twisted's, but in one piece: the transport checks and copies each piece it gets."""
        lines = [b"%b %b %b" % (version, code, reason)]
        # These Headers have removed line breaks from what was put into them.
        for name, values in headers.getAllRawHeaders():
            lines += [b"%b: %b" % (name, value) for value in values]
        self.transport.write(b"\r\n".join((*lines, b"", b"")))

    # --- From one request to the next ----------------------------------------------------

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        if self.connections.is_closing:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))

    def requestDone(self, request: http.Request) -> None:
        self.persistent = self.persistent and not self.connections.is_closing
        # A connection that is about to be closed parses no further request.
        self.paused = bool(self.persistent)
        super().requestDone(request)
        self._state = _State.BETWEEN
        if self.timeOut != self._idle_s:
            self.setTimeout(self._idle_s)
        self.connections.mark_idle(self)
        if self.paused and not (self._buffer or self._waitingForTransport):
            self.paused = False
        if self.paused:
            self._pause_if_enough_waits()
            self.turns.add(self)

    def begin_next_request(self) -> None:
        """Called when the turn of this connection has come."""
        # While the client does not read its answers, it gets no more: ``resumeProducing`` goes on.
        if self._waitingForTransport or self.transport.disconnecting:
            return
        self.paused = False
        self._networkProducer.resumeProducing()
        self.dataReceived(b"")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self.paused:
            self._pause_if_enough_waits()
            self.turns.add(self)

    def _pause_if_enough_waits(self) -> None:
        if self._waitingForTransport or len(self._buffer) > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()

    # --- The end -------------------------------------------------------------------------

    def timeoutConnection(self) -> None:
        # As Twisted's, but without a log line for each slow client.
        if self.transport.disconnecting:
            self.transport.abortConnection()
        else:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()

    def forceAbortClient(self) -> None:
        self._abortingCall = None
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        content, headers = rendered(BAD_REQUEST)
        fields = [(name, value) for name, (value,) in headers]
        fields += [(b"Content-Length", b"%d" % len(content)), (b"Connection", b"close")]
        lines = [
            b"HTTP/1.1 400 Bad Request",
            *(b"%b: %b" % field for field in fields),
            b"",
            content,
        ]
        self.transport.write(b"\r\n".join(lines))
        self.loseConnection()
