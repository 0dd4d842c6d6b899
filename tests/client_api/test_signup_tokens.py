"""Registering with a token: the stage, its reservation, and what happens to it at the end."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from regsys.model.registration_tokens import RegistrationToken
from tests.client_api.test_signup_dialogue import UIASessionCase
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import Answer

STAGE = "m.login.registration_token"
GOOD = "good"
HOUR_S = 3600
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
PLENTY = {"per_second": 1000, "burst_count": 1000}


class TokenCase(UIASessionCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
    }

    def token(self, name: str = GOOD, **settings: Any) -> str:
        """Make a token of this name."""
        tokens = self.subsystem.registration_tokens
        self.wait(tokens.create(token=name, settings=settings))
        return name

    def set(self, name: str = GOOD, **settings: Any) -> None:
        self.wait(self.subsystem.registration_tokens.change(name, settings))

    def present(self, session: str, token: Any = GOOD, **body: Any) -> Answer:
        """Try the stage in this session."""
        return self.go_on(session, {"type": STAGE, "token": token}, **body)

    def passed(self, username: str = "alice", token: str = GOOD) -> str:
        """A new session that has reserved a use."""
        session = self.begin(username)
        answer = self.present(session, token)
        self.assertEqual((answer.status, answer.json["completed"]), (401, [STAGE]), answer)
        self.assertNotIn("errcode", answer.json)
        return session

    def assertUses(self, pending: int, completed: int, name: str = GOOD) -> None:
        found: RegistrationToken = self.wait(self.subsystem.registration_tokens.get(name))
        self.assertEqual((found.pending, found.completed), (pending, completed))

    def assertFailed(
        self, answer: Answer, errcode: str, case: object = None, completed: Any = ()
    ) -> None:
        """A stage that was not passed: a 401 with all that the client needs to go on."""
        self.assertRefused(answer, 401, errcode, case)
        keys = {"session", "flows", "params", "completed", "errcode", "error"}
        self.assertEqual(answer.json.keys(), keys, case)
        self.assertEqual(answer.json["completed"], list(completed), case)
        self.assertEqual(answer.json["flows"], [{"stages": [STAGE, DUMMY["type"]]}], case)


class FlowTests(TokenCase):
    def test_offered(self) -> None:
        """The flows follow the configuration; an embedder's own replace them."""
        dummy = DUMMY["type"]
        bypass = {"enable_registration_token_3pid_bypass": True}
        required = {"registration_requires_token": True}
        for options, flows in (
            ({}, [[dummy]]),
            (bypass, [[dummy], [STAGE]]),
            (required, [[STAGE, dummy]]),
            ({**bypass, **required}, [[STAGE, dummy], [STAGE]]),
        ):
            self.system(**options)
            body = self.challenge()
            self.assertEqual(body["flows"], [{"stages": flow} for flow in flows], options)
            self.assertEqual(body["params"], {}, options)
        self.system(hooks=self.hooks(flows=[(STAGE,)]), **required)
        self.assertEqual(self.challenge()["flows"], [{"stages": [STAGE]}])
        self.assertRaises(ValueError, self.system, hooks=self.hooks(flows=[(STAGE,)]))

    def test_notOffered(self) -> None:
        """Without either option the stage is unknown: a plain 400, and the session lives."""
        self.system()
        self.token()
        session = self.begin()
        answer = self.present(session)
        self.assertRefused(answer, 400, "M_UNRECOGNIZED")
        self.assertNotIn("flows", answer.json)
        self.assertUses(0, 0)
        self.assertRegistered(self.go_on(session), "alice")

    def test_noWayAround(self) -> None:
        """No client becomes a user without a token, not even as a guest first."""
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual((answer.status, answer.json["completed"]), (401, [DUMMY["type"]]))
        guest = self.guest()
        name = guest["user_id"][1:].partition(":")[0]
        upgrade = {"guest_access_token": guest["access_token"], "password": PASSWORD}
        session = self.challenge(username=name, **upgrade)["session"]
        self.assertEqual(self.go_on(session, username=name, **upgrade).status, 401)
        self.token()
        self.assertRegistered(self.present(session, username=name, **upgrade), name)
        self.assertUses(0, 1)

    def test_bypass(self) -> None:
        """If a token is one flow of several, only registrations by that flow use it."""
        self.system(enable_registration_token_3pid_bypass=True)
        self.token(uses_allowed=1)
        self.register("bob")
        self.assertUses(0, 0)
        self.assertRegistered(self.present(self.begin()), "alice")
        self.assertUses(0, 1)


