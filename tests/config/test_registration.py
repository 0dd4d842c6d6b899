"""Who may register, and which configurations are refused as too open."""

from __future__ import annotations

from tests.config.case import OPEN, ConfigCase


class RegistrationTests(ConfigCase):
    def test_openRegistrationMustBeConfirmed(self) -> None:
        """Registration without any verification requires the explicit flag."""
        self.assertProblem({"enable_registration": True}, "enable_registration:", "(true)")
        self.assertProblem({"disable_registration": "false"}, "enable_registration:")
        self.assertTrue(self.parse(OPEN).registration.enabled)
        self.assertEqual(self.parse({**OPEN, "allow_guest_access": True}).warnings, ())
        words = dict.fromkeys(OPEN, "yes")
        self.assertTrue(self.parse(words).registration.enabled)
        self.assertFalse(self.parse({"enable_registration": "off"}).registration.enabled)

    def test_directory(self) -> None:
        """New users may be found in the user directory, unless that is switched off."""
        self.assertTrue(self.parse({}).registration.in_directory)
        hidden = self.parse({"show_users_in_user_directory": False})
        self.assertFalse(hidden.registration.in_directory)

    def test_theOldOppositeWins(self) -> None:
        """disable_registration takes precedence if it is set, either way."""
        closed = self.parse({**OPEN, "disable_registration": True})
        self.assertFalse(closed.registration.enabled)
        opened = {"disable_registration": False, "enable_registration_without_verification": True}
        self.assertTrue(self.parse(opened).registration.enabled)

    def test_tokens(self) -> None:
        """A token that all registrations require counts as verification; an optional one does
        not."""
        for name in ("registration_requires_token", "enable_registration_token_3pid_bypass"):
            self.assertEqual(self.parse({name: True}).warnings, ())
        required = {"enable_registration": True, "registration_requires_token": True}
        registration = self.parse(required).registration
        self.assertEqual((registration.enabled, registration.requires_token), (True, True))
        self.assertFalse(registration.token_bypasses_3pid)
        bypass = {"enable_registration": True, "enable_registration_token_3pid_bypass": True}
        self.assertProblem(bypass, "enable_registration:", "registration_requires_token")
        registration = self.parse({**OPEN, **bypass}).registration
        self.assertEqual((registration.requires_token, registration.token_bypasses_3pid), (0, 1))

    def test_withAnAuthenticationServiceNobodyRegistersHere(self) -> None:
        """OAuth-only mode, in both forms, closes registration, by the shared secret too, guests and
        password logins; users change their addresses in the authentication service, unless the file
        says otherwise."""
        secret = {"registration_shared_secret": "s"}
        asked = {**OPEN, "allow_guest_access": True, **secret}
        for form in (
            {"matrix_authentication_service": {"enabled": True}},
            {"experimental_features": {"msc3861": {"enabled": True}}},
        ):
            config = self.parse({**asked, **form})
            self.assertFalse(config.registration.enabled)
            self.assertFalse(config.registration.allow_guest_access)
            self.assertIsNone(config.registration.shared_secret)
            self.assertFalse(config.passwords.login_enabled)
            self.assertFalse(config.threepids.may_change)
            allowed = self.parse({**form, "enable_3pid_changes": True})
            self.assertTrue(allowed.threepids.may_change)
            self.assertEqual(config.unused, ())
            self.assertWarning({**asked, **form}, "OAuth")
            self.assertWarning({**OPEN, **form}, "OAuth")
            self.assertWarning({"allow_guest_access": True, **form}, "OAuth")
            self.assertWarning({**secret, **form}, "OAuth")
            self.assertEqual(self.parse(form).warnings, ())

    def test_approvalNeedsBothOptions(self) -> None:
        """One of the two options alone approves every user, and one of the halves causes a
        warning."""
        enabled = {"msc3866": {"enabled": True}}
        required = {"msc3866": {"require_approval_for_new_accounts": True}}
        both = {"msc3866": {**enabled["msc3866"], **required["msc3866"]}}
        for features, approval in ((enabled, False), (required, False), (both, True)):
            config = self.parse({"experimental_features": features})
            self.assertIs(config.registration.requires_approval, approval)
        self.assertWarning({"experimental_features": required}, "msc3866.enabled")
        self.assertEqual(self.parse({"experimental_features": both}).warnings, ())

    def test_userTypes(self) -> None:
        """The types are support, bot and the configured ones; one of them may be the default."""
        types = {"extra_user_types": ["vip"], "default_user_type": "vip"}
        registration = self.parse({"user_types": types}).registration
        self.assertEqual(registration.user_types, {"support", "bot", "vip"})
        self.assertEqual(registration.default_user_type, "vip")
