"""POST /register over HTTP: the keys of its answers, and the form of its requests."""

from __future__ import annotations

import json
from typing import Any

from regsys.json_body import NEVER_NULL
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3

WHO = {"user_id", "home_server"}
LOGIN = WHO | {"device_id", "access_token"}
STRINGS = (
    "username",
    "password",
    "device_id",
    "initial_device_display_name",
    "guest_access_token",
)
OPTIONAL = ("device_id", "initial_device_display_name", "guest_access_token", "inhibit_login")
PATH = f"{V3}/register"


class AnswerTests(SystemCase):
    def test_keys(self) -> None:
        """The answer has the user and the server, and unless the login is inhibited the device and
        its tokens, with an expiry if they have one."""
        expiring = {"nonrefreshable_access_token_lifetime": "10m"}
        off = {"refreshable_access_token_lifetime": None}
        cases: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
            ({}, {}, LOGIN),
            ({}, {"refresh_token": False, "inhibit_login": False}, LOGIN),
            ({}, {"refresh_token": True}, LOGIN | {"refresh_token", "expires_in_ms"}),
            (expiring, {}, LOGIN | {"expires_in_ms"}),
            ({"session_lifetime": "1h"}, {}, LOGIN | {"expires_in_ms"}),
            (off, {"refresh_token": True}, LOGIN),
            ({}, {"inhibit_login": True, "refresh_token": True}, WHO),
            (expiring, {"inhibit_login": True}, WHO),
        ]
        for options, body, keys in cases:
            self.system(**options)
            made = self.register(**body)
            self.assertEqual(made.keys(), keys, (options, body))
            self.assertEqual(made["home_server"], "test.example")

    def test_ends(self) -> None:
        """``expires_in_ms`` is the lifetime of the access token, in milliseconds."""
        self.system(
            nonrefreshable_access_token_lifetime="10m", refreshable_access_token_lifetime="2m"
        )
        self.assertEqual(self.register("alice")["expires_in_ms"], 600_000)
        self.assertEqual(self.register("bob", refresh_token=True)["expires_in_ms"], 120_000)

    def test_bothVersions(self) -> None:
        """It exists under v3 and r0, accepts POST alone, and nothing behind a slash."""
        for version in ("v3", "r0"):
            path = f"/_matrix/client/{version}/register"
            body = {"username": f"alice.{version}", "password": PASSWORD, "auth": DUMMY}
            self.assertEqual(self.client.post(path, body).status, 200)
            self.assertRefused(self.client.get(path), 405, "M_UNRECOGNIZED")
            self.assertRefused(self.client.post(f"{path}/"), 404, "M_UNRECOGNIZED")
        self.assertRefused(self.client.post("/_matrix/client/v1/register"), 404, "M_UNRECOGNIZED")

    def test_headers(self) -> None:
        """Every answer may be read by any web client, and is not cached."""
        for status, body in (
            (200, {"username": "alice", "password": PASSWORD, "auth": DUMMY}),
            (401, {}),
            (400, {"username": "Ä"}),
        ):
            answer = self.client.register(**body)
            self.assertEqual(answer.status, status)
            headers = answer.headers
            self.assertEqual(headers["access-control-allow-origin"], "*")
            self.assertEqual(headers["cache-control"], "no-cache, no-store, must-revalidate")
            self.assertEqual(headers["content-type"], "application/json")

    def test_refusal(self) -> None:
        """A refusal has its errcode and a sentence for users."""
        answer = self.client.register(username="Ä")
        self.assertEqual(answer.json.keys(), {"errcode", "error"})
        self.assertTrue(answer.json["error"].endswith("+"), answer.json)


class RequestTests(SystemCase):
    def ask(self, **changed: Any) -> Any:
        """A valid request, except for the changes."""
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY, **changed}
        return self.client.register(**body)

    def assertNothingWritten(self) -> None:
        self.assertEqual(set(self.counts().values()), {0})

    def test_wrongTypes(self) -> None:
        """A value of the wrong type is M_BAD_JSON, and nothing is written."""
        flags = ("inhibit_login", "refresh_token")
        for keys, wrong in (
            (STRINGS, (1, 1.5, True, [], {}, ["alice"])),
            (flags, (0, 1, "true", [], {})),
            (("auth",), (1, "S", [], False)),
            (NEVER_NULL, (None,)),
        ):
            for key in keys:
                for value in wrong:
                    answer = self.ask(**{key: value})
                    self.assertRefused(answer, 400, "M_BAD_JSON", (key, value))
        for key in ("session", "type"):
            for value in (1, [], {}, True):
                answer = self.ask(auth={**DUMMY, key: value})
                self.assertRefused(answer, 400, "M_BAD_JSON", (key, value))
        self.assertNothingWritten()

    def test_nullIsLeftOut(self) -> None:
        """Null for an optional key counts as absent, in the body and in ``auth``."""
        nulls = dict.fromkeys((*OPTIONAL, "unknown"), None)
        self.assertEqual(self.ask(**nulls, auth={**DUMMY, "session": None}).status, 200)
        for auth in (None, {"session": None}, {"session": None, "type": None}):
            self.assertEqual(self.ask(username="bob", auth=auth).status, 401)
        refused = self.ask(username="bob", password=None)
        self.assertRefused(refused, 400, "M_MISSING_PARAM")

    def test_oddCharacters(self) -> None:
        """NUL and lone surrogates are refused anywhere, in a name as an invalid one; nothing is
        written."""
        for odd in ("a\0", "\0", "a\ud800", "\udfff"):
            self.assertRefused(self.ask(username=odd), 400, "M_INVALID_USERNAME", repr(odd))
            bodies: list[dict[str, Any]] = [{key: odd} for key in (*STRINGS[1:], "unknown")]
            bodies += [
                {"auth": {"session": odd}},
                {"auth": {"type": odd}},
                {"auth": {**DUMMY, "more": [{"deep": odd}]}},
                {odd: "x"},
            ]
            for body in bodies:
                self.assertRefused(self.ask(**body), 400, "M_INVALID_PARAM", repr(body))
        self.assertNothingWritten()

    def test_notJSON(self) -> None:
        """A body that is no JSON, or no object, is refused as such."""
        for body in (b"", b"{", b'{"a": NaN}', b"\xff", b"\xef\xbb\xbf{}", b"a=b"):
            self.assertRefused(self.client.post(PATH, body), 400, "M_NOT_JSON", body)
        for body in (b"[]", b"null", b'"x"', b"1"):
            self.assertRefused(self.client.post(PATH, body), 400, "M_BAD_JSON", body)

    def test_tooLarge(self) -> None:
        """A body of 64 KiB is read, a larger one is not."""
        body = json.dumps({"unknown": ""}).encode()
        for length, status, errcode in (
            (65536, 401, None),
            (65537, 413, "M_TOO_LARGE"),
            (2**21, 413, "M_TOO_LARGE"),
        ):
            filled = body[:-2] + b"x" * (length - len(body)) + body[-2:]
            self.assertRefused(self.client.post(PATH, filled), status, errcode)

    def test_whatIsNotLookedAt(self) -> None:
        """Unknown keys and the content type are ignored; of duplicate keys the last counts."""
        body = (
            b'{"username": "first", "x": {"y": [1e3, null]}, "username": "alice",'
            b' "password": "pw", "auth": {"type": "m.login.dummy"}}'
        )
        answer = self.client.post(PATH, body, Content_Type="text/plain; charset=latin-1")
        self.assertEqual(answer.json["user_id"], "@alice:test.example")
