"""The connections of a worker to its master: which answers are read, and which connections are used
again."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from regsys.outbound.http import BODY_LIMIT, Answer, NoAnswer, NotConnected
from regsys.outbound.persistent import MOST, PersistentClient

OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\n{}"


class Endpoint:
    """``transports`` are those of the connections that were opened."""

    refuses = False

    def __init__(self) -> None:
        self.transports: list[Any] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuses:
            raise ConnectionRefusedError()
        protocol = factory.buildProtocol(None)
        self.transports.append(StringTransport())
        self.transports[-1].protocol = protocol
        protocol.makeConnection(self.transports[-1])
        return succeed(protocol)


class PersistentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.endpoint = Clock(), Endpoint()
        self.client = PersistentClient(
            endpoint=self.endpoint,  # type: ignore[arg-type]
            host="master.example:9093",
            clock=self.clock,
            most_idle=2,
            at_once=5,
        )

    def ask(self) -> Deferred[Answer]:
        posting = self.client.send_json("POST", "/path", {"é": 1}, {"Authorization": "Bearer x"})
        return Deferred.fromCoroutine(posting)

    def answer(self, *pieces: bytes) -> Deferred[Answer]:
        """Ask, and have the connection that was opened last say this."""
        asked = self.ask()
        for piece in pieces:
            self.last.protocol.dataReceived(piece)
        return asked

    @property
    def last(self) -> Any:
        return self.endpoint.transports[-1]

    def assertRead(self, data: bytes, status: int, body: bytes, opened: int) -> None:
        """It is read, whole and byte by byte; ``opened`` connections have been opened then."""
        for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
            self.assertEqual(
                self.successResultOf(self.answer(*pieces)), Answer(status, body), pieces
            )
        self.assertEqual(len(self.endpoint.transports), opened)

    def test_request(self) -> None:
        """What is sent, in one piece."""
        self.ask()
        self.assertEqual(
            self.last.value(),
            b"POST /path HTTP/1.1\r\nHost: master.example:9093\r\nUser-Agent: regsys\r\n"
            b"Authorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"
            b'\r\n{"\\u00e9": 1}',
        )

    def test_get(self) -> None:
        """A query is sent as one; no header can begin another one."""
        headers = {"Authorization": "Bearer x\r\nX-Forwarded-For: 10.0.0.1"}
        getting = self.client.get("/path", {"name": "é&"}, headers)
        asked = Deferred.fromCoroutine(getting)
        self.assertEqual(
            self.last.value(),
            b"GET /path?name=%C3%A9%26 HTTP/1.1\r\nHost: master.example:9093\r\n"
            b"User-Agent: regsys\r\nAuthorization: Bearer x X-Forwarded-For: 10.0.0.1\r\n\r\n",
        )
        self.last.protocol.dataReceived(OK)
        self.assertEqual(self.successResultOf(asked), Answer(200, b"{}"))

    def test_toURL(self) -> None:
        """Where a URL leads, and by what."""
        reactor = MemoryReactorClock()
        for url, host, port in (
            ("http://127.0.0.1:8008/x", "127.0.0.1:8008", 8008),
            ("http://127.0.0.1", "127.0.0.1", 80),
            ("https://[::1]/", "[::1]", 443),
        ):
            client = PersistentClient.to_url(reactor, url, most_idle=1, at_once=1)
            asked = Deferred.fromCoroutine(client.get("/x", {}))
            asked.addErrback(lambda _: None)
            self.assertEqual((client.host, reactor.tcpClients[-1][1]), (host, port))
            asked.cancel()

    def test_atOnce(self) -> None:
        """Of too many requests at once the last get no answer, at once; places come free again."""
        under_way = [self.ask() for _ in range(5)]
        self.failureResultOf(self.ask(), NotConnected)
        under_way[0].cancel()
        self.failureResultOf(under_way[0], CancelledError)
        self.assertNoResult(self.ask())
        self.assertEqual(len(self.endpoint.transports), 6)

    def test_usedAgain(self) -> None:
        """A connection is used again after a whole answer, of any status and of either form."""
        self.assertRead(OK, 200, b"{}", 1)
        self.assertRead(OK.replace(b"200 OK", b"503"), 503, b"{}", 1)
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        self.assertRead(chunked + b"2;x=y\r\n{}\r\n1\r\n \r\n0\r\n\r\n", 200, b"{} ", 1)
        self.assertRead(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}", 1)
        dated = OK.replace(b"Server: x", b"date:  Fri, 27 Nov 2026 18:09:08 GMT")
        answer = self.successResultOf(self.answer(dated))
        self.assertEqual(answer.date, "Fri, 27 Nov 2026 18:09:08 GMT")
        self.assertRead(b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", 204, b"", 1)

    def test_notUsedAgain(self) -> None:
        """A server that closes, or says more than was asked, gets another connection."""
        self.assertRead(OK.replace(b"Server: x", b"Connection: close"), 200, b"{}", 2)
        self.assertRead(OK.replace(b"HTTP/1.1", b"HTTP/1.0"), 200, b"{}", 4)
        self.assertEqual(self.successResultOf(self.answer(OK + b"HTTP")).body, b"{}")
        self.successResultOf(self.answer(OK))
        self.last.protocol.dataReceived(b"HTTP/1.1 408 Too late\r\n\r\n")
        self.assertTrue(self.last.disconnected)
        self.ask()
        self.assertEqual(len(self.endpoint.transports), 7)

    def test_noAnswers(self) -> None:
        """What is no HTTP, too long, or would only end with the connection, is no answer."""
        head = b"HTTP/1.1 200 OK\r\n"
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        for data in (
            b"220 mail.example ESMTP\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            head + b"\r\n{}",
            head + b"Content-Length: -1\r\n\r\n",
            head + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1),
            head + b"X: " + b"x" * MOST,
            chunked + b"zz\r\n",
            chunked + b"-1\r\n\r\n\r\n",
            chunked + b"2\r\n{}}}",
            chunked + b"%x\r\n" % (BODY_LIMIT + 1),
            chunked + b"2" + b" " * MOST,
        ):
            self.failureResultOf(self.answer(data), NoAnswer)
            self.assertTrue(self.last.disconnected, data[:60])

    def test_cut(self) -> None:
        """A connection that ends before the answer does, or was refused."""
        asked = self.answer(OK[:-1])
        self.last.protocol.connectionLost(Failure(ConnectionDone()))
        reason = str(self.failureResultOf(asked, NoAnswer).value)
        self.assertIn("ConnectionDone", reason)
        self.endpoint.refuses = True
        self.failureResultOf(self.ask(), NotConnected)

    def test_givenUp(self) -> None:
        """Whoever stops waiting closes the connection: its answer must not become another's."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.last.disconnected)
        self.last.protocol.dataReceived(OK)
        self.last.protocol.connectionLost(Failure(ConnectionDone()))
        self.ask()
        self.assertEqual(len(self.endpoint.transports), 2)

    def test_idle(self) -> None:
        """A few are kept, for a while, unless they are lost; ``close`` ends those."""
        several = [self.ask() for _ in range(4)]
        for transport in self.endpoint.transports:
            transport.protocol.dataReceived(OK)
        for asked in several:
            self.successResultOf(asked)
        kept = [transport.disconnected for transport in self.endpoint.transports]
        self.assertEqual(kept, [False, False, True, True])
        self.endpoint.transports[1].protocol.connectionLost(Failure(ConnectionDone()))
        self.ask()
        self.assertEqual(len(self.endpoint.transports), 4)
        self.endpoint.transports[0].protocol.dataReceived(OK)
        self.clock.advance(31)
        self.ask()
        self.assertTrue(self.endpoint.transports[0].disconnected)
        self.assertEqual(len(self.endpoint.transports), 5)
        self.endpoint.transports[4].protocol.dataReceived(OK)
        closing = Deferred.fromCoroutine(self.client.close())
        self.assertNoResult(closing)
        self.assertTrue(self.endpoint.transports[4].disconnecting)
        self.endpoint.transports[4].protocol.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closing)
