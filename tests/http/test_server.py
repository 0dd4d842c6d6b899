"""The limits of our own site, byte by byte."""

from __future__ import annotations

import json

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.http import resource
from regsys.http.call import BODY_LIMIT
from regsys.http.server import DRAIN_LIMIT, MOST_CHUNKS
from tests.http.wire import Echo, Wire


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /echo HTTP/1.1", b"Host: hs.test", *headers, b"", body])


GET = b"GET /echo HTTP/1.1\r\nHost: hs.test\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class BodyLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = Echo("/echo")
        self.wire = Wire(resource([self.echo.endpoint]))

    def assert_refused(self, answer: bytes) -> None:
        """Exactly one complete 413, which announces that the connection will be closed."""
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 413 Request Entity Too Large")
        self.assertIn(b"Connection: close", lines)
        self.assertIn(b"Access-Control-Allow-Origin: *", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertEqual(json.loads(body)["errcode"], "M_TOO_LARGE")
        self.assertEqual(self.echo.calls, [])

    def test_atTheLimit(self) -> None:
        """A body of exactly the limit is accepted, by length or in chunks."""
        body = b"x" * BODY_LIMIT
        self.assertIn(b"200 OK", self.wire.send(post(b"Content-Length: %d" % len(body), body=body)))
        halves = chunk(body[:30_000]) + chunk(body[30_000:]) + chunk(b"")
        self.assertIn(b"200 OK", self.wire.send(post(b"Transfer-Encoding: chunked", body=halves)))
        self.assertEqual([call.body for call in self.echo.calls], [body, body])

    def test_announcedBody(self) -> None:
        """A body that is announced as too large is refused before any of it arrives."""
        self.assert_refused(self.wire.send(post(b"Content-Length: %d" % (BODY_LIMIT + 1))))

    def test_sentBody(self) -> None:
        """A client that sends all of it first still gets the answer, then the end."""
        self.assert_refused(self.wire.send(post(b"Content-Length: %d" % (BODY_LIMIT + 2))))
        self.assertEqual(self.wire.send(b"x" * (BODY_LIMIT + 1)), b"")
        self.assertFalse(self.wire.closed)
        self.assertEqual(self.wire.send(b"x"), b"")
        self.assertTrue(self.wire.closed)

    def test_requestBehindIt(self) -> None:
        """Data behind a refused body on the same connection are ignored."""
        first = post(b"Content-Length: %d" % (BODY_LIMIT + 1), body=b"x" * (BODY_LIMIT + 1))
        self.assert_refused(self.wire.send(first + post(b"Content-Length: 0")))
        self.assertTrue(self.wire.closed)

    def test_expectingClient(self) -> None:
        """A client that sends Expect gets the refusal and no 100 Continue."""
        headers = (b"Content-Length: %d" % (BODY_LIMIT + 1), b"Expect: 100-continue")
        self.assert_refused(self.wire.send(post(*headers)))
        small = Wire(self.wire.site.resource)
        answer = small.send(post(b"Content-Length: 2", b"Expect: 100-continue"))
        self.assertEqual(answer, b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_chunkedBody(self) -> None:
        """A body in chunks is refused at the first byte beyond the limit, and read to its end."""
        self.assertEqual(
            self.wire.send(
                post(b"Transfer-Encoding: chunked", body=chunk(b"x" * BODY_LIMIT) + b"2\r\n")
            ),
            b"",
        )
        self.assert_refused(self.wire.send(b"x"))
        self.assertEqual(self.wire.send(b"x\r\n" + chunk(b"more")), b"")
        self.assertFalse(self.wire.closed)
        self.assertEqual(self.wire.send(chunk(b"")), b"")
        self.assertTrue(self.wire.closed)

    def test_endlessBody(self) -> None:
        """A client that doesn't stop sending is cut off in the end."""
        self.assert_refused(self.wire.send(post(b"Content-Length: 999999999999")))
        megabyte = b"x" * 2**20
        for _ in range(DRAIN_LIMIT // len(megabyte)):
            self.wire.send(megabyte)
        self.assertFalse(self.wire.closed)
        self.wire.send(b"x")
        self.assertTrue(self.wire.closed)

    def test_manyChunks(self) -> None:
        """A body in too many chunks is refused at the first one beyond the bound, and so is data
        behind a refused body (threat A26)."""
        begin = post(b"Transfer-Encoding: chunked")
        answer = self.wire.send(begin + chunk(b"x") * MOST_CHUNKS + chunk(b""))
        self.assertIn(b"200 OK", answer)
        answer = self.wire.send(begin + chunk(b"x") * (MOST_CHUNKS + 1) + b"not looked at")
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.assertTrue(self.wire.closed)
        other = Wire(self.wire.site.resource)
        self.assertIn(b" 413 ", other.send(begin + chunk(b"x" * (BODY_LIMIT + 1))))
        self.assertEqual(other.send(chunk(b"x") * MOST_CHUNKS), b"")
        self.assertTrue(other.closed)
        self.assertEqual(len(self.echo.calls), 1)

    def test_trailers(self) -> None:
        """So is one with more than a few headers behind its last chunk."""
        begin = post(b"Transfer-Encoding: chunked") + chunk(b"x") + b"0\r\n"
        self.assertIn(b"200 OK", self.wire.send(begin + b"a: b\r\n" * 600 + b"\r\n"))
        self.assertIn(b" 400 ", self.wire.send(begin + b"a: b\r\n" * 700))
        self.assertTrue(self.wire.closed)

    def test_manySegments(self) -> None:
        """A body of known length may arrive in any number of pieces."""
        self.wire.send(post(b"Content-Length: %d" % (2 * MOST_CHUNKS)))
        for _ in range(2 * MOST_CHUNKS - 1):
            self.wire.send(b"x")
        self.assertIn(b"200 OK", self.wire.send(b"x"))

    def test_clientLeaves(self) -> None:
        """A client that leaves after the refusal causes no error."""
        self.assert_refused(self.wire.send(post(b"Content-Length: %d" % (BODY_LIMIT + 1))))
        with capturedLogs() as events:
            self.wire.hang_up()
        self.assertEqual(events, [])

    def test_absurdLength(self) -> None:
        """A length with too many digits is a bad request, not an error."""
        answer = self.wire.send(post(b"Content-Length: " + b"9" * 5000))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "))
        self.assertTrue(self.wire.closed)


class SiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = Echo("/echo")
        self.wire = Wire(resource([self.echo.endpoint]), idle_timeout_s=30)

    def test_forms(self) -> None:
        """A form in the body doesn't count as query parameters."""
        body = b"a=1"
        headers = (b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 3")
        self.wire.send(post(*headers, body=body))
        (call,) = self.echo.calls
        self.assertIsNone(call.query("a"))
        self.assertEqual(call.body, body)

    def test_silentConnection(self) -> None:
        """A connection without data is closed, a new one like one that was used."""
        self.wire.clock.advance(29)
        self.wire.send(GET)
        self.wire.clock.advance(29)
        self.assertFalse(self.wire.closed)
        self.wire.clock.advance(1)
        self.assertTrue(self.wire.closed)
        new = Wire(self.wire.site.resource, idle_timeout_s=30)
        new.clock.advance(30)
        self.assertTrue(new.closed)

    def test_noAccessLog(self) -> None:
        """Requests are not logged: a query may contain a token."""
        self.wire.site.startFactory()
        self.addCleanup(self.wire.site.stopFactory)
        with capturedLogs() as events:
            self.wire.send(b"GET /echo?access_token=hidden HTTP/1.1\r\nHost: hs.test\r\n\r\n")
        self.assertEqual(len(self.echo.calls), 1)
        self.assertEqual(events, [])

    def test_oneProtocol(self) -> None:
        """Over TLS only HTTP/1.1 is spoken, for which the body limit holds."""
        self.assertEqual(self.wire.site.acceptableProtocols(), [b"http/1.1"])
