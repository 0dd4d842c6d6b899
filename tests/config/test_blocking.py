"""When the server accepts no users: switched off, or full."""

from __future__ import annotations

from regsys.config import BlockingConfig
from regsys.config.values import DAY_MS
from tests.config.case import OPEN, ConfigCase

RESERVED = "mau_limit_reserved_threepids"


class BlockingTests(ConfigCase):
    def test_default(self) -> None:
        """Without these options no registration is blocked and no user counted."""
        self.assertEqual(self.parse({}).blocking, BlockingConfig())

    def test_everything(self) -> None:
        """Each option is read, also beside open registration; addresses in their canonical form."""
        config = self.parse(
            {
                **OPEN,
                "admin_contact": "mailto:admin@example.com",
                "hs_disabled": True,
                "hs_disabled_message": "We are moving.",
                "limit_usage_by_mau": True,
                "max_mau_value": 50,
                RESERVED: [
                    {"medium": "email", "address": " Admin@EXAMPLE.com"},
                    {"medium": "msisdn", "address": "+4915112345678"},
                ],
                "mau_trial_days": 2,
                "mau_appservice_trial_days": {"bridge": 3},
                "mau_limit_alerting": False,
                "track_appservice_user_ips": True,
            }
        )
        self.assertEqual((config.warnings, config.unused), ((), ()))
        self.assertEqual(
            config.blocking,
            BlockingConfig(
                admin_contact="mailto:admin@example.com",
                disabled=True,
                disabled_message="We are moving.",
                max_users=50,
                counts_users=True,
                reserved=frozenset({("email", "admin@example.com"), ("msisdn", "4915112345678")}),
                trial_ms=2 * DAY_MS,
                service_trial_ms={"bridge": 3 * DAY_MS},
                counts_services=True,
            ),
        )

    def test_onlyCounted(self) -> None:
        """With mau_stats_only users are counted and not limited, whatever max_mau_value says."""
        config = self.parse({"mau_stats_only": True, "max_mau_value": 5}).blocking
        self.assertEqual((config.counts_users, config.max_users), (True, None))

    def test_limitWithoutNumber(self) -> None:
        """A limit of 0 is kept, with a warning."""
        options = {"limit_usage_by_mau": True}
        self.assertWarning(options, "max_mau_value is 0", "nobody may register")
        self.assertEqual(self.parse(options).blocking.max_users, 0)

    def test_alerting(self) -> None:
        """An option for notices to users has a warning that there are none."""
        options = {"limit_usage_by_mau": True, "max_mau_value": 5, "mau_limit_alerting": True}
        self.assertWarning(options, "mau_limit_alerting has no effect", "server notice")
        self.assertEqual(self.parse({"mau_limit_alerting": True}).warnings, ())

    def test_wrongValues(self) -> None:
        """An invalid value is refused by its name."""
        for options, parts in (
            ({"max_mau_value": -1}, ("max_mau_value", "(-1)")),
            ({"max_mau_value": "many"}, ("max_mau_value", "('many')")),
            ({"hs_disabled": "yes"}, ("hs_disabled", "boolean")),
            ({"mau_trial_days": 1.5}, ("mau_trial_days", "(1.5)")),
            ({"mau_appservice_trial_days": {"b": -2}}, ("mau_appservice_trial_days.b", "(-2)")),
            ({"mau_appservice_trial_days": [1]}, ("mau_appservice_trial_days", "mapping")),
            ({RESERVED: [{"medium": "email"}]}, (f"{RESERVED}[0].address", "missing")),
            ({RESERVED: [{"address": "a@b"}]}, (f"{RESERVED}[0].medium", "missing")),
            ({RESERVED: [{"medium": "fax", "address": "1"}]}, (f"{RESERVED}[0].medium", "'fax'")),
            ({RESERVED: [{"medium": "email", "address": "a"}]}, ("[0].address", "('a')")),
            ({RESERVED: [{"medium": "msisdn", "address": "a@b"}]}, ("[0].address", "'a@b'")),
        ):
            self.assertProblem(options, *parts)


class GuestExpiryTests(ConfigCase):
    def test_duration(self) -> None:
        """Guests stay for ever, or for at least a day."""
        self.assertIsNone(self.parse({}).registration.guest_expiry_ms)
        config = self.parse({"regsys": {"guest_expiry": "30d"}})
        self.assertEqual(config.registration.guest_expiry_ms, 30 * DAY_MS)
        self.assertEqual(config.warnings, ())
        for wrong in ("1h", "soon", 0):
            self.assertProblem({"regsys": {"guest_expiry": wrong}}, "regsys.guest_expiry")
