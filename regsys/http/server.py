"""The site of our own listeners, which limits bodies before they are read."""

# Twisted's site and request are not annotated, and ours inherit from them.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from io import BytesIO
from typing import Any, Optional

from twisted.internet.interfaces import IReactorTime
from twisted.web import http, server
from twisted.web.resource import IResource

from regsys.errors import TooLarge
from regsys.http.call import BODY_LIMIT
from regsys.http.channel import Channel, TooManyChunks, Turns
from regsys.http.connections import (
    MOST_CONNECTIONS,
    Connections,
    PeerKeys,
    counted_by_address,
)
from regsys.http.reply import refusal, rendered, write

# A client that reads its answer only after sending its whole body sees the refusal if the body has
# at most so many bytes; a longer one is cut off.
DRAIN_LIMIT = 16 * 1024 * 1024
# One read of a socket may hold ten thousand one-byte chunks, each of which takes time.
MOST_CHUNKS = 1024
IDLE_TIMEOUT_S = 60
# For listeners at which every peer is a client.
CLIENTS = counted_by_address()


def site(
    resource: IResource,
    *,
    clock: IReactorTime,
    connections: Optional[Connections] = None,
    keys: PeerKeys = CLIENTS,
    idle_timeout_s: int = IDLE_TIMEOUT_S,
) -> server.Site:
    """A site for ``resource``, whose clients may send bodies of up to ``BODY_LIMIT`` bytes.

    A connection on which nothing arrives for ``idle_timeout_s`` seconds is closed, unless it is
    waiting for an answer; within a request ``channel.HEAD_S`` and ``BODY_S`` hold. ``connections``
    bounds their number, and may be shared with other sites; if it is None, the site has a generous
    bound of its own. ``keys``: what a peer's connections are counted under. There is no access log:
    queries may hold secrets.
    """
    made = _Site(
        resource,
        requestFactory=_Request,
        parsePOSTFormSubmission=False,
        timeout=idle_timeout_s,
        reactor=clock,
    )
    made.connections = connections or Connections.within(MOST_CONNECTIONS, clock.seconds)
    made.turns = Turns(clock.callLater)
    made.keys = keys
    return made


class _Site(server.Site):
    noisy = False
    # HTTP/1.1 only: the limit below depends on how this channel receives a body.
    protocol = Channel  # type: ignore[assignment]  # declared for the proxy to HTTP/2
    connections: Connections
    turns: Turns
    keys: PeerKeys

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.connections, channel.turns = self.connections, self.turns
        channel.keys = self.keys(addr)
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    def log(self, request: http.Request) -> None:
        """Log nothing: Twisted's line would hold the query."""


class _Request(server.Request):
    """A request whose body is refused as soon as it is known to be too large.

    The answer goes out at once; the rest of the body is read and dropped, because closing the
    connection with unread data could destroy the answer on its way (TCP reset).
    """

    content: BytesIO
    _received = 0
    # The number of chunks so far, or of parts of them; None for a body with a length.
    _chunks: Optional[int] = None
    _refused = False

    def gotLength(self, length: Optional[int]) -> None:
        """Called after the headers. If ``length`` is None, the body is chunked."""
        self.content = BytesIO()
        self._chunks = 0 if length is None else None
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if self._chunks is not None:
            self._chunks += 1
            if self._chunks > MOST_CHUNKS:
                raise TooManyChunks()
        self._received += len(data)
        if self._received > DRAIN_LIMIT:
            self.loseConnection()
        elif self._received > BODY_LIMIT:
            self._refuse()
        elif not self._refused:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refused:
            self.finish()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        if self._refused:
            return
        self._refused = True
        self.content = BytesIO()
        # The channel closes the connection once this request is finished.
        self.channel.persistent = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        # Without this the channel would now ask for the body.
        self.requestHeaders.removeHeader(b"Expect")
        self.clientproto = b"HTTP/1.1"
        reply = refusal(TooLarge())
        write(self, reply, *rendered(reply))
