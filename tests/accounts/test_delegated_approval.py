"""Approval where regsys is the auth service of a Synapse, which knows the accounts meanwhile."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from regsys.model import UserID
from tests.accounts.test_approvals import AWAITING, NEEDED
from tests.accounts.test_delegation import DelegatedCase
from tests.support.case import DUMMY, PASSWORD


class DelegatedApprovalTests(DelegatedCase):
    options: ClassVar[Mapping[str, Any]] = {
        **DelegatedCase.options,
        "experimental_features": NEEDED,
    }

    def ask_for(self, name: str) -> UserID:
        answer = self.client.register(username=name, password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 403, AWAITING)
        return UserID(name, "test.example")

    def decide(self, coroutine: Any) -> None:
        self.assertTrue(self.wait(coroutine).is_new)
        self.settle()

    def test_decided(self) -> None:
        """Nobody who waits has a login there; who is approved gets one, who is refused is
        deactivated there, too."""
        approvals = self.main.approvals
        assert approvals is not None
        alice, mallory = self.ask_for("alice"), self.ask_for("mallory")
        self.assertEqual([self.devices("alice"), self.devices("mallory")], [{}, {}])
        self.decide(approvals.approve(alice, "cli"))
        self.decide(approvals.refuse(mallory, None, "cli"))
        token = self.log_in("alice").json["access_token"]
        self.assertTrue(self.is_active(token))
        deactivated = {name: user.deactivated for name, user in self.double.users.items()}
        self.assertEqual(deactivated, {"alice": False, "mallory": True})
        self.assertNothingWaits()
