"""POST /register in one request: what is checked in which order, and what is made in the end."""

from __future__ import annotations

from typing import Any, Mapping

from regsys.credentials.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3
from tests.support.question_stage import QUESTION, QuestionStage

# A request with every possible mistake; ``?kind=`` and the access token come on top.
ALL_WRONG: Mapping[str, Any] = {
    "refresh_token": "yes",
    "username": "_é",
    "password": 12345678,
    "auth": {"session": "nobody's", "type": "no.such.stage"},
}


class OrderTests(SystemCase):
    """Each test corrects one mistake after the other; the next check then answers."""

    def ask(self, query: str, body: Any, **more: Any) -> Any:
        return self.client.post(f"{V3}/register{query}", body, **more)

    def test_upToTheSwitch(self) -> None:
        """Body, limit, kind, types, stray access token, registration off: in this order."""
        self.system(
            enable_registration=False, rc_registration={"per_second": 0.1, "burst_count": 1}
        )
        kind, token, body = "?kind=robot", "stray", dict(ALL_WRONG)
        self.guest()
        answer = self.ask(kind, b"not JSON", token=token)
        self.assertRefused(answer, 400, "M_NOT_JSON")
        answer = self.ask(kind, body, token=token)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(10)
        answer = self.ask(kind, body, token=token)
        self.assertRefused(answer, 400, "M_UNRECOGNIZED")
        answer = self.ask("", body, token=token)
        self.assertRefused(answer, 400, "M_BAD_JSON")
        body.update(refresh_token=False, username=["_é"])
        answer = self.ask("", body, token=token)
        self.assertRefused(answer, 400, "M_BAD_JSON")
        body.update(username="a" * 513)
        answer = self.ask("", body, token=token)
        self.assertRefused(answer, 400, "M_INVALID_USERNAME")
        body.update(username="_é")
        answer = self.ask("", body, token=token)
        self.assertRefused(answer, 400, "M_INVALID_PARAM")
        answer = self.ask("", body)
        self.assertRefused(answer, 403, "M_FORBIDDEN")

    def test_fromTheSwitchOn(self) -> None:
        """Type and policy of the password, session, name, stages, password there: in this order."""
        self.system(
            password_config={"policy": {"enabled": True, "minimum_length": 8}},
            hooks=self.hooks(stages=[QuestionStage()], flows=[(QUESTION, "m.login.dummy")]),
        )
        session = self.challenge()["session"]
        body = {**ALL_WRONG, "refresh_token": False}
        self.assertRefused(self.ask("", body), 400, "M_BAD_JSON")
        body["password"] = "short"
        self.assertRefused(self.ask("", body), 400, "M_PASSWORD_TOO_SHORT")
        body["password"] = "long enough"
        self.assertRefused(self.ask("", body), 400, "M_UNKNOWN")
        body["auth"] = {"session": session, "type": "no.such.stage"}
        self.assertRefused(self.ask("?kind=user", body), 403, "M_FORBIDDEN")
        self.assertRefused(self.ask("", body), 400, "M_INVALID_USERNAME")
        body.update(username="alice", password="")
        self.assertRefused(self.ask("", body), 400, "M_UNRECOGNIZED")
        body["auth"] = {"session": session, "type": QUESTION, "answer": "wrong"}
        self.assertRefused(self.ask("", body), 401, "M_UNAUTHORIZED")
        body["auth"] = {"session": session, "type": QUESTION, "answer": "a mirror"}
        self.assertRefused(self.ask("", body), 401, None)
        body["auth"] = {"session": session, **DUMMY}
        self.assertRefused(self.ask("", body), 400, "M_MISSING_PARAM")
        body["password"] = "long enough"
        self.assertEqual(self.ask("", body).status, 200)


class KindTests(SystemCase):
    def test_kinds(self) -> None:
        """``kind`` is user, which is the default, or guest; any other is unrecognized."""
        for kind in ("robot", "User", "guest%20"):
            self.assertRefused(self.client.register(f"?kind={kind}"), 400, "M_UNRECOGNIZED", kind)
        for query in ("", "?kind=user", "?other=1"):
            self.challenge(query)

    def test_strayToken(self) -> None:
        """A user's registration accepts no access token, in the header or in the query."""
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
        for query, token in (("", "syt_x"), ("", ""), ("?access_token=syt_x", None)):
            answer = self.client.post(f"{V3}/register{query}", body, token=token)
            self.assertRefused(answer, 400, "M_INVALID_PARAM", (query, token))

    def test_registrationOff(self) -> None:
        """With registration off no user can register, however the request is made; guests are not
        affected."""
        for off in (
            {"enable_registration": False},
            {"disable_registration": True},
            {"matrix_authentication_service": {"enabled": True}},
        ):
            self.system(**off)
            answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
            self.assertRefused(answer, 403, "M_FORBIDDEN", off)
        self.system(enable_registration=False)
        self.guest()


