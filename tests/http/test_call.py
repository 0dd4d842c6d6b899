"""The request as handlers see it."""

from __future__ import annotations

from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import InvalidParam, MissingParam, NotJSON
from regsys.http import Call, resource
from regsys.http.call import BODY_LIMIT
from regsys.model import Client
from tests.http.wire import Answer, Echo, Wire, ask


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = Echo("/echo", "/by/{name}/{other}")
        self.resource = resource([self.echo.endpoint])

    def ask(self, path: str, method: str = "GET", **more: Any) -> Answer:
        return ask(self, self.resource, path, method, **more)

    def call(self, path: str = "/echo", method: str = "GET", **more: Any) -> Call:
        """The call that this request became."""
        self.assertEqual(self.ask(path, method, **more).code, 200)
        return self.echo.calls.pop()

    def raw_call(self, *headers: bytes) -> Call:
        """The same for headers that no client library would send."""
        lines = [b"GET /echo HTTP/1.1", b"Host: hs.test", *headers, b"", b""]
        self.assertIn(b"200 OK", Wire(self.resource).send(b"\r\n".join(lines)))
        return self.echo.calls.pop()

    def token(self, path: str = "/echo", *authorization: str) -> Optional[str]:
        headers = {"Authorization": list(authorization)} if authorization else {}
        token = self.call(path, headers=headers).access_token
        return token and token.reveal()

    def test_line(self) -> None:
        """Method, path and query are exactly as sent."""
        call = self.call("/by/a%2Fb/c%20d?x=%41&y=+", "POST")
        self.assertEqual(call.method, "POST")
        self.assertEqual(call.path, "/by/a%2Fb/c%20d")
        self.assertEqual(call.uri, "/by/a%2Fb/c%20d?x=%41&y=+")

    def test_pathArgs(self) -> None:
        """The named segments of a path arrive decoded."""
        self.assertEqual(self.call("/by/a%2Fb/%C3%BC+").path_args, {"name": "a/b", "other": "ü+"})
        self.assertEqual(self.call().path_args, {})

    def test_gzip(self) -> None:
        """A client may name the encodings that it can read, in one header or more."""
        for headers, takes in (
            ([], False),
            ([b"Accept-Encoding: br"], False),
            ([b"Accept-Encoding: br, GZIP"], True),
            ([b"Accept-Encoding: br", b"Accept-Encoding: gzip"], True),
            ([b"Accept-Encoding: gzip;q=0"], False),
        ):
            self.assertEqual(self.raw_call(*headers).takes_gzip, takes, headers)

    def test_query(self) -> None:
        """A query parameter is decoded; of duplicates the first counts, a missing one is None."""
        call = self.call("/echo?a=1&a=2&u=%C3%BC+x&e=")
        self.assertEqual(call.query("a"), "1")
        self.assertEqual(call.query("u"), "ü x")
        self.assertEqual(call.query("e"), "")
        self.assertIsNone(call.query("none"))

    def test_queryOnly(self) -> None:
        """A form in the body is neither query nor token, even if an embedder's site parses
        forms."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = b'{"password": "x&kind=guest&a=2&access_token=t"}'
        call = self.call("/echo?a=1", "POST", data=body, headers=headers)
        self.assertEqual(
            (call.query("a"), call.query("kind"), call.access_token), ("1", None, None)
        )

    def test_requiredQuery(self) -> None:
        """A missing required query parameter is M_MISSING_PARAM."""
        call = self.call("/echo?a=1")
        self.assertEqual(call.required_query("a"), "1")
        error = self.assertRaises(MissingParam, call.required_query, "username")
        self.assertIn("username", str(error))

    def test_badQuery(self) -> None:
        """A parameter that is not UTF-8 or contains NUL is refused when it is read."""
        call = self.call("/echo?a=%FF&b=x%00&c=%ED%A0%80&d=fine")
        for name in ("a", "b", "c"):
            self.assertRaises(InvalidParam, call.query, name)
        self.assertEqual(call.query("d"), "fine")

    def test_body(self) -> None:
        """The body is read whole, and as JSON whatever its Content-Type is."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        call = self.call(method="POST", data=b'{"a": 1}', headers=headers)
        self.assertEqual(call.body, b'{"a": 1}')
        self.assertEqual(call.object(), {"a": 1})
        self.assertRaises(NotJSON, self.call(method="POST").object)

    def test_bodyLimit(self) -> None:
        """In a site that isn't ours, a body over the limit is refused once it has arrived."""
        self.assertEqual(len(self.call(method="POST", data=b"x" * BODY_LIMIT).body), BODY_LIMIT)
        answer = self.ask("/echo", "POST", data=b"x" * (BODY_LIMIT + 1))
        self.assertEqual(answer.code, 413)
        self.assertIn(b"M_TOO_LARGE", answer.content)
        self.assertEqual(self.echo.calls, [])

    def test_bearerToken(self) -> None:
        """The Authorization header has the access token, and wins over the query."""
        self.assertEqual(self.token("/echo", "Bearer abc"), "abc")
        self.assertEqual(self.token("/echo", "bearer  abc "), "abc")
        self.assertEqual(self.token("/echo?access_token=old", "Bearer abc"), "abc")

    def test_legacyToken(self) -> None:
        """Without a bearer token the query may have one."""
        self.assertEqual(self.token("/echo?access_token=a%2Bb"), "a+b")
        self.assertEqual(self.token("/echo?access_token=abc", "Basic eDp5"), "abc")

    def test_noToken(self) -> None:
        """A missing token is None, which is not the same as an invalid one."""
        self.assertIsNone(self.token())
        self.assertIsNone(self.token("/echo", "Basic eDp5"))

    def test_uselessToken(self) -> None:
        """An ambiguous or malformed token belongs to no user."""
        self.assertEqual(self.token("/echo", "Bearer abc", "Bearer abc"), "")
        self.assertEqual(self.token("/echo", "Basic eDp5", "Bearer abc"), "")
        self.assertEqual(self.token("/echo", "Bearer"), "")
        self.assertEqual(self.token("/echo", "Bearer äbc"), "")
        self.assertEqual(self.token("/echo?access_token=a&access_token=a"), "")
        self.assertEqual(self.token("/echo?access_token=a%00"), "")
        self.assertEqual(self.token("/echo?access_token=%FF"), "")
        self.assertEqual(self.token("/echo?access_token="), "")

    def test_client(self) -> None:
        """The client is the peer's address, or the result of the policy."""
        headers = [b"User-Agent: nio/1.0", b"X-Forwarded-For: 203.0.113.9"]
        self.assertEqual(self.raw_call(*headers).client, Client("192.0.2.7", "nio/1.0"))
        self.resource = resource([self.echo.endpoint], client_address=lambda request: "x")
        self.assertEqual(self.raw_call().client, Client("x", ""))

    def test_userAgent(self) -> None:
        """A user agent has at most 512 characters, and no control characters."""
        agent = self.raw_call(b"User-Agent: " + b"x" * 600).client.user_agent
        self.assertEqual(agent, "x" * 512)
        raw = "a\x1b[31mb\x7fc\u202ed\x85e é".encode() + b"\xff"
        agent = self.raw_call(b"User-Agent: " + raw).client.user_agent
        self.assertEqual(agent, "a[31mbcde é\ufffd")

    def test_tokenInTheAddress(self) -> None:
        """An access token in the query is removed from the logged address, however it is
        written."""
        for path, uri in (
            ("/echo?access_token=syt_a", "/echo"),
            ("/echo?a=1&access_token=syt_a&b=%20", "/echo?a=1&b=%20"),
            ("/echo?%61ccess_token=syt_a&kind=user", "/echo?kind=user"),
            ("/echo?access%5Ftoken=x&access_token=y", "/echo"),
            ("/echo?accessible=1", "/echo?accessible=1"),
        ):
            self.assertEqual(self.call(path).uri, uri, path)

    def test_languages(self) -> None:
        """The reader's languages, the preferred first; refused and malformed ones are left out."""
        cases = {
            "de": ("de",),
            "de-AT, fr;q=0.5, EN;q=0.8": ("de-at", "en", "fr"),
            "fr;q=0, en;q=0.0, *;q=0.1": ("*",),
            "de;q=2, fr;q=x, it;level=1, , en": ("en",),
            ",".join(["x"] * 1000): ("x",) * 20,
        }
        for header, languages in cases.items():
            call = self.call(headers={"Accept-Language": [header]})
            self.assertEqual(call.languages, languages, header[:50])
        self.assertEqual(self.call().languages, ())

    def test_form(self) -> None:
        """The fields of a form; a malformed one is refused."""
        post = self.call(method="POST", data=b"a=1&b=%C3%A9+x&a=2&empty=&lone")
        self.assertEqual(post.form(), {"a": "2", "b": "é x", "empty": "", "lone": ""})
        for bad in (b"\xff=1", b"a=%FF", b"a=%00", b"&".join([b"a=1"] * 101)):
            self.assertRaises(InvalidParam, self.call(method="POST", data=bad).form)

    def test_reprHoldsNoSecret(self) -> None:
        """Query, path, body and token do not appear in the repr."""
        call = self.call(
            "/by/hidden/x?token=hidden",
            "POST",
            data=b"hidden",
            headers={"Authorization": "Bearer hidden"},
        )
        self.assertNotIn("hidden", repr(call))
