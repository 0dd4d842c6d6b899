"""Caps on all registrations: they count over all addresses, refuse, and warn before."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.logger import capturedLogs

from regsys.interfaces.internal import ILimiter
from regsys.limits.total import LOG_S, Cap, Capped
from regsys.testing import provides
from tests.config.case import ConfigCase
from tests.limits.test_rate import LimitCase
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer

HOUR_S = 3600


class CapTests(LimitCase):
    def setUp(self) -> None:
        super().setUp()
        self.reports: list[tuple[str, str]] = []
        self.own = self.buckets(1, 7)
        self.capped = Capped(self.own, [self.cap("hour", HOUR_S, 5), self.cap("day", 86400, 6)])

    def cap(self, period: str, length_s: int, count: int) -> Cap:
        return Cap(
            option="the option",
            period=period,
            count=count,
            limiter=self.buckets(count / length_s, count),
            near=self.buckets(count / length_s, count * 4 // 5),
            report=lambda *report: self.reports.append(report),
            seconds=self.clock.seconds,
        )

    def take(self, *keys: str) -> None:
        for key in keys:
            self.passes(self.capped.take(key))

    def test_provides(self) -> None:
        """It is a limiter like others."""
        provides(ILimiter, self.capped)

    def test_together(self) -> None:
        """All keys count together; when the cap is reached, the time until the next is said."""
        self.take(*"abcde")
        self.assertEqual(self.refused(self.capped.take("f")), HOUR_S * 1000 // 5)
        self.assertEqual(self.refused(self.capped.peek("f")), HOUR_S * 1000 // 5)
        self.clock.advance(HOUR_S / 5)
        self.passes(self.capped.peek("f"))
        self.take("f")
        self.refused(self.capped.take("g"))

    def test_warns(self) -> None:
        """From 80 % on each is reported, and each refusal; the log says so now and then."""
        with capturedLogs() as events:
            self.take(*"abcd")
            self.assertEqual((self.reports, events), ([], []))
            self.take("e")
            self.assertEqual(self.reports, [("hour", "near"), ("day", "near")])
            self.reports.clear()
            for _ in range(3):
                self.refused(self.capped.take("f"))
            self.assertEqual(self.reports, [("hour", "reached")] * 3)
            self.assertEqual(len(events), 3)
            self.clock.advance(LOG_S)
            self.refused(self.capped.peek("f"))
        self.assertEqual([event["period"] for event in events], ["hour", "day", "hour", "hour"])

    def test_refusedCountsForNone(self) -> None:
        """What one of them refuses is given back to the others; so is a registration that made no
        account."""
        self.take(*"aaaaa")
        for _ in range(5):
            self.refused(self.capped.take("a"))
        for _ in range(5):
            self.passes(self.capped.give_back("a"))
        self.take(*"bbbbb")
        self.assertFalse(self.own.holds("a"))
        self.clock.advance(HOUR_S)
        self.take("c")
        # The day is the one that is full now.
        self.refused(self.capped.take("d"))
        self.assertFalse(self.own.holds("d"))


class RegistrationTests(SystemCase):
    options: ClassVar[Mapping[str, Any]] = {
        "rc_registration": {"per_second": 1e-6, "burst_count": 1},
        "regsys": {"rc_registration_total": {"per_hour": 2}, "rc_availability": False},
    }

    def answer(self, name: str, number: int) -> Answer:
        body = {"username": name, "password": PASSWORD, "auth": DUMMY}
        return self.client.post(f"{V3}/register", body, X_Forwarded_For=f"192.0.2.{number}")

    def test_refused(self) -> None:
        """Over the cap nobody registers until some time has passed, whatever the address; what
        made no account doesn't count, nor what an administrator makes."""
        self.assertEqual(self.answer("alice", 1).status, 200)
        self.assertRefused(self.answer("alice", 2), 400, "M_USER_IN_USE")
        self.assertEqual(self.answer("bob", 3).status, 200)
        refused = self.answer("eve", 4)
        self.assertRefused(refused, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(refused.json["retry_after_ms"], HOUR_S * 1000 // 2)
        self.wait(self.subsystem.handler.register_user(localpart="root", by_admin=True))
        text = self.subsystem.process.metrics.registry.get_sample_value(
            "regsys_registration_caps_total", {"period": "hour", "state": "reached"}
        )
        self.assertEqual(text, 1)
        self.clock.advance(HOUR_S / 2)
        self.assertEqual(self.answer("eve", 4).status, 200)


class OptionTests(ConfigCase):
    def test_options(self) -> None:
        """Either may be left out; none is a cap of nothing."""
        limits = self.parse({"regsys": {"rc_registration_total": {"per_day": 500}}}).limits
        self.assertEqual((limits.registrations_per_hour, limits.registrations_per_day), (None, 500))
        self.assertIsNone(self.parse({}).limits.registrations_per_day)
        wrong = {"regsys": {"rc_registration_total": {"per_hour": 0}}}
        self.assertProblem(wrong, "regsys.rc_registration_total.per_hour", "a whole number from 1")
