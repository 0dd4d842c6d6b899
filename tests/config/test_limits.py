"""Rate limits."""

from __future__ import annotations

from regsys.config import Rate
from tests.config.case import ConfigCase


class LimitTests(ConfigCase):
    def test_ratesAreReadInPart(self) -> None:
        """A rate may leave one of its numbers at the default; each rate has its own option."""
        limits = self.parse(
            {
                "rc_registration": {"per_second": 1},
                "rc_registration_token_validity": {"burst_count": 9},
                "rc_login": {
                    "address": {"burst_count": 6},
                    "account": {"per_second": 0.5, "burst_count": 7},
                    "failed_attempts": {"burst_count": 8},
                },
            }
        ).limits
        self.assertEqual(limits.registration, Rate(1.0, 3))
        self.assertEqual(limits.token_validity, Rate(0.1, 9))
        self.assertEqual(limits.login_address, Rate(0.003, 6))
        self.assertEqual(limits.login_account, Rate(0.5, 7))
        self.assertEqual(limits.login_failed, Rate(0.17, 8))

    def test_availability(self) -> None:
        """Availability checks have a concurrency limit, or a rate, or no limit at all."""
        rate = {"per_second": 2, "burst_count": 9}
        for value, expected in ((None, "one_at_a_time"), (False, "off"), (rate, Rate(2.0, 9))):
            limits = self.parse({"regsys": {"rc_availability": value}}).limits
            self.assertEqual(limits.availability, expected)

    def test_sessions(self) -> None:
        """The replay window is a duration; an address may have 200 sessions or more."""
        own = {"replay_window": "1m", "sessions_per_ip": 300}
        sessions = self.parse({"regsys": own}).sessions
        self.assertEqual((sessions.replay_window_ms, sessions.per_address), (60_000, 300))

    def test_connections(self) -> None:
        """The number of connections follows from the machine, unless it is set."""
        limits = self.parse({}).limits
        self.assertEqual((limits.connections, limits.connections_per_ip), (None, None))
        own = {"connections": 2000, "connections_per_ip": 500}
        limits = self.parse({"regsys": own}).limits
        self.assertEqual((limits.connections, limits.connections_per_ip), (2000, 500))
        for name in own:
            self.assertProblem({"regsys": {name: 0}}, f"regsys.{name}", "(0)")

    def test_confirmation(self) -> None:
        """The validity of a reauthentication is a duration, or 0: none."""
        for value, expected in ((0, 0), ("0", 0), ("10m", 600_000), (5000, 5000), (None, 0)):
            sessions = self.parse({"ui_auth": {"session_timeout": value}}).sessions
            self.assertEqual(sessions.confirmed_ms, expected)
        for value in (-1, "soon", []):
            self.assertProblem(
                {"ui_auth": {"session_timeout": value}}, "ui_auth.session_timeout", "a duration"
            )
