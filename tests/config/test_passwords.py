"""How passwords are used, hashed, and what they must contain."""

from __future__ import annotations

from regsys.model import Secret
from tests.config.case import ConfigCase


class PasswordTests(ConfigCase):
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