class AccountTests(SystemCase):
    def test_wholeAccount(self) -> None:
        """One request makes a user with a profile, a device and a working token, and leaves no
        session."""
        made = self.register(device_id="PHONE", initial_device_display_name="my phone")
        self.assertEqual(made["user_id"], "@alice:test.example")
        who = self.whoami(made["access_token"])
        expected = {"user_id": made["user_id"], "device_id": "PHONE", "is_guest": False}
        self.assertEqual((who.status, who.json), (200, expected))
        self.assertEqual(
            self.rows(
                "SELECT u.user_id, is_guest, admin, user_type, approved, shadow_banned,"
                " deactivated, created_ms, p.display_name, device_id, d.display_name"
                " FROM users u JOIN profiles p USING (user_id) JOIN devices d USING (user_id)"
            ),
            [(made["user_id"], 0, 0, None, 1, 0, 0, self.now_ms, "alice", "PHONE", "my phone")],
        )
        self.assertEqual(
            self.counts(),
            {
                "users": 1,
                "profiles": 1,
                "devices": 1,
                "logins": 1,
                "outcomes": 1,
                "uia_sessions": 0,
                "jobs": 0,
            },
        )

    def test_nothingSecretIsStored(self) -> None:
        """Neither the password nor a token is in the database, only what verifies them."""
        made = self.register(refresh_token=True)
        for secret in (PASSWORD, made["access_token"], made["refresh_token"]):
            for table in ("users", "logins", "outcomes"):
                self.assertNotIn(secret, repr(self.rows(f"SELECT * FROM {table}")))
        ((stored,),) = self.rows("SELECT password_hash FROM users")
        self.assertTrue(stored.startswith("$2b$04$"), stored)

    def test_capitals(self) -> None:
        """ASCII capitals in a name are lower-cased; a character that merely folds to a letter is
        not, and is refused."""
        self.assertEqual(self.register("AliCE")["user_id"], "@alice:test.example")
        for odd in ("\N{KELVIN SIGN}elvin", "d\u0131tto", "ÄNNE"):
            answer = self.client.register(username=odd, password=PASSWORD, auth=DUMMY)
            self.assertRefused(answer, 400, "M_INVALID_USERNAME", odd)

    def test_takenNameIsRefusedWhateverItsCase(self) -> None:
        """A name is taken in every case, by guests and deactivated accounts too."""
        self.register()
        number = self.guest()["user_id"][1:].partition(":")[0]
        self.change("UPDATE users SET deactivated = TRUE")
        for name in ("alice", "ALICE", number):
            answer = self.client.register(username=name, password=PASSWORD, auth=DUMMY)
            self.assertRefused(answer, 400, "M_USER_IN_USE", name)

    def test_drawnNames(self) -> None:
        """Without a name the next number is drawn, which is the display name too; a number is never
        given twice."""
        body = {"password": PASSWORD, "auth": DUMMY}
        for number in ("1", "2"):
            answer = self.client.register(**body)
            self.assertEqual(answer.json["user_id"], f"@{number}:test.example")
        self.assertEqual(self.rows("SELECT display_name FROM profiles"), [("1",), ("2",)])
        self.change("DELETE FROM users")
        answer = self.client.register(**body)
        self.assertEqual(answer.json["user_id"], "@3:test.example")

    def test_drawnNamesThatAreTaken(self) -> None:
        """Numbers that are taken are skipped, however many."""
        self.wait(self.database.transaction("test", _five_hundred))
        answer = self.client.register(password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.json["user_id"], "@501:test.example")

    def test_limitsOfLength(self) -> None:
        """A name and a password have at most 512 characters, a device id too; a device's display
        name 100. All of it is checked before anything is written."""
        for key, limit, errcode in (
            ("username", 512, "M_INVALID_USERNAME"),
            ("password", 512, "M_INVALID_PARAM"),
            ("device_id", MAX_DEVICE_ID, "M_INVALID_PARAM"),
            ("initial_device_display_name", MAX_DISPLAY_NAME, "M_INVALID_PARAM"),
        ):
            for auth in (DUMMY, {}):
                body = {"username": "alice", "password": PASSWORD, "auth": auth}
                answer = self.client.register(**{**body, key: "a" * (limit + 1)})
                self.assertRefused(answer, 400, errcode, (key, auth))
        self.assertEqual(set(self.counts().values()), {0})
        self.register(
            password="a" * 512,
            device_id="b" * MAX_DEVICE_ID,
            initial_device_display_name="c" * MAX_DISPLAY_NAME,
        )

    def test_reservedName(self) -> None:
        """The user of the server's notices cannot be registered."""
        self.system(server_notices={"system_mxid_localpart": "notices"})
        answer = self.client.register(username="Notices", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 400, "M_EXCLUSIVE")

    def test_missingPassword(self) -> None:
        """A request that has passed all stages without a password, or with an empty one, is asked
        for it; nothing is made or kept."""
        for more in ({}, {"password": ""}):
            answer = self.client.register(username="alice", auth=DUMMY, **more)
            self.assertRefused(answer, 400, "M_MISSING_PARAM", more)
        self.assertEqual(set(self.counts().values()), {0})

    def test_authIsNeeded(self) -> None:
        """Without auth, or with an empty one, no user is registered, whatever the rest of the
        body."""
        for more in ({}, {"auth": {}}):
            self.challenge(username="alice", password=PASSWORD, **more)
        self.assertEqual(self.counts()["users"], 0)

    def test_defaultUserType(self) -> None:
        """New users are of the configured default type."""
        self.system(user_types={"default_user_type": "member", "extra_user_types": ["member"]})
        self.register()
        self.client.register(password=PASSWORD, auth=DUMMY)
        self.assertEqual(self.rows("SELECT user_type FROM users"), [("member",), ("member",)])


def _five_hundred(txn: Any) -> None:
    for number in range(1, 501):
        txn.run(
            "INSERT INTO users VALUES (?, ?, NULL, FALSE, FALSE, NULL, TRUE, FALSE, FALSE,"
            " NULL, 0, NULL, NULL, FALSE, FALSE)",
            (f"@{number}:test.example", str(number)),
        )
