"""Admission over POST /register: limits, spam checkers, blocking, approval, and silence about
names."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Mapping

from zope.interface import implementer

from regsys.errors import Forbidden
from regsys.interfaces import IBlocking, Verdict
from regsys.model import Registration, User
from regsys.storage.users import UserStore
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer
from tests.support.question_stage import ANSWERED, QUESTION, QuestionStage

TWICE = {"rc_registration": {"per_second": 0.1, "burst_count": 2}}


class AdmissionCase(SystemCase):
    def ask(self, username: str = "alice", address: str = "192.0.2.1", **more: Any) -> Answer:
        body = {"username": username, "password": PASSWORD, "auth": DUMMY, **more}
        return self.client.post(f"{V3}/register", body, X_Forwarded_For=address)

    def assertLimited(self, answer: Answer, case: object = None) -> None:
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED", case)


class LimitTests(AdmissionCase):
    options = TWICE

    def test_completedOnesCount(self) -> None:
        """A bounded number of registrations may be completed from an address, guests included;
        beyond it every request is refused, with a hint, until there is room again. Other addresses
        are not affected."""
        self.assertEqual(self.ask().status, 200)
        guest = self.client.post(f"{V3}/register?kind=guest", X_Forwarded_For="192.0.2.1")
        self.assertEqual(guest.status, 200)
        for answer in (self.ask("bob"), self.ask("bob", auth={}), self.ask("Ä")):
            self.assertLimited(answer)
            self.assertEqual(answer.json["retry_after_ms"], 10_000)
            self.assertEqual(answer.headers["retry-after"], "10")
        self.assertEqual(self.ask("bob", "192.0.2.2").status, 200)
        self.clock.advance(9.9)
        self.assertLimited(self.ask("carol"))
        self.clock.advance(0.1)
        self.assertEqual(self.ask("carol").status, 200)

    def test_networks(self) -> None:
        """A /64 of IPv6 is one address."""
        self.ask("alice", "2001:db8::1")
        self.ask("bob", "2001:db8::2")
        self.assertLimited(self.ask("carol", "2001:db8::3"))
        self.assertEqual(self.ask("carol", "2001:db8:0:1::1").status, 200)

    def test_challengesDontCount(self) -> None:
        """Requests that complete nothing cost nothing."""
        for _ in range(5):
            self.ask(auth={})
            self.ask(auth={"type": "none"})
            self.ask(password="")
        self.assertEqual([self.ask(name).status for name in ("alice", "bob")], [200, 200])

    def test_refusalsGiveBack(self) -> None:
        """A completion that is refused for another reason costs nothing."""
        self.change(
            "INSERT INTO users VALUES ('@taken:test.example', 'taken', NULL, FALSE, FALSE, NULL,"
            " TRUE, FALSE, FALSE, NULL, 0, NULL, NULL, FALSE, FALSE)"
        )
        hooks = self.hooks()
        hooks.spam.register("test", lambda email, name, *rest: _verdict(name))
        options = {"inhibit_user_in_use_error": True, **TWICE}
        self.system(database=self.database, hooks=hooks, blocking=Blocking({"blocked"}), **options)
        for name, status in (("taken", 400), ("spammer", 429), ("odd", 503), ("blocked", 403)):
            for _ in range(3):
                self.assertEqual(self.ask(name).status, status, name)
        self.assertEqual([self.ask(name).status for name in ("alice", "bob")], [200, 200])
        self.assertLimited(self.ask("carol"))


def _verdict(name: object) -> object:
    return {"spammer": "deny", "odd": "no verdict", "ghost": Verdict.SHADOW_BAN}.get(
        str(name), "allow"
    )


@implementer(IBlocking)
class Blocking:
    """Blocks these names."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    async def check(self, registration: Registration) -> None:
        if registration.localpart in self._names:
            raise Forbidden()

    async def check_login(self, user: User) -> None:
        return


