"""Checking whether a registration token is valid, and administering tokens, over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from regsys.model.registration_tokens import TOKENS_A_PAGE, USES_A_PAGE
from regsys.storage.database import Database
from regsys.web.registration_tokens import USES_AT_FIRST
from tests.support.case import SystemCase
from tests.support.client import Answer
from tests.support.tables import ALL

ADMIN = "/_synapse/admin/v1/registration_tokens"
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
KEYS = {"token", "uses_allowed", "pending", "completed", "expiry_time"}
PLENTY = {"per_second": 1000, "burst_count": 1000}


class TokenCase(SystemCase):
    """With an administrator, who has registered without a token."""

    options: ClassVar[Mapping[str, Any]] = {"rc_registration_token_validity": PLENTY}

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.register("bob")["access_token"]
        self.root = self.register("root")["access_token"]
        self.change("UPDATE users SET admin = TRUE WHERE name_key = 'root'")

    def restart(self, **options: Any) -> None:
        """The same server with other options."""
        self.system(database=self.database, **{**self.options, **options})

    def create(self, **body: Any) -> Any:
        """A new token, as in the answer."""
        return self.good(self.client.post(f"{ADMIN}/new", body, token=self.root))

    def ask(self, method: str, path: str = "", body: Any = None) -> Answer:
        return self.client.ask(method, ADMIN + path, body, token=self.root)

    def good(self, answer: Answer) -> Any:
        self.assertEqual(answer.status, 200, answer)
        return answer.json


class ValidityTests(TokenCase):
    options: ClassVar[Mapping[str, Any]] = {
        **TokenCase.options,
        "registration_requires_token": True,
    }

    def setUp(self) -> None:
        super().setUp()
        self.create(token="good")
        self.create(token="none", uses_allowed=0)

    def register(self, username: str = "alice", **more: Any) -> Any:
        """Register while no token is required."""
        self.restart(registration_requires_token=False)
        made = super().register(username, **more)
        self.restart()
        return made

    def validity(self, query: str, path: str = VALIDITY) -> Answer:
        return self.client.get(path + query)

    def test_valid(self) -> None:
        """Whether a token is valid, and nothing else about it."""
        for token, valid in (("good", True), ("none", False), ("", False), ("%F0%9F%A6%8A", False)):
            self.assertEqual(self.good(self.validity(f"?token={token}")), {"valid": valid}, token)

    def test_refused(self) -> None:
        """The token must be given, as text, under v1, and there only."""
        self.assertRefused(self.validity(""), 400, "M_MISSING_PARAM")
        for token in ("%00", "%FF"):
            self.assertRefused(self.validity(f"?token={token}"), 400, "M_INVALID_PARAM", token)
        for version in ("v3", "r0", "unstable"):
            path = VALIDITY.replace("v1", version)
            self.assertRefused(self.validity("?token=good", path), 404, "M_UNRECOGNIZED", version)
        self.assertRefused(self.client.post(f"{VALIDITY}?token=good"), 405, "M_UNRECOGNIZED")

    def test_whereTokensAreAskedFor(self) -> None:
        """No token is valid if none is required; if registration is off the request is refused."""
        for options, valid in (
            ({"registration_requires_token": False}, False),
            ({"enable_registration_token_3pid_bypass": True}, True),
        ):
            self.restart(**{"registration_requires_token": False, **options})
            answer = self.good(self.validity("?token=good"))
            self.assertEqual(answer, {"valid": valid}, options)
        self.restart(enable_registration=False)
        self.assertRefused(self.validity("?token=good"), 403, "M_FORBIDDEN")

    def test_guessing(self) -> None:
        """Guesses are refused after five tries, and allowed again one in ten seconds; other clients
        are not affected."""
        self.restart(rc_registration_token_validity={})
        for number in range(5):
            self.assertEqual(self.validity(f"?token=guess{number}").status, 200)
        for _ in range(1000):
            answer = self.validity("?token=good")
            self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer.headers["retry-after"], "10")
        elsewhere = self.client.get(f"{VALIDITY}?token=good", X_Forwarded_For="192.0.2.9")
        self.assertEqual(elsewhere.json, {"valid": True})
        self.clock.advance(10)
        self.assertEqual(self.validity("?token=good").status, 200)
        self.assertRefused(self.validity("?token=good"), 429, "M_LIMIT_EXCEEDED")


class AdministrationTests(TokenCase):
    def test_forAdministrators(self) -> None:
        """Only an administrator reads or changes a token, or gets its errors."""
        self.create(token="good")
        before = self.rows("SELECT * FROM registration_tokens")
        for method, path in (
            ("POST", "/new"),
            ("GET", ""),
            ("GET", "/good"),
            ("GET", "/nobodys"),
            ("PUT", "/good"),
            ("DELETE", "/good"),
        ):
            case = (method, path)
            body = b"no JSON" if method in ("POST", "PUT") else None
            for token, status, errcode in (
                (None, 401, "M_MISSING_TOKEN"),
                ("nobody's", 401, "M_UNKNOWN_TOKEN"),
                (self.bob, 403, "M_FORBIDDEN"),
                (self.guest()["access_token"], 403, "M_FORBIDDEN"),
            ):
                answer = self.client.ask(method, ADMIN + path, body, token=token)
                self.assertRefused(answer, status, errcode, case)
        self.assertEqual(self.rows("SELECT * FROM registration_tokens"), before)

    def test_created(self) -> None:
        """The answer has exactly the keys that tools expect."""
        end = self.now_ms + 1
        made = self.create(token="a.Z_~-9", uses_allowed=2, expiry_time=end)
        self.assertEqual(
            made,
            {
                "token": "a.Z_~-9",
                "uses_allowed": 2,
                "pending": 0,
                "completed": 0,
                "expiry_time": end,
            },
        )
        self.assertEqual(self.good(self.ask("GET", "/a.Z_~-9")), made)
        made = self.create(uses_allowed=None, expiry_time=None)
        self.assertEqual((made["uses_allowed"], made["expiry_time"]), (None, None))

    def test_madeUp(self) -> None:
        """Without a token one is generated, of 16 characters or the given length; for a token that
        is given the length is ignored."""
        for body, length in (({}, 16), ({"length": 64}, 64), ({"length": 1}, 1)):
            self.assertEqual(len(self.create(**body)["token"]), length)
        self.assertEqual(self.create(token="abc", length="nonsense")["token"], "abc")

    def test_badValues(self) -> None:
        """Every invalid value is M_INVALID_PARAM, and changes nothing."""
        self.create(token="good")
        self.clock.advance(1)
        shared = [
            *({"uses_allowed": bad} for bad in (-1, 1.0, 1.5, True, "1", [], {}, 2**63, -(2**63))),
            *({"expiry_time": bad} for bad in (0, -1, self.now_ms, 1e15, False, "1", [], 2**63)),
            *({"note": bad} for bad in (1, False, [], "x" * 501, "two\nlines")),
        ]
        only_new = [
            *({"token": bad} for bad in (None, "", "x" * 65, "a b", "a/b", "ü", 1, True, ["a"])),
            *({"length": bad} for bad in (None, 0, -1, 65, 1.0, True, "16", 2**64)),
            {"token": "good"},
        ]
        only_old = [{"revoked": bad} for bad in (0, 1, "true", [])]
        before = [self.rows(f"SELECT * FROM {table}") for table in ALL]
        for method, path, bodies in (
            ("POST", "/new", [*shared, *only_new]),
            ("PUT", "/good", [*shared, *only_old]),
        ):
            for body in bodies:
                self.assertRefused(self.ask(method, path, body), 400, "M_INVALID_PARAM", body)
        self.assertEqual([self.rows(f"SELECT * FROM {table}") for table in ALL], before)

    def test_noObject(self) -> None:
        """A body that is no JSON object is refused as everywhere."""
        self.create(token="good")
        for method, path in (("POST", "/new"), ("PUT", "/good")):
            self.assertRefused(self.ask(method, path, b"{"), 400, "M_NOT_JSON")
            self.assertRefused(self.ask(method, path, b"[]"), 400, "M_BAD_JSON")

    def test_changed(self) -> None:
        """PUT sets the given values, null removes a limit; an empty body returns the token."""
        end = self.now_ms + 5
        expected = self.create(token="good", uses_allowed=2, expiry_time=end)
        for body in (
            {},
            {"uses_allowed": 3},
            {"expiry_time": None, "no such key": 1, "revoked": None},
            {"uses_allowed": None, "expiry_time": end + 1},
            {"uses_allowed": 0},
        ):
            expected.update({key: body[key] for key in body.keys() & KEYS})
            self.assertEqual(self.good(self.ask("PUT", "/good", body)), expected, body)
            self.assertEqual(self.good(self.ask("GET", "/good")), expected, body)

    def test_notThere(self) -> None:
        """A token that does not exist is an error in every request; a deleted one does not
        exist."""
        self.create(token="good")
        answer = self.ask("DELETE", "/good")
        self.assertEqual((answer.status, answer.json), (200, {}))
        for method, body in (("GET", None), ("PUT", {}), ("PUT", {"note": ""}), ("DELETE", None)):
            for path in ("/good", "/%F0%9F%A6%8A", "/x" + "x" * 5000):
                answer = self.ask(method, path, body)
                self.assertRefused(answer, 404, "M_NOT_FOUND", (method, path[:10]))
        self.assertEqual(self.good(self.ask("GET")), {"registration_tokens": []})

    def test_listed(self) -> None:
        """All tokens, or the valid ones, or the invalid ones."""
        self.create(token="good", uses_allowed=1)
        self.clock.advance(1)
        self.create(token="none", uses_allowed=0)
        self.create(token="over", expiry_time=self.now_ms + 1)
        self.clock.advance(1)
        for query, names in (
            ("", ["good", "none", "over"]),
            ("?valid=true", ["good"]),
            ("?valid=false", ["none", "over"]),
        ):
            answer = self.good(self.ask("GET", query))
            self.assertEqual(answer.keys(), {"registration_tokens"})
            found = answer["registration_tokens"]
            self.assertEqual([item["token"] for item in found], names, query)
            for item in found:
                self.assertEqual(item.keys(), KEYS)
        for bad in ("valid=yes", "valid=", "valid=True", "valid=1", "details=yes"):
            self.assertRefused(self.ask("GET", f"?{bad}"), 400, "M_INVALID_PARAM", bad)

    def test_details(self) -> None:
        """Details are a token's creator, its creation time, its note, and its uses with their
        times."""
        made_ms = self.now_ms
        self.create(token="good", note="für Zoë")
        self.clock.advance(2)
        used = ("@alice:test.example", "good", self.now_ms)
        self.change("INSERT INTO registration_token_uses VALUES (?, ?, ?)", *used)
        self.good(self.ask("PUT", "/good", {"revoked": True}))
        expected = {
            "token": "good",
            "uses_allowed": None,
            "pending": 0,
            "completed": 0,
            "expiry_time": None,
            "revoked": True,
            "note": "für Zoë",
            "creator": "@root:test.example",
            "created_ts": made_ms,
            "uses": [{"user_id": "@alice:test.example", "used_ts": self.now_ms}],
        }
        self.assertEqual(self.good(self.ask("GET", "/good?details=true")), expected)
        listed = self.good(self.ask("GET", "?details=true"))["registration_tokens"]
        self.assertEqual(listed, [expected])
        self.assertEqual(self.good(self.ask("GET", "/good?details=false")).keys(), KEYS)

    def test_many(self) -> None:
        """However many tokens there are, and uses of one, the answer is one list. Its cost in
        statements grows with the pages, and not with the tokens."""
        count, uses = 2 * TOKENS_A_PAGE + 1, 2 * USES_A_PAGE + USES_AT_FIRST
        numbers = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
        self.change(
            f"{numbers} INSERT INTO registration_tokens SELECT"
            " printf('t%05d', i), NULL, 0, NULL, FALSE, NULL, NULL, i / 3 FROM n",
            count,
        )
        self.change(
            f"{numbers} INSERT INTO registration_token_uses SELECT"
            " printf('@u%05d:test.example', i), 't00007', i / 3 FROM n",
            uses,
        )
        self.change("INSERT INTO registration_token_uses VALUES ('@a:test.example', 't00300', 1)")
        asked: list[str] = []
        autocommit = Database.autocommit

        def counted(database: Any, name: str, *more: Any) -> Any:
            asked.append(name)
            return autocommit(database, name, *more)

        self.patch(Database, "autocommit", counted)
        names = [f"t{number:05}" for number in range(count)]
        found = self.good(self.ask("GET"))["registration_tokens"]
        self.assertEqual([item["token"] for item in found], names)
        self.assertEqual(asked.count("list_tokens"), 4)
        found = self.good(self.ask("GET", "?details=true"))["registration_tokens"]
        self.assertEqual([item["token"] for item in found], names)
        by_token = {item["token"]: item["uses"] for item in found if item["uses"]}
        self.assertEqual(by_token.keys(), {"t00007", "t00300"})
        users = [f"@u{number:05}:test.example" for number in range(uses)]
        self.assertEqual([use["user_id"] for use in by_token["t00007"]], users)
        self.assertEqual((asked.count("first_token_uses"), asked.count("token_uses")), (3, 3))
        self.assertEqual(self.good(self.ask("GET", "/t00007?details=true")), found[7])
        self.assertEqual(self.good(self.ask("GET", "?valid=false"))["registration_tokens"], [])

    def test_revoked(self) -> None:
        """A revoked token is invalid until it is un-revoked."""
        self.create(token="good")
        for revoked in (True, False):
            self.good(self.ask("PUT", "/good", {"revoked": revoked}))
            valid = self.good(self.ask("GET", "?valid=true"))["registration_tokens"]
            self.assertEqual(len(valid), not revoked)
