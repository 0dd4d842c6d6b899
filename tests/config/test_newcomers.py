"""``regsys.newcomers``."""

from __future__ import annotations

from typing import Any

from regsys.config import NewcomersConfig
from tests.config.case import ConfigCase

DELEGATED: dict[str, Any] = {
    "enable_registration": True,
    "enable_registration_without_verification": True,
    "matrix_authentication_service": {"enabled": True, "secret": "s"},
}
HOMESERVER = {"url": "http://localhost:8008", "delegated": True}
APPROVAL = {"msc3866": {"enabled": True, "require_approval_for_new_accounts": True}}


class NewcomersTests(ConfigCase):
    def suspended(self, **more: Any) -> dict[str, Any]:
        newcomers = {"state": "suspended", **more}
        return {**DELEGATED, "regsys": {"homeserver": HOMESERVER, "newcomers": newcomers}}

    def test_suspended(self) -> None:
        found = self.parse(self.suspended(after="2d", or_with_address=True)).newcomers
        expected = NewcomersConfig(after_ms=2 * 24 * 3600 * 1000, or_with_address=True)
        self.assertEqual(found, expected)
        config = self.parse(self.suspended())
        self.assertEqual(config.newcomers, NewcomersConfig())
        self.assertFalse(config.registration.requires_approval)
        self.assertEqual((config.warnings, config.unused), ((), ()))

    def test_waiting(self) -> None:
        """They wait for approval, as by the option of homeservers, with or without delegation."""
        waiting = {"newcomers": {"state": "waiting"}}
        for options in ({"regsys": waiting}, {"experimental_features": APPROVAL}):
            config = self.parse(options)
            self.assertTrue(config.registration.requires_approval)
            self.assertIsNone(config.newcomers)
        both = {**DELEGATED, "regsys": {"homeserver": HOMESERVER, **waiting}}
        self.assertTrue(self.parse(both).registration.requires_approval)

    def test_absent(self) -> None:
        config = self.parse({"regsys": {"newcomers": None}})
        self.assertIsNone(config.newcomers)
        self.assertFalse(config.registration.requires_approval)

    def test_problems(self) -> None:
        """What cannot be done is refused with a sentence."""
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"regsys": {"newcomers": {"state": "suspended"}}}, "only a homeserver can suspend"),
            ({"regsys": {"newcomers": {"state": "silent"}}}, "newcomers.state: not known here"),
            (
                {"regsys": {"newcomers": {"state": "waiting", "after": "1d"}}},
                "newcomers.after: is about suspended newcomers alone",
            ),
            (
                {"regsys": {"newcomers": {"or_with_address": True}}},
                "newcomers.or_with_address: is about suspended newcomers alone",
            ),
            (self.suspended(after="soon"), "newcomers.after: not a duration"),
            (
                {**self.suspended(), "experimental_features": APPROVAL},
                "have no login that could be suspended",
            ),
        )
        for options, problem in cases:
            self.assertProblem(options, problem)
