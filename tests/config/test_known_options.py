"""Options without effect, and misspelt ones."""

from __future__ import annotations

from tests.config.case import ConfigCase


class UnusedTests(ConfigCase):
    def test_foreignAndFutureOptionsAreUnused(self) -> None:
        """An option without effect is listed under its dotted name, and causes no warning."""
        config = self.parse(
            {
                "email": {"notif_from": "a@example.com", "riot_base_url": "https://app.example/"},
                "rc_user_directory": {"per_second": 1, "burst_count": 2},
                "experimental_features": {"msc3860": True, "msc3866": {"enabled": True}},
                "database": {"name": "sqlite3", "txn_limit": 4, "args": {"database": "x.db"}},
                "regsys": {"hold_names": True},
                8008: "a key that is no text",
            }
        )
        self.assertEqual(
            set(config.unused),
            {
                "email.riot_base_url",
                "rc_user_directory",
                "experimental_features.msc3860",
                "database.txn_limit",
                "regsys.hold_names",
                "8008",
            },
        )
        self.assertEqual(config.warnings, ())

    def test_misspeltOptionsBringTheNearestName(self) -> None:
        """A misspelt option is unused, and a warning has the probable name."""
        for options, meant in (
            ({"bcrypt_round": 4}, "mean bcrypt_rounds?"),
            ({"registration_require_token": True}, "mean registration_requires_token?"),
            ({"password_config": {"peper": "x"}}, "mean password_config.pepper?"),
            ({"regsys": {"trusted_proxys": []}}, "mean regsys.trusted_proxies?"),
            ({"rc_registration": {"burst": 1}}, "rc_registration.burst is not an option: a rate"),
            ({"rc_login": {"account": {"rate": 1}}}, "rc_login.account.rate is not an option: a"),
            ({"regsys": {"colour": "red"}}, "regsys.colour is not an option of regsys."),
        ):
            self.assertWarning(options, meant)
            self.assertEqual(len(self.parse(options).unused), 1)

    def test_guards(self) -> None:
        """An option that should keep users out, or let them in, and has no effect has a warning of
        its own that says what it guards; if it is empty or switched off, it has none."""
        for name, used, guarded in (
            ("spam_checker", {"module": "x.Y"}, "no spam checker"),
            ("third_party_event_rules", {"module": "x.Y"}, "no such rules"),
            ("password_providers", [{"module": "ldap"}], "regsys's own accounts alone"),
            ("oidc_providers", [{"idp_id": "x"}], "OpenID Connect"),
            ("saml2_config", {"sp_config": {"metadata": {"local": ["x"]}}}, "SAML"),
            ("cas_config", {"enabled": True, "server_url": "x"}, "CAS"),
            ("jwt_config", {"enabled": True, "secret": "x"}, "JSON Web Token"),
            ("account_validity", {"enabled": True, "period": "6w"}, "do not expire"),
            ("sso", {"client_whitelist": ["https://x/"]}, "no single sign-on"),
        ):
            self.assertWarning({name: used}, f"{name} has no effect", guarded)
            self.assertEqual(self.parse({name: used}).unused, (name,))
            for nothing in (None, [], {}, {"enabled": False, "x": 1}, {"x": None, "y": []}):
                self.assertEqual(self.parse({name: nothing}).warnings, (), (name, nothing))
