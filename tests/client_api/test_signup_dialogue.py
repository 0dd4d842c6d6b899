"""POST /register in several requests: challenges, stages, parameters that change on the way."""

from __future__ import annotations

import json
from typing import Any

from tests.support.case import DUMMY, PASSWORD, UIASessionCase
from tests.support.client import V3
from tests.support.question_stage import ANSWERED, QUESTION, QuestionStage

HOUR_S = 3600
SESSION = r"\A[A-Za-z]{24}\Z"


class ChallengeTests(UIASessionCase):
    def test_first(self) -> None:
        """The first answer is a 401 with session, flows and params, and nothing else; an empty auth
        counts as none."""
        for more in ({}, {"auth": {}}):
            body = self.challenge(username="alice", password=PASSWORD, **more)
            self.assertRegex(body.pop("session"), SESSION)
            self.assertEqual(body, {"flows": [{"stages": ["m.login.dummy"]}], "params": {}})

    def test_everyChallengeIsASessionOfItsOwn(self) -> None:
        """Each challenge begins a new session."""
        self.assertEqual(len({self.begin() for _ in range(3)}), 3)

    def test_askingHowItStands(self) -> None:
        """A follow-up without a type is answered with what is completed so far, and changes
        nothing."""
        session = self.begin()
        for _ in range(2):
            answer = self.go_on(session, {})
            self.assertEqual((answer.status, answer.json["session"]), (401, session))
            self.assertEqual(answer.json["completed"], [])
            self.assertNotIn("errcode", answer.json)

    def test_completed(self) -> None:
        """The dummy stage in the session completes the registration."""
        self.assertRegistered(self.go_on(self.begin()), "alice")

    def test_unknownSession(self) -> None:
        """An unknown session is refused, and does not become one."""
        for unknown in ("nobodys", " ", "\N{SNOWMAN}"):
            self.assertRefused(self.go_on(unknown), 400, "M_UNKNOWN", unknown)
        self.assertEqual(self.counts()["uia_sessions"], 0)

    def test_emptySession(self) -> None:
        """An empty session counts as none: the request begins a session, or completes at once."""
        for auth in ({"session": ""}, {"session": "", "type": "m.login.nothing"}):
            answer = self.client.register(username="alice", password=PASSWORD, auth=auth)
            expected = (400, "M_UNRECOGNIZED") if "type" in auth else (401, None)
            self.assertEqual((answer.status, answer.errcode), expected, answer)
        self.assertEqual(self.counts()["uia_sessions"], 1)
        self.assertRegistered(self.go_on("", username="alice", password=PASSWORD), "alice")

    def test_lifetime(self) -> None:
        """A session lives for 48 hours, not longer."""
        first, second = self.begin(), self.begin("bob")
        self.clock.advance(48 * HOUR_S - 1)
        self.assertRegistered(self.go_on(first), "alice")
        self.clock.advance(1)
        self.assertRefused(self.go_on(second), 400, "M_UNKNOWN")

    def test_elsewhere(self) -> None:
        """A session is valid for the exact URI where it began."""
        session = self.begin()
        body = {"auth": {"session": session, **DUMMY}}
        for path in ("/_matrix/client/r0/register", f"{V3}/register?kind=user"):
            self.assertRefused(self.client.post(path, body), 403, "M_FORBIDDEN", path)
        self.assertRegistered(self.go_on(session), "alice")

    def test_sessionsOfAnAddress(self) -> None:
        """An address may have 200 registrations under way; more are told to wait, but a
        registration that needs no session may go on."""
        for _ in range(200):
            self.challenge()
        answer = self.client.register()
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer.headers["retry-after"], "60")
        self.register()
        elsewhere = self.client.post(f"{V3}/register", X_Forwarded_For="192.0.2.77")
        self.assertEqual(elsewhere.status, 401)


