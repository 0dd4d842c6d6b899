"""Tokens and passwords."""

from __future__ import annotations

from regsys.model import Secret
from tests.config.case import ConfigCase


class LoginTests(ConfigCase):
    NAMES = (
        "refreshable_access_token_lifetime",
        "nonrefreshable_access_token_lifetime",
        "refresh_token_lifetime",
    )

    def test_lifetimes(self) -> None:
        """Lifetimes are milliseconds; null switches refresh tokens off, the default is five
        minutes."""
        tokens = self.parse({"session_lifetime": "1d", **dict.fromkeys(self.NAMES, "1h")}).tokens
        self.assertEqual(tokens.session_lifetime_ms, 86_400_000)
        for name in self.NAMES:
            self.assertEqual(getattr(tokens, f"{name}_ms"), 3_600_000)
        name = self.NAMES[0]
        self.assertEqual(self.parse({}).tokens.refreshable_access_token_lifetime_ms, 300_000)
        self.assertIsNone(self.parse({name: None}).tokens.refreshable_access_token_lifetime_ms)

    def test_noLifetimeOutlivesTheSession(self) -> None:
        """A lifetime in the file that is longer than the session is refused; the default is not."""
        for name in self.NAMES:
            self.assertProblem({"session_lifetime": "1m", name: "2m"}, name, "('2m')")
            self.assertEqual(self.parse({"session_lifetime": "2m", name: "2m"}).warnings, ())
        self.assertEqual(self.parse({"session_lifetime": "1m"}).warnings, ())

    def test_guestsAndASessionLifetimeDoNotGoTogether(self) -> None:
        """A guest's login can't expire: a warning says that guests are refused."""
        options = {"session_lifetime": "1d", "allow_guest_access": True}
        self.assertWarning(options, "session_lifetime", "guests")

    def test_passwordLogin(self) -> None:
        """Only a plain true enables login by password; for reauthentication, only_for_reauth is
        enough."""
        for value, login, reauth in (
            (True, True, True),
            (False, False, False),
            ("only_for_reauth", False, True),
        ):
            passwords = self.parse({"password_config": {"enabled": value}}).passwords
            self.assertEqual((passwords.login_enabled, passwords.reauth_enabled), (login, reauth))

    def test_passwordsAreTakenAsConfigured(self) -> None:
        """Pepper, cost, policy and the handling of long passwords come from their own options."""
        kinds = ("digit", "symbol", "lowercase", "uppercase")
        for kind in kinds:
            policy = {"enabled": True, "minimum_length": 9, f"require_{kind}": True}
            options = {"pepper": "salt", "localdb_enabled": False, "policy": policy}
            passwords = self.parse({"password_config": options, "bcrypt_rounds": 4}).passwords
            self.assertEqual((passwords.pepper, passwords.bcrypt_rounds), (Secret("salt"), 4))
            self.assertFalse(passwords.localdb_enabled)
            self.assertEqual((passwords.policy.enabled, passwords.policy.minimum_length), (True, 9))
            required = {name: getattr(passwords.policy, f"require_{name}") for name in kinds}
            self.assertEqual(required, {name: name == kind for name in kinds})
        for word, cut in (("truncate", True), ("prehash", False)):
            passwords = self.parse({"regsys": {"long_passwords": word}}).passwords
            self.assertIs(passwords.truncate_long, cut)
