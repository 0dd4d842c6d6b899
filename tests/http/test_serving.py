"""Handlers that fail, or take their time."""

from __future__ import annotations

import json
from typing import AsyncGenerator

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys import deadlines
from regsys.errors import Unavailable
from regsys.http import Call, Endpoint, Reply, resource
from regsys.http.reply import LongJSON
from regsys.http.serving import InFlight
from tests.http.wire import Echo, Wire, ask

GET = b"GET %s HTTP/1.1\r\nHost: hs.test\r\n\r\n"


class FailureTests(SynchronousTestCase):
    def test_bug(self) -> None:
        """An unexpected exception is a 500 without details, and a log entry without secrets."""

        async def fail(call: Call) -> Reply:
            raise RuntimeError("inner workings")

        root = resource([Endpoint("fail", ("/fail/{token}",), {"POST": fail})])
        with capturedLogs() as events:
            answer = ask(
                self, root, "/fail/hidden?a=hidden", "POST", data=b'{"password": "hidden"}'
            )
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(answer.code, 500)
        self.assertEqual(
            json.loads(answer.content),
            {"errcode": "M_UNKNOWN", "error": "Internal server error"},
        )
        (event,) = (event for event in events if "log_failure" in event)
        self.assertEqual((event["method"], event["path"]), ("POST", "/fail/{token}"))
        self.assertNotIn("hidden", repr(event))

    def test_noReply(self) -> None:
        """A handler that is no coroutine function, or that forgets to return a Reply, is a 500,
        and the log names the path and what to do."""

        async def forgets(call: Call) -> None:
            return

        for handler, said in (
            (lambda call: Reply(), "a handler of /x returned a Reply, which cannot be awaited"),
            (forgets, "a handler of /x returned a NoneType, not a Reply"),
        ):
            root = resource([Endpoint("x", ("/x",), {"GET": handler})])  # type: ignore[dict-item]
            answer = ask(self, root, "/x")
            (failure,) = self.flushLoggedErrors(TypeError)
            self.assertIn(said, str(failure.value))
            self.assertEqual(answer.code, 500)
            self.assertEqual(json.loads(answer.content)["errcode"], "M_UNKNOWN")

    def test_bodyThatIsNotJSON(self) -> None:
        """A reply that cannot be serialized is an error like any other."""
        answer = ask(self, resource([Echo("/x", reply=Reply({"x": object()})).endpoint]), "/x")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(answer.code, 500)


