"""How long logins last."""

from __future__ import annotations

from regsys.config.access_tokens import read_tokens
from regsys.config.values import Reader
from tests.config.case import ConfigCase


class AccessTokenTests(ConfigCase):
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

    def test_keysAreKept(self) -> None:
        """What tokens are made with is kept where a homeserver may get them back, and only if our
        tables alone cannot make them."""
        delegated = {"regsys": {"homeserver": {"url": "http://localhost:8008", "delegated": True}}}
        for options, kept in (
            ({"macaroon_secret_key": "a key", **delegated}, True),
            ({"macaroon_secret_key": "a key"}, False),
            (delegated, False),
        ):
            reader = Reader(options)
            self.assertEqual(read_tokens(reader).keeps_keys, kept, options)
