"""Servers whose answers never end, or have an endless part before the body."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.internet.protocol import Protocol


class Endless(Protocol):
    """Answers with ``begins``, and then with ``more`` until the client closes; ``written`` counts
    the bytes."""

    transport: Any
    begins: ClassVar[bytes] = b""
    more: ClassVar[bytes] = b""
    written: ClassVar[int] = 0

    def connectionMade(self) -> None:
        type(self).written = 0
        self._stopped = False

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.begins)
        self.transport.registerProducer(self, streaming=False)

    def resumeProducing(self) -> None:
        if not self._stopped:
            self.transport.write(self.more)
            type(self).written += len(self.more)

    def stopProducing(self) -> None:
        self._stopped = True


class Headers(Endless):
    begins, more = b"HTTP/1.1 200 OK\r\n", (b"X: " + b"x" * 8000 + b"\r\n") * 8


class ShortHeaders(Endless):
    begins, more = b"HTTP/1.1 200 OK\r\n", b"X:\r\n" * 10_000


class OneHeader(Endless):
    begins, more = b"HTTP/1.1 200 OK\r\nX: x\r\n", (b" X: " + b"x" * 8000 + b"\r\n") * 8


class InterimAnswers(Endless):
    more = b"HTTP/1.1 100 Continue\r\n\r\n" * 2000


class Chunks(Endless):
    """Its body is short, but has far too much chunk framing."""

    begins = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    more = (b"1;" + b"x" * 1000 + b"\r\nx\r\n") * 60


ENDLESS: Mapping[str, type[Endless]] = {
    "headers": Headers,
    "short headers": ShortHeaders,
    "one header": OneHeader,
    "interim answers": InterimAnswers,
    "chunks": Chunks,
}
