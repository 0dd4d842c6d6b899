"""The client for other servers: bounded answers, one deadline, exact requests."""

from __future__ import annotations

import gzip
import itertools
from typing import Any, Mapping, Sequence

import attr
from treq.testing import RequestTraversalAgent, StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from regsys.config import ProxiesConfig
from regsys.config.proxies import Proxy
from regsys.outbound.http import BODY_LIMIT, DEADLINE_S, HTTPClient, NoAnswer
from regsys.outbound.measured import HEAD_BYTES
from tests.outbound.endless import ENDLESS, Endless

URL = "http://other.example/ask?way=this"


class Other(Resource):
    """Another server; ``answer`` is a body, or a function that answers. ``requests`` are kept."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answer: Any = b"{}"
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        request.sent = request.content.read()
        self.requests.append(request)
        return self.answer(request) if callable(self.answer) else self.answer


class HTTPClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.other, self.clock = Other(), Clock()
        self.treq = StubTreq(self.other)
        self.http = HTTPClient(self.treq, self.clock, at_once=2)
        # Without what treq.testing leaves out of treq.
        self.plain = HTTPClient.over(RequestTraversalAgent(self.other), self.clock)

    def ask(self, url: str = URL, **fields: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.http.post_form(url, fields or {"a": "b"}))

    def no_answer(self, asking: Deferred[Any]) -> str:
        """Why there is none; the connection is given up."""
        self.treq.flush()
        error = self.failureResultOf(asking, NoAnswer).value
        self.assertIsNone(error.__cause__)
        return str(error)

    def test_asks(self) -> None:
        """A form is sent to exactly this URL, each value unchanged."""
        self.other.answer = b'{"well": [1]}'
        answer = self.successResultOf(self.ask(a="b&c=d é\0", e=""))
        self.assertEqual((answer.status, answer.json()), (200, {"well": [1]}))
        (request,) = self.other.requests
        self.assertEqual((request.method, request.uri), (b"POST", b"/ask?way=this"))
        self.assertEqual(request.sent, b"a=b%26c%3Dd+%C3%A9%00&e=")
        self.assertEqual(request.getHeader("content-type"), "application/x-www-form-urlencoded")

    def test_otherShapes(self) -> None:
        """JSON is sent unchanged, so are the values of a query; additional headers are sent."""
        for asking, method, uri, sent, kind in (
            (
                self.http.post_json(URL, {"a": "é"}, {"Authorization": "me"}),
                *(b"POST", b"/ask?way=this", b'{"a": "\\u00e9"}', "application/json"),
            ),
            (
                self.http.send_json("PUT", URL, {"a": 1}, {"Authorization": "me"}),
                *(b"PUT", b"/ask?way=this", b'{"a": 1}', "application/json"),
            ),
            (
                self.http.get("http://other.example/ask", {"a": "b&c=d"}),
                *(b"GET", b"/ask?a=b%26c%3Dd", b"", None),
            ),
            (
                self.http.get(
                    "http://other.example/", [("a", "1"), ("a", "é")], {"Authorization": "me"}
                ),
                *(b"GET", b"/?a=1&a=%C3%A9", b"", None),
            ),
        ):
            self.successResultOf(Deferred.fromCoroutine(asking))
            request = self.other.requests[-1]
            got = (request.method, request.uri, request.sent, request.getHeader("content-type"))
            self.assertEqual(got, (method, uri, sent, kind))
        headers = [request.getHeader("authorization") for request in self.other.requests]
        self.assertEqual(headers, ["me", "me", None, "me"])

    def test_keepsNoCookieAndFollowsNoRedirect(self) -> None:
        """An answer of another status is an answer, and leaves nothing behind."""

        def redirect(request: Any) -> bytes:
            request.addCookie(b"who", b"you")
            request.redirect(b"http://inside.example/")
            return b""

        self.other.answer = redirect
        for _ in range(2):
            asking = Deferred.fromCoroutine(self.plain.get(URL, {}))
            self.assertEqual(self.successResultOf(asking).status, 302)
        self.assertEqual([request.uri for request in self.other.requests], [b"/ask?way=this"] * 2)
        self.assertIsNone(self.other.requests[1].getHeader("cookie"))

    def test_unpacksNothing(self) -> None:
        """No compressed answer is asked for. One that comes all the same is what it is: what a few
        bytes would become might fill our memory."""

        def bomb(request: Any) -> bytes:
            request.setHeader(b"content-encoding", b"gzip")
            return packed

        packed = gzip.compress(b"0" * 1024 * 1024)
        self.other.answer = bomb
        answer = self.successResultOf(Deferred.fromCoroutine(self.plain.get(URL, {})))
        self.assertEqual(answer.body, packed)
        self.assertIsNone(self.other.requests[0].getHeader("accept-encoding"))

    def test_date(self) -> None:
        """Of an answer's headers its date alone is kept."""

        def dated(request: Any) -> bytes:
            request.setHeader(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")
            return b""

        self.other.answer = dated
        answer = self.successResultOf(Deferred.fromCoroutine(self.plain.get(URL, {})))
        self.assertEqual(answer.date, "Thu, 01 Jan 1970 00:00:00 GMT")

    def test_hostsAsWritten(self) -> None:
        """A host is asked for as it is written: what it may be the resolver knows."""
        for host in ("a_b.example", "r3---sn.example", "[2001:db8::1]:8090", "a.example."):
            self.successResultOf(self.ask(f"http://{host}/%7Eask?a=b%2Fc+d"))
            request = self.other.requests[-1]
            self.assertEqual(request.getHeader("host"), host)
            self.assertEqual(request.uri, b"/%7Eask?a=b%2Fc+d")

    def test_oneDeadlineForAllOfIt(self) -> None:
        """A server that answers nothing, or too slowly, is given up after ten seconds."""

        def stall(request: Any) -> Any:
            return NOT_DONE_YET

        def drip(request: Any) -> Any:
            request.write(b" ")
            return NOT_DONE_YET

        for answer in (stall, drip):
            self.other.answer = answer
            asking = self.ask()
            for _ in range(9):
                self.clock.advance(1)
                if answer is drip:
                    self.other.requests[-1].write(b" ")
                self.treq.flush()
                self.assertNoResult(asking)
            gone = self.other.requests[-1].notifyFinish()
            self.clock.advance(1)
            self.assertIn("within 10 s", self.no_answer(asking))
            self.failureResultOf(gone)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(DEADLINE_S, 10)

    def test_oneDeadlineForConnecting(self) -> None:
        """The deadline includes connecting, and the attempt is given up."""
        reactor = MemoryReactorClock()
        http = HTTPClient.on(reactor, ProxiesConfig())
        asking = Deferred.fromCoroutine(http.post_form("http://192.0.2.1/", {}))
        (attempt,) = reactor.connectors
        reactor.advance(DEADLINE_S)
        self.failureResultOf(asking, NoAnswer)
        self.assertTrue(attempt.stoppedConnecting)

    def test_longAnswers(self) -> None:
        """64 KiB are read; a longer answer is refused, and no more of it is awaited."""
        self.other.answer = b"x" * BODY_LIMIT
        self.assertEqual(self.successResultOf(self.ask()).body, self.other.answer)

        def endless(request: Any) -> Any:
            request.write(b"x" * (BODY_LIMIT + 1))
            return NOT_DONE_YET

        self.other.answer = endless
        self.assertIn("longer than 65536", self.no_answer(self.ask()))

    def test_noHTTP(self) -> None:
        """A hang-up, a malformed answer, and a URL without a server are no answer."""

        def hang_up(request: Any) -> Any:
            request.transport.loseConnection()
            return NOT_DONE_YET

        def nonsense(request: Any) -> Any:
            request.transport.write(b"220 mail.example ESMTP\r\n")
            request.transport.loseConnection()
            return NOT_DONE_YET

        for answer, kind in ((hang_up, "ConnectionDone"), (nonsense, "ParseError")):
            self.other.answer = answer
            self.assertIn(kind, self.no_answer(self.ask()))
        for url in ("gopher://other.example/", "http://héé/"):
            self.no_answer(self.ask(url))

    def test_nonJSON(self) -> None:
        """Invalid JSON is no answer either."""
        for body in (b"", b"<html>", b"[" * 60_000, b"\xff"):
            self.other.answer = body
            answer = self.successResultOf(self.ask())
            self.assertRaises(NoAnswer, answer.json)

    def test_notTooManyAtOnce(self) -> None:
        """A stalled server holds a bounded number of sockets, and further requests fail at once."""
        self.other.answer = lambda request: NOT_DONE_YET
        waiting = [self.ask(), self.ask()]
        self.assertIn("too many", self.no_answer(self.ask()))
        self.assertEqual(len(self.other.requests), 2)
        # Another service has its own.
        waiting.append(Deferred.fromCoroutine(self.http.apart().get(URL, {})))
        self.assertEqual(len(self.other.requests), 3)
        self.clock.advance(DEADLINE_S)
        for asking in waiting:
            self.failureResultOf(asking, NoAnswer)
        self.other.answer = b"{}"
        self.successResultOf(self.ask())


class EndlessTests(TestCase):
    """Over real sockets: configured servers whose answers never end."""

    async def ask(self, endless: type[Endless], proxies: Mapping[str, Proxy] = {}) -> str:
        port = reactor.listenTCP(0, Factory.forProtocol(endless), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        here = port.getHost().port
        ways = {scheme: attr.evolve(proxy, port=here) for scheme, proxy in proxies.items()}
        client = HTTPClient.on(reactor, ProxiesConfig(by_scheme=ways))
        try:
            await client.post_form(f"http://127.0.0.1:{here}/", {"a": "b"})
        except NoAnswer as reason:
            return str(reason)
        raise AssertionError("there was an answer")

    async def test_endless(self) -> None:
        """They are cut off long before the deadline, whichever part does not end, also behind a
        proxy (threat C9)."""
        ways: Sequence[Mapping[str, Proxy]] = ({}, {"http": Proxy("127.0.0.1", 0)})
        for (case, endless), way in itertools.product(ENDLESS.items(), ways):
            self.assertIn("the connection failed", await self.ask(endless, way), case)
            self.assertGreater(endless.written, HEAD_BYTES, case)
            self.assertLess(endless.written, 8 * 1024 * 1024, case)