class StageTests(TokenCase):
    def test_passed(self) -> None:
        """The session reserves a use, which is counted when the account exists; stages in any
        order."""
        self.token(uses_allowed=2)
        session = self.passed()
        self.assertUses(1, 0)
        self.assertRegistered(self.go_on(session), "alice")
        self.assertUses(0, 1)
        session = self.begin("bob")
        self.go_on(session)
        self.assertRegistered(self.present(session), "bob")
        self.assertUses(0, 2)
        uses = self.wait(self.subsystem.registration_tokens.uses("good"))
        who = [(use.user_id, use.used_ms) for use in uses]
        expected = [(f"@{name}:test.example", self.now_ms) for name in ("alice", "bob")]
        self.assertEqual(who, expected)

    def test_failed(self) -> None:
        """Each failure has its errcode, reserves nothing, and leaves the session unchanged."""
        self.token()
        self.token("none", uses_allowed=0)
        self.token("over", expiry_ms=self.now_ms + 1)
        self.token("revoked")
        self.set("revoked", revoked=True)
        self.clock.advance(1)
        session = self.begin()
        for auth, errcode in (
            ({}, "M_MISSING_PARAM"),
            *(({"token": bad}, "M_INVALID_PARAM") for bad in (None, 1, True, ["good"], {})),
            *(
                ({"token": bad}, "M_UNAUTHORIZED")
                for bad in ("", "Good", "nobody's", "none", "over", "revoked", "x" * 5000, "🦊")
            ),
        ):
            answer = self.go_on(session, {"type": STAGE, **auth})
            self.assertFailed(answer, errcode, auth)
            self.assertEqual(answer.json["session"], session)
        self.assertEqual(self.rows("SELECT * FROM registration_token_reservations"), [])
        self.present(session)
        self.assertRegistered(self.go_on(session), "alice")

    def test_withoutSession(self) -> None:
        """The stage needs a session, which the answer brings; nothing is reserved for it yet."""
        self.token()
        auth = {"type": STAGE, "token": "good"}
        answer = self.client.register(username="alice", password=PASSWORD, auth=auth)
        self.assertFailed(answer, "M_MISSING_PARAM")
        self.assertUses(0, 0)
        session = answer.json["session"]
        self.present(session)
        self.assertRegistered(self.go_on(session), "alice")

    def test_anotherToken(self) -> None:
        """A session stays with its token: another is refused, the same one may be sent again."""
        self.token(uses_allowed=1)
        self.token("other")
        session = self.passed()
        self.assertFailed(self.present(session, "other"), "M_INVALID_PARAM", completed=[STAGE])
        answer = self.present(session)
        self.assertEqual((answer.status, answer.json["completed"]), (401, [STAGE]))
        self.assertNotIn("errcode", answer.json)
        self.assertUses(1, 0)
        self.assertUses(0, 0, "other")
        self.assertRegistered(self.go_on(session), "alice")

    def test_held(self) -> None:
        """While a session has reserved the last use no other session gets it; after an hour any
        may."""
        self.token(uses_allowed=1)
        self.passed()
        second = self.begin("bob")
        self.clock.advance(HOUR_S - 1)
        self.assertFailed(self.present(second), "M_UNAUTHORIZED")
        self.clock.advance(1)
        self.assertUses(0, 0)
        self.present(second)
        self.assertRegistered(self.go_on(second), "bob")

    def test_restart(self) -> None:
        """A session's reservation survives a restart."""
        self.token(uses_allowed=1)
        session = self.passed()
        self.system(**self.options, database=self.database)
        self.assertUses(1, 0)
        self.assertFailed(self.present(self.begin("bob")), "M_UNAUTHORIZED")
        self.assertRegistered(self.go_on(session), "alice")

    def test_limit(self) -> None:
        """Tries at the stage and at the validity endpoint count together, five and then one in ten
        seconds; a malformed request does not count, and the session lives on."""
        self.system(registration_requires_token=True)
        self.token()
        session = self.begin()
        for _ in range(10):
            self.assertFailed(self.go_on(session, {"type": STAGE}), "M_MISSING_PARAM")
        for number in range(2):
            self.assertFailed(self.present(session, f"guess{number}"), "M_UNAUTHORIZED")
            self.assertEqual(self.client.get(f"{VALIDITY}?token=guess").status, 200)
        self.assertFailed(self.present(session, "guess"), "M_UNAUTHORIZED")
        answer = self.present(session)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer.headers["retry-after"], "10")
        self.assertRefused(self.client.get(f"{VALIDITY}?token=good"), 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(10)
        self.present(session)
        self.assertRegistered(self.go_on(session), "alice")


class CompletionTests(TokenCase):
    def test_lost(self) -> None:
        """A token that was revoked or expired since its stage was passed undoes that stage alone:
        another, or the same once it is valid again, replaces it. The last request's password is
        kept."""
        for name, again in (("alice", "alices"), ("bob", "another")):
            token = self.token(f"{name}s")
            session = self.client.register(username=name).json["session"]
            self.present(session, token)
            self.set(token, revoked=True)
            answer = self.go_on(session, username=name, password=PASSWORD)
            self.assertFailed(answer, "M_UNAUTHORIZED", name, [DUMMY["type"]])
            self.assertUses(1, 0, token)
            if again == token:
                self.set(token, revoked=False)
            else:
                self.token(again)
            self.assertRegistered(self.present(session, again), name)
            self.assertUses(0, 1, again)

    def test_takenAgain(self) -> None:
        """A reservation whose hour is over is renewed at the end if a use is left; if not, the
        session may present another token."""
        self.token(uses_allowed=1)
        first = self.passed()
        self.clock.advance(HOUR_S)
        second = self.passed("bob")
        answer = self.go_on(first)
        self.assertFailed(answer, "M_UNAUTHORIZED", completed=[DUMMY["type"]])
        self.assertUses(1, 0)
        self.clock.advance(HOUR_S)
        self.assertRegistered(self.go_on(second), "bob")
        answer = self.present(first)
        self.assertFailed(answer, "M_UNAUTHORIZED", completed=[DUMMY["type"]])
        self.token("another")
        self.assertRegistered(self.present(first, "another"), "alice")
        self.assertUses(0, 1)

    def test_nameLost(self) -> None:
        """A registration that loses its name to another user keeps the reservation, and finishes
        with another name."""
        self.token(uses_allowed=2)
        first, second = self.passed(), self.passed()
        self.assertRegistered(self.go_on(second), "alice")
        self.assertRefused(self.go_on(first), 400, "M_USER_IN_USE")
        self.assertUses(1, 1)
        answer = self.go_on(first, username="bob", password=PASSWORD)
        self.assertRegistered(answer, "bob")
        self.assertUses(0, 2)

    def test_completedAgain(self) -> None:
        """The same request again has the same answer, and uses nothing more."""
        self.token(uses_allowed=1)
        session = self.passed()
        first = self.go_on(session)
        self.assertRegistered(first, "alice")
        for answer in (self.go_on(session), self.present(session), self.present(session, "else")):
            self.assertEqual(answer.json, first.json)
        self.assertUses(0, 1)