class StageTests(UIASessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.question = QuestionStage()
        stages = {"stages": [self.question], "flows": [(QUESTION, "m.login.dummy")]}
        self.system(hooks=self.hooks(**stages))

    def test_params(self) -> None:
        """A homeserver's own stage is in the flows, with its params."""
        body = self.challenge()
        self.assertEqual(body["flows"], [{"stages": [QUESTION, "m.login.dummy"]}])
        self.assertEqual(list(body["params"]), [QUESTION])
        self.assertIn("question", body["params"][QUESTION])

    def test_anyOrder(self) -> None:
        """Stages may be passed in any order; passed ones are listed in the order in which they were
        passed."""
        for first, second in ((ANSWERED, DUMMY), (DUMMY, ANSWERED)):
            name = f"first.{first['type']}"
            session = self.begin(name)
            answer = self.go_on(session, first)
            self.assertEqual(answer.json["completed"], [first["type"]])
            self.assertRegistered(self.go_on(session, second), name)

    def test_firstRequestMayPassAStage(self) -> None:
        """A first request may pass a stage: its answer lists it as completed."""
        body = self.challenge(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual(body["completed"], ["m.login.dummy"])
        self.assertRegistered(self.go_on(body["session"], ANSWERED), "alice")

    def test_failedStage(self) -> None:
        """A failed stage is answered with a complete 401 and the reason; it can be tried again, and
        earlier stages stay passed."""
        session = self.begin()
        self.go_on(session)
        for stage, errcode in (
            ({"type": QUESTION}, "M_MISSING_PARAM"),
            ({"type": QUESTION, "answer": ["a mirror"]}, "M_UNAUTHORIZED"),
        ):
            answer = self.go_on(session, stage)
            self.assertRefused(answer, 401, errcode, stage)
            self.assertEqual(
                answer.json.keys(),
                {"session", "flows", "params", "completed", "errcode", "error"},
            )
            self.assertEqual(answer.json["session"], session)
            self.assertEqual(answer.json["completed"], ["m.login.dummy"])
        self.assertRegistered(self.go_on(session, ANSWERED), "alice")

    def test_failedInTheFirstRequest(self) -> None:
        """A stage that fails in the very first request leaves a session to continue."""
        answer = self.client.register(username="alice", password=PASSWORD, auth={"type": QUESTION})
        self.assertRefused(answer, 401, "M_MISSING_PARAM")
        self.assertEqual(answer.json["completed"], [])
        self.go_on(answer.json["session"], ANSWERED)
        self.assertRegistered(self.go_on(answer.json["session"]), "alice")

    def test_unknownStage(self) -> None:
        """An unknown stage is a plain 400; the session lives on."""
        session = self.begin()
        for kind in ("no.such.stage", "m.login.recaptcha", ""):
            answer = self.go_on(session, {"type": kind})
            self.assertRefused(answer, 400, "M_UNRECOGNIZED", kind)
            self.assertNotIn("flows", answer.json)
        self.go_on(session, ANSWERED)
        self.assertRegistered(self.go_on(session), "alice")

    def test_refusedAtTheEnd(self) -> None:
        """A stage that was passed by a request which is refused at the end stays passed."""
        session = self.challenge(username="alice", auth=DUMMY)["session"]
        self.assertRefused(self.go_on(session, ANSWERED), 400, "M_MISSING_PARAM")
        answer = self.go_on(session, {}, username="alice", password=PASSWORD)
        self.assertRegistered(answer, "alice")

    def test_restart(self) -> None:
        """A session survives a restart with its parameters and its passed stages."""
        session = self.begin(device_id="PHONE")
        self.go_on(session, ANSWERED)
        self.clock.advance(0)
        again = self.hooks(stages=[QuestionStage()], flows=[(QUESTION, "m.login.dummy")])
        self.system(hooks=again, database=self.database)
        answer = self.go_on(session)
        self.assertRegistered(answer, "alice")
        self.assertEqual(answer.json["device_id"], "PHONE")

    def test_whatASessionHasSeen(self) -> None:
        """Spam checkers get every client that has used the session, once each."""
        calls: list[Any] = []
        hooks = self.hooks(stages=[QuestionStage()], flows=[(QUESTION, "m.login.dummy")])
        hooks.spam.register("test", lambda *args: calls.append(args) or "allow")
        self.system(hooks=hooks)
        session = self.begin()
        self.clock.advance(0)
        for stage, agent in ((ANSWERED, "phone"), ({}, "phone"), (DUMMY, "laptop")):
            self.client.post(
                f"{V3}/register",
                {"auth": {"session": session, **stage}},
                User_Agent=agent,
                X_Forwarded_For="192.0.2.7",
            )
        ((_, name, clients, provider),) = calls
        self.assertEqual((name, provider), ("alice", None))
        self.assertEqual(clients[1:], [("phone", "192.0.2.7"), ("laptop", "192.0.2.7")])


class ParameterTests(UIASessionCase):
    def remembered(self, session: str) -> Any:
        ((params,),) = self.rows("SELECT params FROM uia_sessions WHERE session_id = ?", session)
        return json.loads(params)

    def test_allowList(self) -> None:
        """A session stores the parameters that it needs and nothing else: no password, no token, no
        unknown key."""
        session = self.begin(
            device_id="PHONE",
            initial_device_display_name="my phone",
            inhibit_login=True,
            refresh_token=True,
            x_password="secret",
            bind_email=True,
        )
        self.clock.advance(0)
        self.assertEqual(
            self.remembered(session),
            {
                "username": "alice",
                "device_id": "PHONE",
                "initial_device_display_name": "my phone",
                "inhibit_login": True,
            },
        )
        self.assertNotIn(PASSWORD, repr(self.rows("SELECT * FROM uia_sessions")))

    def test_size(self) -> None:
        """However long the parameters, the stored ones stay below 8 KiB."""
        self.challenge(
            username="a" * (255 - len("@:test.example")),
            password=PASSWORD,
            device_id="\N{GRINNING FACE}" * 512,
            initial_device_display_name="\N{GRINNING FACE}" * 100,
            else_="x" * 50_000,
        )
        ((params,),) = self.rows("SELECT params FROM uia_sessions")
        self.assertLess(len(params.encode()), 8192)

    def test_emptyFollowUp(self) -> None:
        """A follow-up of auth alone, or of nulls besides, uses the earlier parameters."""
        nulls = dict.fromkeys(("device_id", "inhibit_login", "password", "unknown"), None)
        for name, more in (("alice", {}), ("bob", nulls)):
            session = self.begin(name, device_id="PHONE")
            answer = self.go_on(session, **more)
            self.assertRegistered(answer, name)
            self.assertEqual(answer.json["device_id"], "PHONE")

    def test_fullFollowUp(self) -> None:
        """A follow-up with more than auth replaces all earlier parameters."""
        session = self.begin(device_id="PHONE", inhibit_login=True)
        answer = self.go_on(session, username="bob", password=PASSWORD)
        self.assertRegistered(answer, "bob")
        self.assertNotEqual(answer.json["device_id"], "PHONE")
        self.assertEqual(self.counts()["users"], 1)

    def test_replacedForLater(self) -> None:
        """The parameters of a follow-up stay for the next one."""
        session = self.begin()
        self.go_on(session, {}, username="bob", password=PASSWORD)
        self.assertEqual(self.remembered(session), {"username": "bob"})
        self.assertRegistered(self.go_on(session), "bob")

    def test_nameOfTheDeviceAlone(self) -> None:
        """A device's name without a password is dropped, and replaces nothing."""
        session = self.begin(device_id="PHONE", initial_device_display_name="my phone")
        self.assertRegistered(self.go_on(session, initial_device_display_name="App"), "alice")
        self.assertEqual(self.rows("SELECT display_name FROM devices"), [("my phone",)])

    def test_nameOfTheDeviceFirst(self) -> None:
        """The same holds for the very first request."""
        body = self.challenge(username="alice", initial_device_display_name="App")
        self.assertEqual(self.remembered(body["session"]), {"username": "alice"})

    def test_refreshTokenOfTheLastRequest(self) -> None:
        """The last request decides whether there is a refresh token."""
        session = self.begin("alice", refresh_token=True)
        self.assertNotIn("refresh_token", self.go_on(session).json)
        session = self.begin("bob")
        answer = self.go_on(session, username="bob", password=PASSWORD, refresh_token=True)
        self.assertIn("refresh_token", answer.json)

    def test_changedNameIsChecked(self) -> None:
        """A name in a follow-up is checked like the first; the session lives on."""
        self.register("bob")
        session = self.begin()
        for name, errcode in (("bob", "M_USER_IN_USE"), ("ä", "M_INVALID_USERNAME")):
            answer = self.go_on(session, username=name, password=PASSWORD)
            self.assertRefused(answer, 400, errcode, name)
        self.assertEqual(self.remembered(session), {"username": "alice"})
        self.assertRegistered(self.go_on(session, username="carol", password=PASSWORD), "carol")

    def test_nameLostInBetween(self) -> None:
        """A name that another user takes meanwhile is refused at the end; the client may finish
        with another one, whether taken names are reported early or not."""
        for silent in (False, True):
            self.system(inhibit_user_in_use_error=silent)
            session = self.begin()
            self.register("alice")
            self.assertRefused(self.go_on(session), 400, "M_USER_IN_USE", silent)
            answer = self.go_on(session, username="alice2", password=PASSWORD)
            self.assertRegistered(answer, "alice2")
