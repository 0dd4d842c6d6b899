"""How refused requests are logged, and how much of it in a flood."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Forbidden, InvalidParam, LimitExceeded
from regsys.http import Call, Endpoint, Reply, resource
from regsys.http.refusals import PER_ADDRESS, PER_WINDOW, WINDOW_S, RefusalLog
from regsys.http.reply import Page
from tests.http.wire import ask

SESSION = "AbCdEfGhIjKlMnOpQrStUvWx"


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(10_000)
        self.address = "192.0.2.1"
        self.outcome: Any = Forbidden()
        endpoint = Endpoint(
            "x", ("/x", "/x/{stage}/page"), {"POST": self.answer, "GET": self.answer}
        )
        self.resource = resource(
            [endpoint],
            client_address=lambda request: self.address,
            refusals=RefusalLog(
                self.clock,
                lambda address: address.rpartition(".")[0],
                {"m.login.dummy", "m.login.terms"},
            ),
        )

    async def answer(self, call: Call) -> Reply:
        if isinstance(self.outcome, Reply):
            return self.outcome
        raise self.outcome

    def lines(self, body: Any = None, path: str = "/x", method: str = "POST") -> list[str]:
        """The log lines of one request."""
        data: Optional[bytes] = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        with capturedLogs() as events:
            ask(self, self.resource, path, method, data=data)
        for event in events:
            self.assertIs(event["log_level"], LogLevel.info)
        return [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in events]

    def test_reported(self) -> None:
        """A refusal is logged with its reason, the stage, the first letters of the session and the
        client's address."""
        body = {"auth": {"type": "m.login.dummy", "session": SESSION}}
        self.assertEqual(
            self.lines(body),
            [
                "refused POST /x for 192.0.2.1: 403 M_FORBIDDEN: That is not allowed here."
                " (stage m.login.dummy, session AbCdEf)"
            ],
        )

    def test_failedStage(self) -> None:
        """So is a 401 with an errcode, and no other."""
        self.outcome = Reply({"session": SESSION, "errcode": "M_X", "error": "No."}, 401)
        self.assertIn("401 M_X: No. (stage none", self.lines()[0])
        self.outcome = Reply({"session": SESSION, "flows": []}, 401)
        self.assertEqual(self.lines(), [])

    def test_page(self) -> None:
        """A page names its stage by its path, and its session in a form or a query."""
        path = "/x/m.login.terms/page"
        for sent in ((f"session={SESSION}".encode(), path), (b"a=b", f"{path}?session={SESSION}")):
            (line,) = self.lines(*sent)
            self.assertTrue(line.endswith("(stage m.login.terms, session AbCdEf)"), line)
            self.assertIn("POST /x/{stage}/page", line)

    def test_opened(self) -> None:
        """A page that refuses a plain GET, such as of an old link, is logged as well, without the
        query."""
        page = Page("<p>No.")
        self.outcome = Reply(page, 400, refused="M_UNKNOWN: secret-token is not known.")
        (line,) = self.lines(path="/x?token=secret-token", method="GET")
        self.assertIn("refused GET /x for 192.0.2.1: 400 M_UNKNOWN: … is not known.", line)
        self.assertEqual(self.lines(method="HEAD"), [])
        self.outcome = Reply(page, 404)
        self.assertEqual(self.lines(method="GET"), [])

    def test_quiet(self) -> None:
        """A successful request, a HEAD, or a request to an unknown path leaves no line."""
        self.assertEqual(self.lines(method="GET"), [])
        self.assertEqual(self.lines(method="PUT"), [])
        self.assertEqual(self.lines(path="/y"), [])
        self.outcome = Reply({"user_id": "@a:b"})
        self.assertEqual(self.lines(), [])

    def test_nothingThatWasSent(self) -> None:
        """Nothing that the client sent is repeated, whatever wrote the refusal; nor is a mail
        address from elsewhere."""
        body = {"password": "canary", "auth": {"answers": ["secret", "a@b.example"]}}
        self.outcome = InvalidParam("canary, secret, a@b.example\nand bob@c.example are\x00 wrong")
        (line,) = self.lines(body)
        self.assertIn("M_INVALID_PARAM: …, …, … and b…@c.example are  wrong", line)
        deep = b'{"a":' * 20 + b'["canary"]' + b"}" * 20
        self.assertNotIn("canary", self.lines(deep)[0])
        (line,) = self.lines(b"password=canary")
        self.assertNotIn("canary", line)

    def test_oddWords(self) -> None:
        """An unknown stage, or a malformed session id, is not repeated: it may be a password in the
        wrong field."""
        for odd in ("a b", "x" * 25, "password", ["a"], 5, "ü", {"a": "b"}):
            (line,) = self.lines({"auth": {"type": odd, "session": odd}})
            self.assertTrue(line.endswith("(stage unknown, session unknown)"), line)
            self.clock.advance(WINDOW_S)
        for nothing in (b"", b"\xff", b"[]", {"auth": None}):
            self.assertIn("(stage none, session none)", self.lines(nothing)[0])
            self.clock.advance(WINDOW_S)

    def test_hiddenReason(self) -> None:
        """The log has the reason that the client must not learn."""
        self.outcome = LimitExceeded(1000, reason="a spam checker denied it")
        self.assertIn("429 M_LIMIT_EXCEEDED: a spam checker denied it", self.lines()[0])

    def test_flood(self) -> None:
        """A flood from one client leaves few lines, and does not keep others out of the log; a
        summary has the number of those left out."""
        self.outcome = LimitExceeded(1000)
        flood = [line for _ in range(PER_ADDRESS + 5) for line in self.lines()]
        self.assertEqual(len(flood), PER_ADDRESS)
        self.address = "198.51.100.1"
        self.assertEqual(len(self.lines()), 1)
        self.clock.advance(WINDOW_S)
        summary, refused = self.lines()
        self.assertTrue(summary.startswith("5 more refusals are not in the log"), summary)
        self.assertIn("198.51.100.1", refused)
        self.clock.advance(WINDOW_S)
        self.assertEqual(len(self.lines()), 1)

    def test_manyFlood(self) -> None:
        """All clients together leave no more lines than PER_WINDOW."""
        lines = 0
        for number in range(PER_WINDOW + 10):
            self.address = f"192.0.{number}.1"
            lines += len(self.lines())
        self.assertEqual(lines, PER_WINDOW)

    def test_clockBackwards(self) -> None:
        """A clock that is set back ends the window, and logging goes on."""
        for _ in range(PER_ADDRESS):
            self.lines()
        self.clock.rightNow = 5.0
        self.assertEqual(len(self.lines()), 1)
