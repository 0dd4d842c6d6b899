"""Email addresses and phone numbers: whether they are required, which are allowed, where links may
lead."""

from __future__ import annotations

import re

from regsys.config import AllowedThreepid, Rate, ThreepidsConfig
from tests.config.case import OPEN, ConfigCase

MAILS = {"email": {"notif_from": "server@example.com"}}
GOOD = {"medium": "email", "pattern": r"^[^@]+@good\.example$"}


class ThreepidsTests(ConfigCase):
    def test_default(self) -> None:
        """No address is required, none refused; without the email section none is validated."""
        self.assertEqual(self.parse({}).threepids, ThreepidsConfig())
        self.assertEqual(self.parse({}).limits.validation, Rate(0.003, 5))
        for nothing in (None, {}, {"validation_token_lifetime": None}):
            self.assertEqual(self.parse({"email": nothing}).threepids.offered, frozenset())

    def test_email(self) -> None:
        """With any content in the email section addresses are validated; a link is valid for an
        hour."""
        threepids = self.parse(MAILS).threepids
        self.assertEqual(threepids.offered, {"email"})
        self.assertEqual(threepids.token_lifetime_ms, 3_600_000)
        longer = self.parse(
            {"email": {**MAILS["email"], "validation_token_lifetime": "2d"}}
        ).threepids
        self.assertEqual(longer.token_lifetime_ms, 2 * 24 * 3_600_000)

    def test_required(self) -> None:
        """A required address counts as verification, so registration may be open."""
        required = {**MAILS, "enable_registration": True, "registrations_require_3pid": ["email"]}
        config = self.parse(required)
        self.assertEqual(config.threepids.required, {"email"})
        self.assertTrue(config.registration.enabled)
        self.assertEqual(config.warnings, ())

    def test_requiredInVain(self) -> None:
        """A required address that cannot be validated is refused, whether registration is open or
        not."""
        for options in ({}, OPEN):
            name = "registrations_require_3pid"
            self.assertProblem({**options, name: ["email"]}, name, "the email section")
            phone = {**options, **MAILS, name: ["msisdn"]}
            self.assertProblem(phone, name, "disable_msisdn_registration")
            dropped = self.parse({**phone, "disable_msisdn_registration": True}).threepids
            self.assertEqual(dropped.required, frozenset())
            self.assertProblem({**options, **MAILS, name: ["mail"]}, f"{name}[0]", "email, msisdn")
        open_to_all = {"enable_registration": True, "disable_msisdn_registration": True}
        self.assertProblem({**open_to_all, name: ["msisdn"]}, "enable_registration:")

    def test_allowed(self) -> None:
        """Patterns are read, and one without an end causes a warning."""
        config = self.parse({"allowed_local_3pids": [GOOD]})
        allowed = AllowedThreepid("email", re.compile(GOOD["pattern"]))
        self.assertEqual((config.threepids.allowed, config.warnings), ((allowed,), ()))
        for pattern, has_end in (
            (r"^[^@]+@good\.example", False),
            (r"costs 5\$", False),
            (r"ends\\$", True),
            (r"(a|b$)", True),
            (r"good\Z", True),
        ):
            options = {"allowed_local_3pids": [{"medium": "msisdn", "pattern": pattern}]}
            warnings = self.parse(options).warnings
            self.assertEqual(len(warnings), 0 if has_end else 1, pattern)
            if not has_end:
                self.assertIn("allowed_local_3pids[0].pattern has no $", warnings[0])

    def test_notAllowed(self) -> None:
        """An invalid entry is reported with its position."""
        for entry, part in (
            ({"medium": "email"}, "[0].pattern: missing"),
            ({"pattern": "a$"}, "[0].medium: missing"),
            ({**GOOD, "medium": "fax"}, "[0].medium: not known here ('fax')"),
            ({**GOOD, "pattern": "(a$"}, "[0].pattern: no regular expression"),
            ({**GOOD, "pattern": 5}, "[0].pattern: not text"),
        ):
            self.assertProblem({"allowed_local_3pids": [entry]}, f"allowed_local_3pids{part}")

    def test_nobodyAllowed(self) -> None:
        """If an address is required and no entry allows one, no user could register: refused."""
        phones = {"medium": "msisdn", "pattern": r"^49\d+$"}
        required = {**MAILS, "registrations_require_3pid": ["email"]}
        for allowed in ([], [GOOD], [GOOD, phones]):
            config = self.parse({**required, "allowed_local_3pids": allowed})
            self.assertEqual(config.threepids.required, {"email"}, allowed)
        self.assertProblem(
            {**required, "allowed_local_3pids": [phones]}, "allowed_local_3pids: allows no", "email"
        )
        self.parse({**MAILS, "allowed_local_3pids": [phones]})

    def test_domains(self) -> None:
        """Without a list links may lead to any host, with an empty one to none."""
        for value, domains in (
            (None, None),
            ([], frozenset()),
            (["App.example"], frozenset({"app.example"})),
        ):
            config = self.parse({"next_link_domain_whitelist": value})
            self.assertEqual(config.threepids.next_link_domains, domains, value)

    def test_hidden(self) -> None:
        """That an address is in use is reported unless it is to be hidden."""
        hidden = {"request_token_inhibit_3pid_errors": True}
        self.assertTrue(self.parse(hidden).threepids.hide_taken)
