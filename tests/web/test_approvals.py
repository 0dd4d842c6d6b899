"""The queue of approvals over HTTP: for programs, and the administrators' page."""

from __future__ import annotations

import html
import re
from typing import Any, Optional
from urllib.parse import quote, urlencode

from regsys.web.approvals_page import COOKIE, LASTS_MS, PATH
from tests.accounts.test_approvals import NEEDED, WHY, ApprovalCase
from tests.support.case import PASSWORD
from tests.support.client import Answer
from tests.web import test_page_headers

API = "/_regsys/v1/approvals"
HOSTILE = "<script>alert(1)</script>&amp; \"'"


class ApiTests(ApprovalCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.make_admin()

    def ask(self, method: str = "GET", path: str = "", body: Any = None) -> Answer:
        return self.client.ask(method, API + path, body, token=self.root)

    def test_list(self) -> None:
        """Who waits, with all that is known of the request, and nothing secret."""
        self.assertEqual(self.ask().json, {"approvals": [], "total": 0})
        self.ask_for(X_Forwarded_For="192.0.2.7")
        self.add_mail()
        expected = {
            "user_id": "@alice:test.example",
            "displayname": "alice",
            "reason": WHY,
            "emails": ["alice@mail.example"],
            "phones": [],
            "ip": "192.0.2.7",
            "requested_ts": self.now_ms,
        }
        self.assertEqual(self.ask().json, {"approvals": [expected], "total": 1})

    def test_pages(self) -> None:
        """A page ends with what the next one begins with; bad values are refused."""
        for name in ("a", "b", "c"):
            self.ask_for(name)
        first = self.ask(path="?limit=2").json
        self.assertEqual((len(first["approvals"]), first["total"]), (2, 3))
        rest = self.ask(path=f"?limit=2&from={quote(first['next_token'])}").json
        self.assertEqual([it["user_id"] for it in rest["approvals"]], ["@c:test.example"])
        self.assertNotIn("next_token", rest)
        for query in ("limit=0", "limit=1001", "limit=x", "limit=", "from=", "from=x", "from=1_",
                      f"from={'9' * 30}_@a:b", "from=%C2%B2_a", "limit=%C2%B2"):  # fmt: skip
            self.assertRefused(self.ask(path=f"?{query}"), 400, "M_INVALID_PARAM", query)

    def test_approve(self) -> None:
        """An account is approved by name or user ID, again without effect."""
        self.ask_for()
        began_ms = self.now_ms
        for path, is_new in (("@ALICE%3Atest.example", True), ("alice", False)):
            answer = self.ask("POST", f"/{path}/approve")
            expected = {
                "user_id": "@alice:test.example",
                "decision": "approved",
                "by": "@root:test.example",
                "decided_ts": began_ms,
                "is_new": is_new,
                "released": False,
            }
            self.assertEqual((answer.status, answer.json), (200, expected))
            self.clock.advance(1)
        self.assertEqual(self.log_in().status, 200)
        answer = self.ask("POST", "/alice/refuse")
        self.assertRefused(answer, 409, "ORG.REGSYS_ALREADY_DECIDED")
        self.assertEqual(answer.json["by"], "@root:test.example")

    def test_refuse(self) -> None:
        """With a reason or without a body."""
        for name, body in (("alice", {"reason": "no"}), ("bob", None), ("carol", {})):
            self.ask_for(name)
            answer = self.ask("POST", f"/{name}/refuse", body)
            self.assertEqual((answer.status, answer.json["decision"]), (200, "refused"))
        rows = self.rows("SELECT refusal_reason FROM approvals ORDER BY user_id")
        self.assertEqual(rows, [("no",), (None,), (None,)])

    def test_bad(self) -> None:
        """What is wrong is told, and changes nothing."""
        self.ask_for()
        for path, body, status, errcode in (
            ("/nobody/approve", None, 404, "M_NOT_FOUND"),
            ("/@alice:other.example/approve", None, 400, "M_INVALID_PARAM"),
            ("/@alice/approve", None, 400, "M_INVALID_PARAM"),
            ("/alice/refuse", {"reason": 1}, 400, "M_BAD_JSON"),
            ("/alice/refuse", {"reason": "a\x07"}, 400, "M_INVALID_PARAM"),
            ("/alice/refuse", b"[", 400, "M_NOT_JSON"),
        ):
            self.assertRefused(self.ask("POST", path, body), status, errcode, (path, body))
        self.assertEqual(self.ask().json["total"], 1)

    def test_administratorsOnly(self) -> None:
        """Other clients are refused."""
        alice = self.make_admin("alice")
        self.change("UPDATE users SET admin = FALSE WHERE name_key = 'alice'")
        self.ask_for("bob")
        for method, path in (("GET", ""), ("POST", "/bob/approve"), ("POST", "/bob/refuse")):
            for token, status, errcode in (
                (None, 401, "M_MISSING_TOKEN"),
                ("syt_nobodys", 401, "M_UNKNOWN_TOKEN"),
                (alice, 403, "M_FORBIDDEN"),
            ):
                answer = self.client.ask(method, API + path, token=token)
                self.assertRefused(answer, status, errcode, (method, path))
        self.assertEqual(self.ask().json["total"], 1)


class PageTests(test_page_headers.SafePages, ApprovalCase):
    """``cookie`` is the administrator's, once logged in."""

    def setUp(self) -> None:
        super().setUp()
        self.make_admin()
        self.cookie: Optional[str] = None

    def get(self, query: str = "", language: str = "en") -> str:
        answer = self.client.ask("GET", PATH + query, **self.headers(Accept_Language=language))
        self.assertEqual(answer.status, 200, answer)
        self.assertSafe(query, answer)
        self.assertNotIn("script-src", answer.headers["content-security-policy"])
        return str(answer.json.decode())

    def headers(self, **more: str) -> dict[str, str]:
        return more if self.cookie is None else {"Cookie": f"a=b; {COOKIE}={self.cookie}", **more}

    def post(self, **fields: str) -> Answer:
        return self.client.ask("POST", PATH, urlencode(fields).encode(), **self.headers())

    def enter(self, user: str = "root", password: str = PASSWORD) -> Answer:
        """Log in."""
        answer = self.post(action="log_in", user=user, password=password)
        found = re.match(rf"{COOKIE}=([^;]+);", answer.headers.get("set-cookie", ""))
        self.cookie = found[1] if found else None
        return answer

    def send(self, action: str, user_id: str = "@alice:test.example", **fields: str) -> Answer:
        """Send a form of the page."""
        found = re.search(r'name="form_token" value="([A-Za-z]+)"', self.get())
        assert found is not None
        return self.post(action=action, user_id=user_id, form_token=found[1], **fields)

    def test_logIn(self) -> None:
        """An administrator gets a cookie for this page alone, and sees who waits."""
        self.assertIn("Log in with your own account", self.get())
        answer = self.enter()
        self.assertEqual((answer.status, answer.headers["location"]), (303, "./"))
        self.assertEqual(
            answer.headers["set-cookie"].partition("; ")[2],
            f"Path={PATH}; Max-Age={LASTS_MS // 1000}; HttpOnly; SameSite=Strict; Secure",
        )
        self.assertIn("Nobody waits for approval.", self.get())
        self.assertNotIn(self.cookie, repr(self.rows("SELECT * FROM administrator_sessions")))

    def test_belowAPath(self) -> None:
        """Below another path the cookie is for that; without TLS it is not Secure."""
        options = {**self.options, "public_baseurl": "http://localhost:8008/sub/"}
        self.system(database=self.database, **options)
        kept = self.enter().headers["set-cookie"]
        self.assertIn(f"; Path=/sub{PATH}; ", kept)
        self.assertNotIn("Secure", kept)

    def test_notLoggedIn(self) -> None:
        """Nobody but an administrator gets in, and is told why; the limits of /login apply."""
        self.ask_for()
        self.make_admin("bob")
        self.change("UPDATE users SET admin = FALSE WHERE name_key = 'bob'")
        for user, password, status, words in (
            ("root", "wrong", 403, "user name or the password is wrong"),
            ("nobody", PASSWORD, 403, "user name or the password is wrong"),
            ("bob", PASSWORD, 403, "for administrators of this server only"),
            ("alice", PASSWORD, 403, "waits for an administrator"),
            ("alice", "wrong", 403, "user name or the password is wrong"),
        ):
            answer = self.enter(user, password)
            self.assertEqual(answer.status, status, (user, answer))
            self.assertIn(words, answer.json.decode())
            self.assertNotIn("set-cookie", answer.headers)
            self.assertNotIn(WHY[:10], answer.json.decode())
        self.assertEqual(self.post(action="log_in").status, 400)
        for cookie in ("x", "", "é"):
            self.cookie = cookie
            self.assertIn("Log in with your own account", self.get())
            self.assertEqual(self.post(action="approve", user_id="alice").status, 403)
        limit = {"per_second": 0.01, "burst_count": 2}
        self.system(database=self.database, rc_login={"address": limit}, **self.options)
        self.cookie = None
        statuses = [self.enter("root", "wrong").status for _ in range(3)]
        self.assertEqual(statuses, [403, 403, 429])

    def test_ends(self) -> None:
        """The login ends after an hour, with a logout, and with the administrator's rights."""
        self.enter()
        self.clock.advance(LASTS_MS / 1000 - 1)
        self.assertIn("Nobody waits", self.get())
        self.clock.advance(1)
        self.assertIn("Log in", self.get())
        self.enter()
        answer = self.send("log_out")
        self.assertEqual(answer.status, 303)
        self.assertIn(f"{COOKIE}=; ", answer.headers["set-cookie"])
        self.assertIn("Max-Age=0", answer.headers["set-cookie"])
        self.assertIn("Log in", self.get())
        self.enter()
        self.change("UPDATE users SET admin = FALSE")
        self.assertIn("Log in", self.get())

    def test_shown(self) -> None:
        """Everything that a newcomer has chosen is text."""
        self.ask_for(reason=HOSTILE, X_Forwarded_For="192.0.2.7")
        self.add_mail(address="<b>@mail.example")
        self.change("UPDATE profiles SET display_name = ? WHERE user_id LIKE '@alice%'", HOSTILE)
        self.enter()
        page = self.get()
        self.assertNotIn("<script", page)
        self.assertNotIn("<b>", page)
        self.assertEqual(html.unescape(page).count(HOSTILE), 2)
        for words in ("@alice:test.example", "192.0.2.7", "2023-11-14 22:13 UTC"):
            self.assertIn(words, page)
        self.assertIn("Freigeben", self.get(language="de"))

    def test_decided(self) -> None:
        """A decision leads back to the page, which says what became of it, again too."""
        for name in ("alice", "bob"):
            self.ask_for(name)
        self.enter()
        for _ in range(2):
            answer = self.send("approve")
            self.assertEqual(answer.status, 303)
            about = answer.headers["location"].removeprefix("./")
            self.assertIn(
                "@alice:test.example is approved, by @root:test.example.", self.get(about)
            )
        self.assertEqual(self.log_in().status, 200)
        answer = self.send("refuse", "@bob:test.example", reason="no\r\nway")
        about = answer.headers["location"].removeprefix("./")
        self.assertIn("@bob:test.example is refused, by @root:test.example.", self.get(about))
        rows = self.rows("SELECT refusal_reason FROM approvals WHERE user_id LIKE '@bob%'")
        self.assertEqual(rows, [("no\nway",)])
        self.assertIn("Nobody waits for approval.", self.get())

    def test_another(self) -> None:
        """Who comes too late is told by whom and what was decided."""
        self.ask_for()
        self.make_admin("other")
        self.enter()
        late = self.get()
        found = re.search(r'name="form_token" value="([A-Za-z]+)"', late)
        assert found is not None
        first, self.cookie = self.cookie, None
        self.enter("other")
        self.send("refuse")
        self.cookie = first
        fields = {"action": "approve", "user_id": "@alice:test.example", "form_token": found[1]}
        about = self.post(**fields).headers["location"].removeprefix("./")
        self.assertIn("@alice:test.example is refused, by @other:test.example.", self.get(about))

    def test_forged(self) -> None:
        """A form without the page's token, or with that of another login, does nothing."""
        self.ask_for()
        self.enter()
        found = re.search(r'name="form_token" value="([A-Za-z]+)"', self.get())
        assert found is not None
        for token in ("", "x" * 32, "é", found[1][:-1]):
            for action in ("approve", "refuse", "log_out"):
                fields = {"action": action, "user_id": "@alice:test.example"}
                answer = self.post(form_token=token, **fields)
                self.assertEqual(answer.status, 403)
                self.assertIn("This page was too old", answer.json.decode())
        self.cookie = None
        self.enter()
        answer = self.post(action="approve", user_id="@alice:test.example", form_token=found[1])
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.rows("SELECT decision FROM approvals"), [(None,)])

    def test_bad(self) -> None:
        """Bad input is a page with a status of its own, never an error of ours."""
        self.ask_for()
        self.enter()
        self.assertEqual(self.send("refuse", reason="a\x07").status, 400)
        self.assertEqual(self.send("approve", "@alice:other.example").status, 400)
        self.assertEqual(self.send("approve", "nobody").status, 303)
        for query in (
            "?about=x",
            "?about=@x:y",
            "?about=@",
            "?from=x",
            "?about=@nobody:test.example",
        ):
            answer = self.client.ask("GET", PATH + query, **self.headers())
            self.assertIn(answer.status, (200, 400), query)

    def test_many(self) -> None:
        """More than fit on a page are on the next."""
        for number in range(51):
            self.change(
                "INSERT INTO users (user_id, name_key, is_guest, admin, approved, shadow_banned,"
                " deactivated, created_ms) VALUES (?, ?, FALSE, FALSE, FALSE, FALSE, FALSE, ?)",
                f"@user{number}:test.example",
                f"user{number}",
                number,
            )
        self.enter()
        page = self.get()
        self.assertIn("wait for approval: 51", page)
        self.assertNotIn("@user50:", page)
        found = re.search(r'href="\./(\?from=[^"]+)"', page)
        assert found is not None
        self.assertIn("@user50:", self.get(html.unescape(found[1])))


class WhereTests(ApprovalCase):
    def test_where(self) -> None:
        """The page is there where accounts wait, or somebody is to be told that one does, and
        administrators have passwords."""
        mails = {"email": {"notif_from": "a@test.example"}}
        notify = {"regsys": {"approval": {"notify": ["a@mail.example"]}}}
        for options, is_there in (
            ({}, False),
            ({"experimental_features": NEEDED}, True),
            ({**mails, **notify}, True),
            ({"experimental_features": NEEDED, "password_config": {"enabled": False}}, False),
        ):
            self.system(**options)
            self.assertEqual("approvals_page" in self.subsystem.endpoints, is_there, options)
