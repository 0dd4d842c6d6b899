"""``regsys: {approval}``: what is read, and what is refused at the start."""

from __future__ import annotations

from typing import Any

from regsys.config import ApprovalConfig
from tests.config.case import ConfigCase

NEEDED = {
    "experimental_features": {
        "msc3866": {"enabled": True, "require_approval_for_new_accounts": True}
    }
}
MAILS = {"email": {"notif_from": "a@example.com"}}


class ApprovalConfigTests(ConfigCase):
    def options(self, **approval: Any) -> dict[str, Any]:
        return {**NEEDED, **MAILS, "regsys": {"approval": approval}}

    def test_defaults(self) -> None:
        """Nothing happens unless it is asked for."""
        self.assertEqual(self.parse({}).approval, ApprovalConfig())
        self.assertEqual(self.parse(NEEDED).approval, ApprovalConfig())

    def test_read(self) -> None:
        """Addresses are in canonical form, each once."""
        found = self.parse(
            self.options(
                ask_reason=True,
                notify=["Root@Example.COM", "root@example.com", "b@example.com"],
                notify_language="de",
                notify_interval="1d",
                keep_decisions="1w",
            )
        )
        expected = ApprovalConfig(
            ask_reason=True,
            notify=("root@example.com", "b@example.com"),
            notify_language="de",
            notify_interval_ms=24 * 3600 * 1000,
            kept_ms=7 * 24 * 3600 * 1000,
        )
        self.assertEqual((found.approval, found.warnings), (expected, ()))

    def test_refused(self) -> None:
        """What cannot work stops the start."""
        self.assertProblem(self.options(notify=["root"]), "regsys.approval.notify[0]", "'root'")
        interval = self.options(notify_interval="59s")
        self.assertProblem(interval, "regsys.approval.notify_interval", "59s")
        options = {**self.options(notify=["a@b.example"]), "email": None}
        self.assertProblem(options, "regsys.approval.notify", "no mail server")

    def test_reasonForNobody(self) -> None:
        """Without approval nobody is asked, and a warning says so."""
        options = {"regsys": {"approval": {"ask_reason": True}}}
        self.assertFalse(self.parse(options).approval.ask_reason)
        self.assertWarning(options, "regsys.approval.ask_reason", "msc3866")
