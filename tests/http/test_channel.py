"""A connection: its deadlines, its turns, and requests with an ambiguous end."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.http import Call, Endpoint, Reply, resource
from regsys.http.channel import A_TURN, BODY_S, HEAD_S
from regsys.http.reply import Text
from tests.http.wire import Echo, Wire

GET = b"GET /echo HTTP/1.1\r\nHost: hs.test\r\n\r\n"
LAST = b"GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n"
HEAD = b"POST /echo HTTP/1.1\r\nHost: hs.test\r\nContent-Length: 100\r\n\r\n"
# Bytes of a read of a socket, at most.
READ = 65_536


class DeadlineTests(SynchronousTestCase):
    """How long a request may take to arrive (threat A27)."""

    def setUp(self) -> None:
        self.echo = Echo("/echo")
        self.wire = Wire(resource([self.echo.endpoint]))

    def drip(self, data: bytes, seconds: int) -> Optional[int]:
        """Send a byte a second, for so many seconds. Returns the second in which the connection was
        closed; None if it was not."""
        for second in range(seconds):
            self.wire.send(data[second : second + 1])
            self.wire.clock.advance(1)
            if self.wire.closed:
                return second + 1
        return None

    def test_head(self) -> None:
        """The headers must be complete ten seconds after their first byte, however they arrive."""
        self.wire.clock.advance(50)
        self.assertEqual(self.drip(GET, 40), HEAD_S)
        self.assertEqual(self.echo.calls, [])

    def test_body(self) -> None:
        """The body must be complete thirty seconds later."""
        self.assertIsNone(self.drip(HEAD[:9], 9))
        self.wire.send(HEAD[9:])
        self.assertEqual(self.drip(b"x" * 100, 40), BODY_S)
        self.assertEqual(self.echo.calls, [])

    def test_bodyThatNeverBegins(self) -> None:
        """The same holds if none of it arrives."""
        self.wire.send(HEAD)
        self.wire.clock.advance(BODY_S)
        self.assertTrue(self.wire.closed)

    def test_refusedBody(self) -> None:
        """A body that is too large is read and dropped for no longer than that."""
        self.wire.send(b"POST /echo HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        self.assertEqual(self.drip(b"x" * 100, 40), BODY_S)

    def test_inTime(self) -> None:
        """A request that is slow, but in time, is answered, and the next has its own deadline."""
        for _ in range(3):
            self.assertIsNone(self.drip(HEAD[:9], 9))
            self.wire.send(HEAD[9:])
            self.assertIsNone(self.drip(b"x" * 29, 29))
            self.assertIn(b"200 OK", self.wire.send(b"x" * 71))
            self.wire.clock.advance(20)
        self.assertEqual(len(self.echo.calls), 3)

    def test_nextHead(self) -> None:
        """The deadline of the next request counts from its first byte, also if that arrives with
        the end of the one before."""
        self.wire.send(GET + b"G")
        self.wire.clock.advance(0)
        self.wire.clock.advance(HEAD_S - 1)
        self.assertFalse(self.wire.closed)
        self.wire.clock.advance(1)
        self.assertTrue(self.wire.closed)

    def test_answerThatTakesTime(self) -> None:
        """While an answer is being made there is no deadline here: the handler has its own."""
        gate: Deferred[None] = Deferred()

        async def wait(call: Call) -> Reply:
            await gate
            return Reply({"late": True})

        wire = Wire(resource([Endpoint("wait", ("/echo",), {"GET": wait})]))
        wire.send(GET)
        wire.clock.advance(1000)
        gate.callback(None)
        self.assertIn(b"late", wire.received())

    def test_answerNotTaken(self) -> None:
        """A client that asks to close the connection and then does not read the answer is cut
        off."""
        self.wire.send(LAST)
        self.wire.clock.advance(59)
        self.assertFalse(self.wire.transport.disconnected)
        self.wire.clock.advance(1)
        self.assertTrue(self.wire.transport.disconnected)


class PipeliningTests(SynchronousTestCase):
    """Requests that are sent without waiting for earlier answers (threat A26)."""

    def setUp(self) -> None:
        self.echo = Echo("/echo")
        self.wire = Wire(resource([self.echo.endpoint]))

    def another(self) -> Wire:
        """A further connection to the same site."""
        return Wire.to(self.wire.site, self.wire.clock)

    @property
    def count(self) -> int:
        return len(self.echo.calls)

    def turn(self) -> None:
        """One turn of the reactor: what is due now, but not what that begins."""
        clock = self.wire.clock
        due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
        for call in due:
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

    def test_oneATurn(self) -> None:
        """Of a hundred requests that arrive at once one is answered in each turn, in order."""
        uris = [f"/echo?{number}" for number in range(100)]
        self.wire.send(b"".join(GET.replace(b"/echo", uri.encode()) for uri in uris))
        for answered in range(1, 101):
            self.assertEqual(self.count, answered)
            self.turn()
        self.assertEqual([call.uri for call in self.echo.calls], uris)
        self.assertEqual(self.wire.clock.calls[0].getTime(), 60)
        self.assertIn(b"200 OK", self.wire.send(GET))

    def test_bodies(self) -> None:
        """With bodies, by length or in chunks, and in any pieces."""
        post = b"POST /echo HTTP/1.1\r\n"
        sized = post + b"Content-Length: 5\r\n\r\nhello"
        chunked = post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        data = (sized + chunked + GET) * 10
        for size in (1, 7, 1000, len(data)):
            before = self.count
            for start in range(0, len(data), size):
                self.wire.send(data[start : start + size])
                self.turn()
            for _ in range(30):
                self.turn()
            bodies = [call.body for call in self.echo.calls[before:]]
            self.assertEqual(bodies, [b"hello", b"hello", b""] * 10, size)

    def test_crowd(self) -> None:
        """Of forty such connections a few go on in a turn, each as often as the others; a client
        that connects in between is answered at once."""
        crowd = [self.another() for _ in range(40)]
        for wire in crowd:
            wire.send(GET * 30)
        for _ in range(20):
            before = self.count
            self.turn()
            self.assertEqual(self.count - before, A_TURN)
            stranger = self.another()
            for _ in range(3):
                self.assertIn(b"200 OK", stranger.send(GET))
        # The first of each was answered without waiting for a turn, and is not counted here.
        answered = {wire.transport.value().count(b"200 OK") for wire in crowd}
        self.assertEqual(answered, {20 * A_TURN // len(crowd)})

    def test_nobodyTakesTheAnswers(self) -> None:
        """While the answers are not read no request begins, and nothing is read; later it goes on
        where it was."""
        self.wire.send(GET * 3)
        self.wire.channel.pauseProducing()
        for _ in range(5):
            self.turn()
        self.assertEqual(self.count, 1)
        self.assertEqual(self.wire.transport.producerState, "paused")
        self.wire.channel.resumeProducing()
        for _ in range(3):
            self.turn()
        self.assertEqual(self.count, 3)
        self.assertEqual(self.wire.transport.producerState, "producing")
        self.assertIn(b"200 OK", self.wire.send(GET))

    def test_fullWhileAnswering(self) -> None:
        """The same holds for an answer that is not read."""

        async def long(call: Call) -> Reply:
            self.echo.calls.append(call)
            self.wire.channel.pauseProducing()
            return Reply(Text(b"x" * 100_000, "text/plain"))

        self.wire = Wire(resource([Endpoint("long", ("/echo",), {"GET": long})]))
        self.wire.send(GET * 3)
        for answered in range(1, 4):
            for _ in range(3):
                self.turn()
            self.assertEqual(self.count, answered)
            self.assertEqual(self.wire.transport.producerState, "paused")
            self.wire.channel.resumeProducing()
        self.turn()
        self.assertEqual(self.wire.transport.producerState, "producing")

    def test_whatWaitsIsBounded(self) -> None:
        """Nothing more is read while much waits: a connection holds one read, and the rest that was
        there."""
        data, sent, held = GET * 3000, 0, []
        channel: Any = self.wire.channel
        while sent < len(data):
            if self.wire.transport.producerState == "producing":
                channel.dataReceived(data[sent : sent + READ])
                sent += READ
            held.append(len(channel._buffer) + sum(map(len, channel._dataBuffer)))
            self.turn()
        self.assertLess(max(held), READ + 20_000)
        self.wire.clock.advance(0)
        self.assertEqual(self.count, 3000)

    def test_closed(self) -> None:
        """Requests behind the last one of a connection, or of a client that has left, are
        ignored."""
        self.wire.send(LAST + GET * 5)
        self.wire.clock.advance(0)
        gone = self.another()
        gone.send(GET * 5)
        gone.hang_up()
        self.wire.clock.advance(0)
        self.assertEqual(self.count, 2)
        late = self.another()
        late.send(GET * 5)
        late.channel.pauseProducing()
        late.clock.advance(60)
        self.assertTrue(late.closed)
        # A transport of Twisted's double may not be resumed once it is to be closed.
        late.transport.resumeProducing = lambda: None
        late.channel.resumeProducing()
        late.clock.advance(0)
        self.assertEqual(self.count, 3)

    def test_closing(self) -> None:
        """Once the process is about to end, each connection is closed after its answer."""
        for data in (GET, GET * 3):
            wire = self.another()
            wire.site.connections.is_closing = True
            answer = wire.send(data)
            wire.clock.advance(0)
            self.assertIn(b"\r\nconnection: close\r\n", answer.lower())
            self.assertTrue(wire.closed)
        self.assertEqual(self.count, 2)

    def test_bug(self) -> None:
        """If the next request of one connection fails unexpectedly, that connection ends, and the
        others go on."""
        crowd = [self.another() for _ in range(3)]
        for wire in crowd:
            wire.send(GET * 3)
        broken: Any = crowd[0].channel
        broken.headerReceived = lambda line: 1 / 0
        self.wire.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(crowd[0].transport.disconnected)
        self.assertEqual(self.count, 7)


class AmbiguityTests(SynchronousTestCase):
    """Requests that a proxy before us might parse differently."""

    def setUp(self) -> None:
        self.echo = Echo("/echo")

    def ask(self, *headers: bytes, version: bytes = b"1.1") -> Wire:
        wire = Wire(resource([self.echo.endpoint]))
        head = [b"POST /echo HTTP/" + version, b"Host: hs.test", *headers, b"", b""]
        wire.channel.dataReceived(b"\r\n".join(head) + b"5\r\nhello\r\n0\r\n\r\n" + GET)
        wire.clock.advance(0)
        return wire

    def test_refused(self) -> None:
        """They are a 400 in JSON, the connection is closed, and nothing on it is processed."""
        chunked, identity = b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"
        for headers in (
            (chunked, chunked),
            (chunked, identity),
            (identity, chunked),
            (identity,),
            (identity, b"Content-Length: 5"),
            (b"Content-Length: 5", identity),
            (chunked, b"Content-Length: 5"),
            (b"Content-Length: 5", chunked),
            (b"Content-Length: 0", chunked),
            (b"Transfer-Encoding: chunked, chunked",),
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: chunked;x=y",),
            (b"Transfer-Encoding: \x0bchunked",),
            (b"Transfer-Encoding:",),
            (b"Transfer-Encoding :chunked",),
            (b"Content-Length: 5", b"Content-Length: 5"),
            (b"Content-Length: 5", b"Content-Length: 6"),
            (b"Content-Length: 5, 5",),
            (b"Content-Length: +5",),
            (b"Content-Length: 5_0",),
            (b"Content-Length:",),
            (b"X: a", b" b"),
            (b"X: a", b"\tb"),
            (b"Transfer-Encoding:", b" chunked"),
            (b"Host: other.test",),
            (b"X: a\rContent-Length: 5",),
            (b"X: a\nContent-Length: 5",),
            (b"X" * 20_000,),
            (b"X: x",) * 600,
        ):
            for all_headers in (headers, (*headers, b"Y: z")):
                wire = self.ask(*all_headers)
                head, _, body = wire.received().partition(b"\r\n\r\n")
                self.assertEqual(head.split(b"\r\n")[0], b"HTTP/1.1 400 Bad Request", all_headers)
                self.assertIn(b"\r\nAccess-Control-Allow-Origin: *\r\n", head)
                self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head)
                self.assertIn(b"\r\nConnection: close", head)
                self.assertEqual(json.loads(body)["errcode"], "M_UNKNOWN", all_headers)
                self.assertTrue(wire.closed, all_headers)
        self.assertEqual(self.echo.calls, [])

    def test_oldVersion(self) -> None:
        """HTTP/1.0 has no chunks."""
        self.assertIn(b" 400 ", self.ask(b"Transfer-Encoding: chunked", version=b"1.0").received())
        self.assertEqual(self.echo.calls, [])

    def test_accepted(self) -> None:
        """A plain request in chunks, and the one behind it, are answered."""
        for header in (b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED "):
            self.assertEqual(self.ask(header).received().count(b"200 OK"), 2)
        self.assertEqual([call.body for call in self.echo.calls], [b"hello", b""] * 2)
