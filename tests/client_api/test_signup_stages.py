"""What the stages of a session have found reaches the account, in one request and in several."""

from __future__ import annotations

from typing import Any, Mapping

from zope.interface import implementer

from regsys.interfaces import IBlocking, StageContext
from regsys.model import Registration, User
from tests.client_api.test_signup_terms import RULES
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.followers import Ledger
from tests.support.policies import TERMS
from tests.support.question_stage import ANSWERED, QUESTION, QuestionStage
from tests.support.validations import ALICE, STAGE, EmailValidationCase

TOKEN = "m.login.registration_token"


@implementer(IBlocking)
class Watch:
    """Blocks nothing; ``seen`` has the registrations."""

    def __init__(self) -> None:
        self.seen: list[Registration] = []

    async def check(self, registration: Registration) -> None:
        self.seen.append(registration)

    async def check_login(self, user: User) -> None:
        return


class Undecided(QuestionStage):
    """Returns the ``answer``, whatever it is."""

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        return auth["answer"]


class UndecidedTests(SystemCase):
    """A stage that refuses by returning False, or that forgets to return."""

    def setUp(self) -> None:
        super().setUp()
        self.system(hooks=self.hooks(stages=[Undecided()], flows=[(QUESTION,)]))

    def assertMistake(self, returned: object, session: str | None = None) -> None:
        auth = {"type": QUESTION, "answer": returned}
        if session is not None:
            auth["session"] = session
        answer = self.client.register(username="alice", password=PASSWORD, auth=auth)
        self.assertRefused(answer, 500, "M_UNKNOWN")
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertEqual(
            str(failure.value),
            f"hooks(stage {QUESTION}): check returned {returned}: raise StageFailed to refuse,"
            " return True if there is nothing to remember",
        )

    def test_nobodyPasses(self) -> None:
        """False and None pass nobody: the client gets a 500, the operator a sentence. The session
        goes on, and does not remember the stage as passed."""
        for returned in (False, None):
            self.assertMistake(returned)
            session = self.challenge(username="alice", password=PASSWORD)["session"]
            self.clock.advance(0)
            self.assertMistake(returned, session)
            again = self.client.register(auth={"session": session})
            self.assertRefused(again, 401, None)
            self.assertEqual(again.json["completed"], [])
        self.assertEqual(self.counts()["users"], 0)

    def test_falsy(self) -> None:
        """Any other JSON is what the session remembers."""
        for name, returned in (("a", 0), ("b", ""), ("c", []), ("d", {})):
            self.register(name, auth={"type": QUESTION, "answer": returned})


class StagesTests(EmailValidationCase):
    def setUp(self) -> None:
        self.watch, self.ledger = Watch(), Ledger()
        super().setUp()

    def system(self, **options: Any) -> None:
        stages = {"stages": [QuestionStage()], "followers": [self.ledger]}
        hooks = self.hooks(mails=self.mails, **stages, flows=options.pop("flows", None))
        super().system(blocking=self.watch, hooks=hooks, **options)

    def assertFound(self, **stages: Any) -> None:
        """The last registration was made with just these results, and its follower was told so."""
        self.assertEqual(self.watch.seen[-1].stages, stages)
        if TOKEN in stages:
            stages[TOKEN] = True
        self.assertEqual(self.ledger.told[-1][1].stages, stages)

    def test_oneRequest(self) -> None:
        """A registration in one request, whose session is never stored, has its stage's result."""
        self.system(flows=[(QUESTION,), (DUMMY["type"],)])
        self.register()
        self.assertFound(**{"m.login.dummy": True})
        self.register("bob", auth=ANSWERED)
        self.assertFound(**{QUESTION: {"answered": "a mirror"}})
        self.assertEqual(self.counts()["uia_sessions"], 0)

    def test_session(self) -> None:
        """One in several requests has the results of all stages that were passed, in whichever
        flow, and of no other."""
        self.system(
            registrations_require_3pid=["email"],
            registration_requires_token=True,
            regsys={"rc_availability": False, "policies": {"rules": RULES}},
        )
        tokens = self.subsystem.registration_tokens
        self.wait(tokens.create(token="good", settings={}))
        sid, session = self.validate_address(), self.begin()
        self.go_on(session, {"type": TOKEN, "token": "good"})
        self.go_on(session, {"type": TERMS})
        self.go_on(session, ANSWERED)
        self.go_on(session, {**ANSWERED, "answer": "wrong"})
        self.assertRegistered(self.present(session, sid), "alice")
        mail = {"sid": sid, "medium": "email", "address": ALICE, "validated_at_ms": self.now_ms}
        expected = {
            TOKEN: "good",
            TERMS: {"rules": "2"},
            QUESTION: {"answered": "a mirror"},
            STAGE: mail,
        }
        self.assertFound(**expected)

    def test_undone(self) -> None:
        """A stage that must be passed again has found nothing."""
        self.system(flows=[(STAGE, QUESTION), (DUMMY["type"],)])
        session = self.begin()
        self.assertEqual(self.present(session, self.validate_address()).json["completed"], [STAGE])
        self.present(session, self.start_validation("bob@mail.example"))
        self.assertRegistered(self.go_on(session), "alice")
        self.assertFound(**{"m.login.dummy": True})

    def test_without(self) -> None:
        """Guests and registrations by the handler pass no stage."""
        self.guest()
        self.assertFound()
        new = Registration(key="k", localpart="bob", display_name=PASSWORD)
        self.wait(self.subsystem.handler.register_user(new))
        self.assertFound()
