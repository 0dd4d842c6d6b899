"""The site of our own listeners: limits that hold before a body is read."""

# Twisted's site and request are not annotated, and ours inherit from them.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from io import BytesIO
from typing import Optional

from twisted.internet.interfaces import IReactorTime
from twisted.web import http, server
from twisted.web.resource import IResource

from regsys.errors import TooLarge
from regsys.http.call import BODY_LIMIT
from regsys.http.reply import refusal, rendered, write

# A client that reads its answer only after sending all of its body gets to see the
# refusal up to here, in bytes; after that it is cut off.
DRAIN_LIMIT = 16 * 1024 * 1024
IDLE_TIMEOUT_S = 60


def site(
    resource: IResource, *, clock: IReactorTime, idle_timeout_s: int = IDLE_TIMEOUT_S
) -> server.Site:
    """A site for ``resource``, whose clients may send bodies of up to ``BODY_LIMIT`` bytes.

    A connection that is silent for ``idle_timeout_s`` seconds is closed, unless it is
    waiting for an answer. There is no access log: queries may hold secrets.
    """
    return _Site(
        resource,
        requestFactory=_Request,
        parsePOSTFormSubmission=False,
        timeout=idle_timeout_s,
        reactor=clock,
    )


class _Channel(http.HTTPChannel):
    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # A Content-Length of more digits than int() takes.
            self._respondToBadRequestAndDisconnect()
            return False


class _Site(server.Site):
    noisy = False
    # HTTP/1.1 only: the limit below knows how its channel receives a body.
    protocol = _Channel  # type: ignore[assignment]  # declared for the proxy to HTTP/2

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    def log(self, request: http.Request) -> None:
        """Log nothing: Twisted's line would hold the query."""


class _Request(server.Request):
    """A request whose body is refused as soon as it is known to be too large.

    The answer goes out at once; the rest of the body is read and dropped, because closing
    the connection over unread data could destroy the answer on its way.
    """

    content: BytesIO
    _received = 0
    _refused = False

    def gotLength(self, length: Optional[int]) -> None:
        """The headers are there. ``length`` None: the body comes in chunks."""
        self.content = BytesIO()
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
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
