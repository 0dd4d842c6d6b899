"""Answers and refusals on the wire."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import (
    AwaitingApproval,
    LimitExceeded,
    RegistrationError,
    ServerFull,
    Unavailable,
    UnknownToken,
)
from regsys.http import Call, Endpoint, Reply, resource
from regsys.http.reply import File, Page, Text
from tests.http.wire import Answer, Echo, ask


class ReplyTests(SynchronousTestCase):
    def answer(self, reply: Reply, method: str = "GET") -> Answer:
        return ask(self, resource([Echo("/echo", reply=reply).endpoint]), "/echo", method)

    def test_json(self) -> None:
        """A reply is its JSON body with its status, its length and its own headers."""
        answer = self.answer(Reply({"user_id": "@a:b"}, 401, {"X-Extra": "é"}))
        self.assertEqual(answer.code, 401)
        self.assertEqual(answer.content, b'{"user_id":"@a:b"}')
        self.assertEqual(answer.header("Content-Type"), "application/json")
        self.assertEqual(answer.header("X-Extra"), "é")

    def test_headersOfAllAnswers(self) -> None:
        """Every answer may be read by any web client, and is not cached."""
        for answer in (
            self.answer(Reply()),
            self.answer(Reply(status=500)),
            self.answer(Reply(), "OPTIONS"),
            self.answer(Reply(), "DELETE"),
        ):
            self.assertEqual(answer.header("Access-Control-Allow-Origin"), "*")
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
                self.assertIn(method, str(answer.header("Access-Control-Allow-Methods")))
            for name in ("Authorization", "Content-Type", "X-Requested-With"):
                self.assertIn(name, str(answer.header("Access-Control-Allow-Headers")))
            self.assertEqual(answer.header("Cache-Control"), "no-cache, no-store, must-revalidate")
            self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")

    def test_page(self) -> None:
        """A page is not cached, cannot be framed, and may load nothing but our style sheet and
        pictures; further sources are added to its policy."""
        answer = self.answer(Reply(Page("<p>é</p>", {"script-src": ("'self'",)}), 400))
        self.assertEqual((answer.code, answer.content.decode()), (400, "<p>é</p>"))
        self.assertEqual(answer.header("Content-Type"), "text/html; charset=utf-8")
        self.assertEqual(answer.header("Cache-Control"), "no-cache, no-store, must-revalidate")
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
        self.assertEqual(answer.header("X-Frame-Options"), "DENY")
        self.assertEqual(answer.header("Referrer-Policy"), "no-referrer")
        self.assertIsNone(answer.header("Cross-Origin-Opener-Policy"))
        self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
        self.assertEqual(
            answer.header("Content-Security-Policy"),
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'; script-src 'self'",
        )

    def test_text(self) -> None:
        """Text is sent unchanged, with its type; it is not cached, and no web page may read it."""
        answer = self.answer(Reply(Text(b"up 1\n", "text/plain; version=1")))
        self.assertEqual((answer.code, answer.content), (200, b"up 1\n"))
        self.assertEqual(answer.header("Content-Type"), "text/plain; version=1")
        self.assertEqual(answer.header("Cache-Control"), "no-cache, no-store, must-revalidate")
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
        self.assertIsNone(answer.header("Access-Control-Allow-Origin"))

    def test_picture(self) -> None:
        """A picture that is a document of its own can neither run a script nor load anything."""
        answer = self.answer(Reply(File(b"<svg/>", "image/svg+xml")))
        self.assertEqual(
            answer.header("Content-Security-Policy"),
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        )
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
        other = self.answer(Reply(File(b"x", "image/png")))
        self.assertIsNone(other.header("Content-Security-Policy"))

    def test_file(self) -> None:
        """A static file has its type, and may be cached."""
        answer = self.answer(Reply(File(b"a {}", "text/css")))
        self.assertEqual(answer.content, b"a {}")
        self.assertEqual(answer.header("Content-Type"), "text/css")
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
        self.assertIn("immutable", str(answer.header("Cache-Control")))

    def test_oddStrings(self) -> None:
        """A string that is no valid Unicode can still be answered."""
        answer = self.answer(Reply({"odd": "\ud800 é \0"}))
        self.assertEqual(json.loads(answer.content), {"odd": "\ud800 é \0"})

    def test_repr(self) -> None:
        """A reply's repr doesn't contain its body, which may have tokens."""
        self.assertNotIn("syt_secret", repr(Reply({"access_token": "syt_secret"})))


class RefusalTests(SynchronousTestCase):
    def answer(self, error: Exception) -> Answer:
        async def refuse(call: Call) -> Reply:
            raise error

        endpoint = Endpoint("refuse", ("/refuse",), {"GET": refuse})
        return ask(self, resource([endpoint]), "/refuse")

    def test_refusal(self) -> None:
        """A refusal has its status, errcode, sentence and further keys."""
        answer = self.answer(UnknownToken(soft_logout=True, text="Gone."))
        self.assertEqual(answer.code, 401)
        self.assertEqual(
            json.loads(answer.content),
            {"errcode": "M_UNKNOWN_TOKEN", "error": "Gone.", "soft_logout": True},
        )
        self.assertIsNone(answer.header("Retry-After"))

    def test_body(self) -> None:
        """The body of every kind of error is its own, so that an embedder's endpoints answer like
        ours; each call makes a new one."""
        for error, body in (
            (
                ServerFull("mailto:admin@hs.example"),
                {
                    "errcode": "M_RESOURCE_LIMIT_EXCEEDED",
                    "error": ServerFull.sentence,
                    "limit_type": "monthly_active_user",
                    "admin_contact": "mailto:admin@hs.example",
                },
            ),
            (
                LimitExceeded(1500, "Slowly."),
                {"errcode": "M_LIMIT_EXCEEDED", "error": "Slowly.", "retry_after_ms": 1500},
            ),
            (
                AwaitingApproval(),
                {
                    "errcode": "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL",
                    "error": AwaitingApproval.sentence,
                    "approval_notice_medium": "org.matrix.msc3866.none",
                },
            ),
        ):
            error.body.clear()
            self.assertEqual(error.body, body)
            self.assertEqual(json.loads(self.answer(error).content), body)

    def test_plainRefusal(self) -> None:
        """A refusal without details is a 400 M_UNKNOWN with a sentence."""
        answer = self.answer(RegistrationError())
        self.assertEqual(answer.code, 400)
        body = json.loads(answer.content)
        self.assertEqual((body["errcode"], set(body)), ("M_UNKNOWN", {"errcode", "error"}))

    def test_retryAfter(self) -> None:
        """A hint in milliseconds becomes whole seconds, rounded up, in the header."""
        for milliseconds, seconds in ((1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")):
            answer = self.answer(LimitExceeded(milliseconds))
            self.assertEqual(answer.code, 429)
            self.assertEqual(json.loads(answer.content)["retry_after_ms"], milliseconds)
            self.assertEqual(answer.header("Retry-After"), seconds)

    def test_unavailable(self) -> None:
        """An unavailable service is a 503 with a time to retry."""
        answer = self.answer(Unavailable())
        self.assertEqual(answer.code, 503)
        self.assertEqual(answer.header("Retry-After"), "2")
        self.assertEqual(json.loads(answer.content)["errcode"], "M_UNKNOWN")