class WaitingTests(SynchronousTestCase):
    """Handlers that take their time."""

    def setUp(self) -> None:
        self.gates: list[Deferred[None]] = []
        self.finished: list[str] = []
        self.in_flight = InFlight()
        slow = Endpoint("slow", ("/slow/{name}",), {"GET": self.slow})
        self.wire = Wire(resource([slow], in_flight=self.in_flight))

    async def slow(self, call: Call) -> Reply:
        gate: Deferred[None] = Deferred()
        self.gates.append(gate)
        await gate
        self.finished.append(call.path_args["name"])
        return Reply({"name": call.path_args["name"]})

    def test_deadline(self) -> None:
        """Each call has its own database deadline while it goes on, by the subsystem's clock; work
        that it has started besides has none once the call is answered."""
        clock = Clock()
        found = []

        async def get(call: Call) -> Reply:
            found.append(deadlines.current())
            return Reply({})

        slow = Endpoint("quick", ("/quick",), {"GET": get})
        in_flight = InFlight(clock)
        wire = Wire(resource([slow], in_flight=in_flight))
        for _ in range(2):
            wire.send(GET % b"/quick")
        first, second = found
        self.assertIsNot(first, second)
        self.assertIsNone(first.left_s(clock.seconds()))
        self.assertIsNone(deadlines.current())

    def test_lateAnswer(self) -> None:
        """An answer goes out when it is there."""
        self.assertEqual(self.wire.send(GET % b"/slow/a"), b"")
        self.gates[0].callback(None)
        self.assertTrue(self.wire.received().endswith(b'\r\n\r\n{"name":"a"}'))

    def test_clientLeaves(self) -> None:
        """A client that leaves neither stops the work nor causes an error."""
        self.wire.send(GET % b"/slow/a")
        with capturedLogs() as events:
            self.wire.hang_up()
            self.assertEqual(self.in_flight.count, 1)
            self.gates[0].callback(None)
        self.assertEqual(self.finished, ["a"])
        self.assertEqual(self.wire.received(), b"")
        self.assertEqual(self.in_flight.count, 0)
        self.assertEqual(events, [])

    def test_longJSON(self) -> None:
        """JSON that is made piece by piece is sent as one answer when the last piece is there."""
        self.wire = Wire(resource([Endpoint("long", ("/long",), {"GET": self.long})]))
        self.wire.send(GET % b"/long")
        for _ in range(2):
            self.assertEqual(self.wire.received(), b"")
            self.gates[-1].callback(None)
        answer = self.wire.received()
        self.assertTrue(answer.endswith(b"\r\n\r\n[0,1]"), answer)
        for header in (b"Content-Length: 5", b"Content-Type: application/json"):
            self.assertIn(header.lower(), answer.lower())
        self.assertEqual(self.finished, ["0", "1", "end"])

    def test_longJSONFails(self) -> None:
        """If a piece can't be made, the answer is an error, and no other piece was sent."""
        self.wire = Wire(resource([Endpoint("long", ("/long",), {"GET": self.long})]))
        self.wire.send(GET % b"/long")
        self.gates[0].callback(None)
        self.gates[1].errback(Unavailable())
        answer = self.wire.received()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503"), answer)
        self.assertNotIn(b"[0", answer)
        self.assertEqual(self.finished, ["0", "end"])

    def test_clientLeavesInTheMiddle(self) -> None:
        """Once the client has left, no further piece is made."""
        long = Endpoint("long", ("/long",), {"GET": self.long})
        self.wire = Wire(resource([long], in_flight=self.in_flight))
        self.wire.send(GET % b"/long")
        self.wire.hang_up()
        self.gates[0].callback(None)
        self.assertEqual((len(self.gates), self.finished), (1, ["0", "end"]))
        self.assertEqual(self.in_flight.count, 0)

    async def long(self, call: Call) -> Reply:
        return Reply(LongJSON(self.pieces()))

    async def pieces(self) -> AsyncGenerator[str, None]:
        try:
            for number in range(2):
                gate: Deferred[None] = Deferred()
                self.gates.append(gate)
                await gate
                self.finished.append(f"{number}")
                yield f"{',' if number else '['}{number}"
            yield "]"
        finally:
            self.finished.append("end")

    def test_clientLeavesAndWorkFails(self) -> None:
        """An error is logged even if no client waits for the answer."""
        self.wire.send(GET % b"/slow/a")
        self.wire.hang_up()
        self.gates[0].errback(ValueError())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.in_flight.count, 0)

    def test_pipelining(self) -> None:
        """Requests sent in one go are answered one after the other, in their order."""
        self.assertEqual(self.wire.send(GET % b"/slow/a" + GET % b"/slow/b"), b"")
        self.assertEqual(len(self.gates), 1)
        self.gates[0].callback(None)
        self.assertIn(b'{"name":"a"}', self.wire.received())
        self.wire.clock.advance(0)
        self.gates[1].callback(None)
        self.assertIn(b'{"name":"b"}', self.wire.received())
        self.assertFalse(self.wire.closed)

    def test_idle(self) -> None:
        """A caller can wait until no call is under way; by then the answers are written."""
        self.successResultOf(self.in_flight.idle())
        second = Wire(self.wire.site.resource)
        self.wire.send(GET % b"/slow/a")
        second.send(GET % b"/slow/b")
        idle = [self.in_flight.idle(), self.in_flight.idle()]
        written = idle[0].addCallback(lambda _: second.received())
        self.gates[0].callback(None)
        self.assertEqual(self.in_flight.count, 1)
        self.assertNoResult(idle[1])
        self.gates[1].callback(None)
        self.assertIn(b'{"name":"b"}', self.successResultOf(written))
        self.successResultOf(idle[1])
        self.successResultOf(self.in_flight.idle())
