"""The stages that regsys provides."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.client_api.password_stage import PasswordStage
from regsys.errors import UnknownStage
from regsys.interfaces import IStage, StageContext
from regsys.model import Client, UIASession
from regsys.testing import provides
from regsys.uia.stages import DummyStage
from tests.support.question_stage import QuestionStage


class StageTests(SynchronousTestCase):
    session = UIASession(session_id="S", method="POST", uri="/", created_ms=0, expires_ms=1)

    def test_provides(self) -> None:
        """The stages offer all of IStage, that of the other tests included."""
        password = PasswordStage(passwords=None)  # type: ignore[arg-type]  # not asked here
        for stage in (DummyStage(), password, QuestionStage()):
            provides(IStage, stage)

    def test_dummy(self) -> None:
        """``m.login.dummy`` has no params, and is passed whatever keys are beside its type."""
        stage = DummyStage()
        self.assertEqual(stage.type, "m.login.dummy")
        self.assertIsNone(stage.params(self.session))
        context = StageContext(session=self.session, client=Client("192.0.2.1"))
        for auth in ({}, {"type": "m.login.dummy", "more": [None]}):
            checking = Deferred.fromCoroutine(stage.check(auth, context))
            self.assertIs(self.successResultOf(checking), True)

    def test_passwordOfNobody(self) -> None:
        """``m.login.password`` is not offered in a session without a user."""
        stage = PasswordStage(passwords=None)  # type: ignore[arg-type]  # not asked here
        context = StageContext(session=self.session, client=Client("192.0.2.1"))
        auth = {"type": "m.login.password", "user": "alice", "password": "x"}
        checking = Deferred.fromCoroutine(stage.check(auth, context))
        self.failureResultOf(checking, UnknownStage)
