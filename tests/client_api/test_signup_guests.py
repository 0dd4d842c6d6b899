"""Guests: how they register, and how a guest becomes a user under its name."""

from __future__ import annotations

import base64
import re
from typing import Any, Callable

from twisted.internet.defer import Deferred

from regsys.appservices.namespaces import Appservices
from regsys.credentials.access_tokens import MAX_DISPLAY_NAME
from regsys.model import Appservice, Secret, UserNamespace
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer
from tests.support.question_stage import ANSWERED, QUESTION, QuestionStage

# The guest of UpgradeCase.
USER = "@1:test.example"


class GuestTests(SystemCase):
    def test_answer(self) -> None:
        """A guest gets a numbered name, the guest device and a token, and nothing else."""
        self.system(nonrefreshable_access_token_lifetime="5m", refresh_token_lifetime="1h")
        made = self.guest()
        token = made.pop("access_token")
        self.assertEqual(
            made,
            {
                "user_id": "@1:test.example",
                "home_server": "test.example",
                "device_id": "guest_device",
            },
        )
        self.assertIn(b"location test.example", base64.urlsafe_b64decode(token + "==="))
        self.clock.advance(365 * 24 * 3600)
        expected = {"user_id": "@1:test.example", "device_id": "guest_device", "is_guest": True}
        self.assertEqual(self.whoami(token).json, expected)

    def test_everyNameKept(self) -> None:
        """If a service reserves every name, guests and registrations without a name are refused
        with an explanation, and nothing is written."""
        everything = UserNamespace(regex=re.compile(".*"), exclusive=True)
        greedy = Appservice(
            id="greedy",
            as_token=Secret("as"),
            sender_localpart="greedy",
            users=(everything,),
        )
        services = Appservices.from_services([greedy], "test.example")
        self.system(services=services, allow_guest_access=True)
        for query, body in (("?kind=guest", {}), ("", {"password": PASSWORD, "auth": DUMMY})):
            answer = self.client.register(query, **body)
            self.assertRefused(answer, 403, "M_FORBIDDEN", query)
            self.assertIn("no user name to give", answer.json["error"])
        self.assertEqual(set(self.counts().values()), {0})

    def test_rows(self) -> None:
        """A guest is a user without a password, with a profile and a device; its token is not
        stored."""
        self.guest()
        self.assertEqual(
            self.rows("SELECT name_key, is_guest, password_hash, upgraded_ms FROM users"),
            [("1", 1, None, None)],
        )
        self.assertEqual(self.rows("SELECT display_name FROM profiles"), [("1",)])
        self.assertEqual(self.rows("SELECT device_id FROM devices"), [("guest_device",)])
        self.assertEqual(self.counts()["logins"], 0)

    def test_bodyIsIgnored(self) -> None:
        """Of a guest's body only the name of its device counts."""
        answer = self.client.register(
            "?kind=guest",
            username=["alice"],
            password=1,
            device_id="MINE",
            refresh_token="yes",
            inhibit_login=True,
            auth=7,
            guest_access_token={},
            initial_device_display_name="a guest's browser",
        )
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["device_id"], "guest_device")
        self.assertIn("access_token", answer.json)
        self.assertEqual(self.rows("SELECT display_name FROM devices"), [("a guest's browser",)])

    def test_nameOfTheDevice(self) -> None:
        """The name of a guest's device is a string of at most 100 characters."""
        for name, errcode in ((1, "M_BAD_JSON"), ("a" * (MAX_DISPLAY_NAME + 1), "M_INVALID_PARAM")):
            answer = self.client.register("?kind=guest", initial_device_display_name=name)
            self.assertRefused(answer, 400, errcode)
        self.assertEqual(self.counts()["users"], 0)

    def test_bodyIsJSON(self) -> None:
        """The body must be a JSON object all the same."""
        for body, errcode in ((b"", "M_NOT_JSON"), (b"{", "M_NOT_JSON"), (b"[]", "M_BAD_JSON")):
            answer = self.client.post(f"{V3}/register?kind=guest", body)
            self.assertRefused(answer, 400, errcode, body)

    def test_strayToken(self) -> None:
        """An access token on a guest's registration is ignored."""
        answer = self.client.post(f"{V3}/register?kind=guest", token="syt_stray")
        self.assertEqual(answer.status, 200, answer)

    def test_notWelcome(self) -> None:
        """Without ``allow_guest_access``, and if sessions must expire, there are no guests; the
        refusal does not count against the limit."""
        for options in ({"allow_guest_access": False}, {"session_lifetime": "1h"}):
            self.system(rc_registration={"per_second": 0.001, "burst_count": 1}, **options)
            for _ in range(3):
                answer = self.client.register("?kind=guest")
                self.assertRefused(answer, 403, "M_FORBIDDEN", options)
            self.assertEqual(self.counts()["users"], 0)
            self.register()

    def test_noLogin(self) -> None:
        """A guest cannot log in, having no password, and cannot log out."""
        token = self.guest()["access_token"]
        body = {"type": "m.login.password", "user": "1", "password": ""}
        self.assertRefused(self.client.post(f"{V3}/login", body), 403, "M_FORBIDDEN")
        for path in ("logout", "logout/all"):
            answer = self.client.post(f"{V3}/{path}", token=token)
            self.assertRefused(answer, 403, "M_FORBIDDEN", path)
        self.assertEqual(self.whoami(token).status, 200)

    def test_namesThatAreTaken(self) -> None:
        """Numbers that are taken are skipped, however many, without a failing insert (threat
        C15)."""
        for number in range(1, 501):
            self.change(
                "INSERT INTO users (user_id, name_key, is_guest, admin, approved, shadow_banned,"
                f" deactivated, created_ms) VALUES ('@{number}:test.example', '{number}', FALSE,"
                " FALSE, TRUE, FALSE, FALSE, 1)"
            )
        self.assertEqual(self.guest()["user_id"], "@501:test.example")
        self.assertEqual(self.counts()["outcomes"], 1)


class UpgradeCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.token = self.guest()["access_token"]

    def upgrade(self, username: str = "1", **more: Any) -> Answer:
        body = {
            "username": username,
            "password": PASSWORD,
            "guest_access_token": self.token,
            "auth": DUMMY,
            **more,
        }
        return self.client.register(**body)

    def log_in(self, password: str = PASSWORD) -> int:
        body = {"type": "m.login.password", "user": "1", "password": password}
        return self.client.post(f"{V3}/login", body).status


class UpgradeTests(UpgradeCase):
    def test_becomesAUser(self) -> None:
        """A guest keeps its name, although it is digits, and becomes a user with a password; its
        old token and the guest device are gone."""
        self.assertEqual(self.log_in(), 403)
        made = self.upgrade().json
        self.assertEqual(made["user_id"], "@1:test.example")
        self.assertRefused(self.whoami(self.token), 401, "M_UNKNOWN_TOKEN")
        who = self.whoami(made["access_token"]).json
        self.assertEqual((who["user_id"], who["is_guest"]), ("@1:test.example", False))
        self.assertEqual(self.log_in(), 200)
        devices = self.rows("SELECT device_id FROM devices WHERE device_id = 'guest_device'")
        self.assertEqual(devices, [])

    def test_rowsAreKept(self) -> None:
        """It is the same account: its creation time and its profile stay, and the time of the
        upgrade is stored."""
        began_ms = self.now_ms
        self.change("UPDATE profiles SET display_name = 'A guest'")
        self.clock.advance(60)
        self.assertEqual(self.upgrade().status, 200)
        self.assertEqual(
            self.rows("SELECT name_key, is_guest, created_ms, upgraded_ms FROM users"),
            [("1", 0, began_ms, began_ms + 60_000)],
        )
        self.assertEqual(self.rows("SELECT display_name FROM profiles"), [("A guest",)])

    def begin(self, **body: Any) -> dict[str, Any]:
        """Begin an upgrade in a session; the ``auth`` that completes it."""
        body = {"username": "1", "guest_access_token": self.token, "password": PASSWORD, **body}
        session = self.challenge(**body)["session"]
        self.clock.advance(0)
        return {"session": session, **DUMMY}

    def test_inTwoSteps(self) -> None:
        """The last request of an upgrade may have ``auth`` alone, or its parameters without the
        token: the session stores that the token was shown, and not the token."""
        for body in ({}, {"username": "1", "password": PASSWORD}):
            self.setUp()
            auth = self.begin()
            self.assertNotIn(self.token, repr(self.rows("SELECT * FROM uia_sessions")))
            first = self.client.register(**body, auth=auth)
            self.assertEqual(first.status, 200, first)
            self.assertEqual(self.rows("SELECT user_id, is_guest FROM users"), [(USER, 0)])
            self.assertRefused(self.whoami(self.token), 401, "M_UNKNOWN_TOKEN")
            self.assertEqual(self.client.register(auth=auth).json, first.json)

    def test_tokenShownLater(self) -> None:
        """A token that comes in a later request of the session is noted as well."""
        session = self.challenge(username="somebody", password=PASSWORD)["session"]
        body = {"username": "1", "guest_access_token": self.token}
        self.assertEqual(self.client.register(auth={"session": session}, **body).status, 401)
        self.clock.advance(0)
        answer = self.client.register(auth={"session": session, **DUMMY})
        self.assertEqual(answer.json["user_id"], USER, answer)

    def test_rememberedForItsNameOnly(self) -> None:
        """A guest's token that was shown is valid for its own name only: not for another guest's,
        and a free name makes a new account."""
        self.guest()
        auth = self.begin()
        answer = self.client.register(auth=auth, username="2", password=PASSWORD)
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        answer = self.client.register(auth=auth, username="alice", password=PASSWORD)
        self.assertEqual(answer.json["user_id"], "@alice:test.example", answer)
        self.assertEqual(
            self.rows("SELECT user_id, is_guest FROM users ORDER BY user_id"),
            [(USER, 1), ("@2:test.example", 1), ("@alice:test.example", 0)],
        )

    def test_noGuestAnyMore(self) -> None:
        """The guest is checked again when the account is written: a guest that was upgraded or
        deactivated since is refused."""
        auth = self.begin()
        self.assertEqual(self.upgrade(password="the winner's").status, 200)
        self.assertRefused(self.client.register(auth=auth), 401, "M_UNKNOWN_TOKEN")
        self.setUp()
        auth = self.begin()
        self.change("UPDATE users SET deactivated = TRUE")
        self.assertRefused(self.client.register(auth=auth), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.rows("SELECT is_guest, password_hash FROM users"), [(1, None)])

    def test_withSilenceAboutNames(self) -> None:
        """Silence about taken names does not affect whose token it is."""
        self.system(database=self.database, inhibit_user_in_use_error=True)
        body = {"username": "1", "guest_access_token": "nobody's"}
        self.assertRefused(self.client.register(**body), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.upgrade().status, 200)

    def test_approval(self) -> None:
        """If approval is required, an upgraded guest waits for it like any other user."""
        approval = {"enabled": True, "require_approval_for_new_accounts": True}
        self.system(database=self.database, experimental_features={"msc3866": approval})
        self.assertEqual(self.whoami(self.token).status, 200)
        answer = self.upgrade()
        self.assertRefused(answer, 403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL")
        self.assertEqual(self.rows("SELECT is_guest, approved FROM users"), [(0, 0)])
        self.assertEqual(self.counts()["logins"], 0)
        self.assertRefused(self.whoami(self.token), 401, "M_UNKNOWN_TOKEN")


class RefusedUpgradeTests(UpgradeCase):
    def test_unknownToken(self) -> None:
        """An unknown token is refused as such, early and late; so is a deactivated guest's."""
        for auth in (DUMMY, {}):
            answer = self.upgrade(guest_access_token="nobody's", auth=auth)
            self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")
        self.change("UPDATE users SET deactivated = TRUE")
        self.assertRefused(self.upgrade(), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.rows("SELECT is_guest FROM users"), [(1,)])

    def test_foreignToken(self) -> None:
        """A guest's name is its own: another guest's token, a user's token, and a name that isn't
        the guest's, free or not, are forbidden."""
        other = self.guest()["access_token"]
        user = self.register()["access_token"]
        for name, token in (
            ("1", other),
            ("1", user),
            ("2", self.token),
            ("3", self.token),
            ("free", self.token),
            ("alice", self.token),
        ):
            answer = self.upgrade(name, guest_access_token=token)
            self.assertRefused(answer, 403, "M_FORBIDDEN", name)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users WHERE is_guest"), [(2,)])

    def test_withoutName(self) -> None:
        """The upgrade must contain the name that it is for."""
        answer = self.client.register(password=PASSWORD, guest_access_token=self.token, auth=DUMMY)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")

    def test_tokenIsAString(self) -> None:
        """A guest's token is a string, or null if there is none."""
        for token in (1, [self.token]):
            self.assertRefused(self.upgrade(guest_access_token=token), 400, "M_BAD_JSON")
        self.assertRefused(self.upgrade(guest_access_token=None), 400, "M_USER_IN_USE")

    def test_onlyOnce(self) -> None:
        """Once upgraded the guest is gone, and its token with it."""
        self.assertEqual(self.upgrade().status, 200)
        self.assertRefused(self.upgrade(password="thief's"), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.log_in("thief's"), 403)

    def test_loserOfARace(self) -> None:
        """Of several upgrades that are all past their checks one succeeds; the others' token is
        unknown."""
        waiting: list[Callable[[], None]] = []

        def later(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            waiting.append(lambda: done.callback(function(*args)))
            return done

        self.system(database=self.database, run=later)
        answers = [
            self.client.start(
                "POST",
                f"{V3}/register",
                {
                    "username": "1",
                    "password": f"password {number}",
                    "guest_access_token": self.token,
                    "auth": DUMMY,
                },
            )
            for number in range(16)
        ]
        while waiting:
            waiting.pop(0)()
        got = [self.client.answer(answer) for answer in answers]
        self.assertEqual(got[0].status, 200)
        for answer in got[1:]:
            self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")
        self.system(database=self.database)
        logins = [self.log_in(f"password {number}") for number in range(16)]
        self.assertEqual(logins, [200] + [403] * 15)

    def test_afterAStage(self) -> None:
        """A missing stage leaves the guest a guest."""
        hooks = self.hooks(stages=[QuestionStage()], flows=[(QUESTION,)])
        self.system(database=self.database, hooks=hooks)
        self.assertEqual(self.upgrade().status, 401)
        self.assertEqual(self.whoami(self.token).status, 200)
        self.assertEqual(self.upgrade(auth=ANSWERED).status, 200)