class VerdictTests(AdmissionCase):
    def setUp(self) -> None:
        super().setUp()
        hooks = self.hooks()
        hooks.spam.register("test", lambda email, name, *rest: _verdict(name))
        self.system(hooks=hooks, blocking=Blocking({"spammer"}), **TWICE)

    def test_denied(self) -> None:
        """A registration that a checker denies gets the same answer as beyond the limit, and no
        account."""
        denied = self.ask("spammer")
        self.ask("alice")
        self.ask("bob")
        limited = self.ask("carol")
        self.assertLimited(denied)
        for answer in (denied, limited):
            self.assertEqual(answer.json["retry_after_ms"], 10_000)
        self.assertEqual(json.dumps(denied.json), json.dumps(limited.json))
        self.assertEqual(denied.headers, {**limited.headers, "date": denied.headers["date"]})
        self.assertEqual(self.counts()["users"], 2)

    def test_onlyAtTheEnd(self) -> None:
        """A checker is asked once all stages are passed, about the final parameters."""
        session = self.ask("spammer", auth={}).json["session"]
        self.assertLimited(self.ask("spammer", auth={"session": session, **DUMMY}))
        answer = self.ask("alice", auth={"session": session, **DUMMY})
        self.assertEqual(answer.status, 200)

    def test_shadowBanned(self) -> None:
        """A shadow-banned user gets an account like any other, but for a mark that no client
        sees."""
        seen, ghost = self.ask("alice"), self.ask("ghost")
        self.assertEqual(ghost.json.keys(), seen.json.keys())
        self.assertEqual(self.whoami(ghost.json["access_token"]).status, 200)
        self.assertEqual(
            self.rows("SELECT name_key, shadow_banned FROM users ORDER BY 1"),
            [("alice", 0), ("ghost", 1)],
        )

    def test_checkerFails(self) -> None:
        """A checker that fails causes a 503 with a hint, and nothing is written; the session
        lives."""
        session = self.ask("odd", auth={}).json["session"]
        answer = self.ask("odd", auth={"session": session, **DUMMY})
        self.assertEqual((answer.status, answer.errcode), (503, "M_UNKNOWN"))
        self.assertIn("retry-after", answer.headers)
        self.assertEqual(self.counts()["users"], 0)
        self.flushLoggedErrors()
        answer = self.ask("alice", auth={"session": session, **DUMMY})
        self.assertEqual(answer.status, 200)


class ApprovalTests(AdmissionCase):
    errcode = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
    options: ClassVar[Mapping[str, Any]] = {
        "experimental_features": {
            "msc3866": {"enabled": True, "require_approval_for_new_accounts": True}
        }
    }

    def log_in(self, password: str = PASSWORD) -> Answer:
        body = {"type": "m.login.password", "user": "alice", "password": password}
        return self.client.post(f"{V3}/login", body)

    def assertAwaiting(self, answer: Answer) -> None:
        self.assertRefused(answer, 403, self.errcode)
        self.assertEqual(answer.json["approval_notice_medium"], "org.matrix.msc3866.none")
        self.assertEqual(answer.json.keys(), {"errcode", "error", "approval_notice_medium"})

    def test_newUser(self) -> None:
        """The account is made, unapproved and without a login; its user is told to wait, by a
        replay too, and at login once the password is right."""
        session = self.ask(auth={}).json["session"]
        for _ in range(2):
            self.assertAwaiting(self.ask(auth={"session": session, **DUMMY}))
        self.assertEqual(self.rows("SELECT name_key, approved FROM users"), [("alice", 0)])
        self.assertEqual(self.counts()["devices"], 0)
        self.assertAwaiting(self.log_in())
        self.assertRefused(self.log_in("wrong"), 403, "M_FORBIDDEN")

    def test_approved(self) -> None:
        """Once approved the user logs in."""
        self.assertAwaiting(self.ask())
        self.assertTrue(self.wait(UserStore(self.database).approve("alice")))
        self.assertEqual(self.log_in().status, 200)

    def test_guests(self) -> None:
        """Guests need no approval."""
        self.assertEqual(self.whoami(self.guest()["access_token"]).status, 200)


class SilenceTests(AdmissionCase):
    """With ``inhibit_user_in_use_error`` a taken name looks like a free one until the end."""

    def setUp(self) -> None:
        super().setUp()
        hooks = self.hooks(stages=[QuestionStage()], flows=[("m.login.dummy", QUESTION)])
        self.system(hooks=hooks, inhibit_user_in_use_error=True)

    def answers_about(self, name: str) -> list[str]:
        """All answers about a name before the last stage, without the session's id."""
        begun = self.ask(name, auth={})
        session = begun.json["session"]
        answers = [
            begun,
            self.ask(name, auth={"session": session}),
            self.ask(name, auth={"session": session, "type": QUESTION, "answer": "?"}),
            self.ask(name, auth={"session": session, **DUMMY}),
            self.ask(name, auth={"session": session, **DUMMY}, password=""),
            self.ask(name, auth={"session": session, "type": "none"}),
            self.client.get(f"{V3}/register/available?username={name}"),
        ]
        self.assertRefused(self.ask(name, auth={"session": session, **ANSWERED}), *self.end(name))
        return [
            f"{answer.status} {json.dumps(answer.json)} {sorted(answer.headers)}".replace(
                session, "SESSION"
            )
            for answer in answers
        ]

    def end(self, name: str) -> tuple[int, Any]:
        return (200, None) if name.startswith("free") else (400, "M_USER_IN_USE")

    def test_sameAnswers(self) -> None:
        """Answers about names that are taken and names that are free are the same, byte by byte."""
        for number in range(50):
            self.change(
                "INSERT INTO users VALUES (?, ?, NULL, FALSE, FALSE, NULL, TRUE, FALSE, FALSE,"
                " NULL, 0, NULL, NULL, FALSE, FALSE)",
                f"@used{number}:test.example",
                f"used{number}",
            )
        expected = self.answers_about("free0")
        for number in range(1, 50):
            self.assertEqual(self.answers_about(f"free{number}"), expected)
            self.assertEqual(self.answers_about(f"used{number}"), expected)
