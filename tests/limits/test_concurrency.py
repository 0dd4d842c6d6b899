"""Concurrency limits (contract B16.9)."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import IConcurrencyLimiter
from regsys.limits.concurrency import (
    NoConcurrencyLimit,
    OneAtATime,
    OneAtATimeByAddress,
    RateAsConcurrencyLimit,
)
from regsys.testing import provides
from tests.limits.test_rate import LimitCase, subnets


class OneAtATimeTests(LimitCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate = OneAtATime(clock=self.clock)

    def enter(self, key: str = "a") -> Deferred[None]:
        return self.wait(self.gate.enter(key))

    def test_firstPassesAtOnce(self) -> None:
        """A request does not wait if it is alone, or two seconds after the one before."""
        provides(IConcurrencyLimiter, self.gate)
        for _ in range(5):
            self.successResultOf(self.enter())
            self.gate.leave("a")
            self.clock.advance(2)

    def test_secondWithinTwoSecondsWaitsASecond(self) -> None:
        """A request less than two seconds after the one before waits for one second."""
        self.successResultOf(self.enter())
        self.gate.leave("a")
        for _ in range(3):
            self.clock.advance(0.75)
            entering = self.enter()
            self.clock.advance(0.9375)
            self.assertNoResult(entering)
            self.clock.advance(0.0625)
            self.successResultOf(entering)
            self.gate.leave("a")

    def test_oneAtATime(self) -> None:
        """The second one enters when the first has left; another key's need not wait."""
        self.successResultOf(self.enter())
        entering = self.enter()
        self.successResultOf(self.enter("b"))
        self.clock.advance(10)
        self.assertNoResult(entering)
        self.gate.leave("a")
        self.successResultOf(entering)

    def test_slowRequestHoldsUpALaterOne(self) -> None:
        """While a request is under way one that comes much later waits for it too."""
        self.successResultOf(self.enter())
        self.clock.advance(10)
        entering = self.enter()
        self.assertNoResult(entering)
        self.gate.leave("a")
        self.successResultOf(entering)

    def test_twoMayWait(self) -> None:
        """Of four at once one is served and two wait a second; the fourth is refused, and may come
        in two seconds (contract B16.9)."""
        self.successResultOf(self.enter())
        self.gate.leave("a")
        second, third = self.enter(), self.enter()
        self.assertEqual(self.refused(self.gate.enter("a")), 2000)
        self.clock.advance(0.9375)
        self.assertNoResult(second)
        self.assertEqual(self.refused(self.gate.enter("a")), 2000)
        self.clock.advance(0.0625)
        self.successResultOf(second)
        self.assertNoResult(third)
        self.gate.leave("a")
        self.successResultOf(third)
        self.gate.leave("a")
        self.clock.advance(1)
        self.successResultOf(self.enter())

    def test_thoseWhoWaitForASlowOne(self) -> None:
        """Behind a slow request two wait too, and enter one after the other."""
        self.successResultOf(self.enter())
        self.clock.advance(10)
        second, third = self.enter(), self.enter()
        self.refused(self.gate.enter("a"))
        self.clock.advance(10)
        self.assertNoResult(second)
        self.gate.leave("a")
        self.successResultOf(second)
        self.assertNoResult(third)
        self.successResultOf(self.enter("b"))

    def test_whoeverGoesAwayWaitsNoMore(self) -> None:
        """A waiting request that is cancelled, in its second or after it, leaves its place to
        another."""
        self.successResultOf(self.enter())
        for waited_s in (0.5, 1.5):
            entering = self.enter()
            self.clock.advance(waited_s)
            entering.cancel()
            self.failureResultOf(entering, CancelledError)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        entering = self.enter()
        self.clock.advance(1)
        self.gate.leave("a")
        self.successResultOf(entering)

    def test_idleKeysAreForgotten(self) -> None:
        """Keys that have not been used for two seconds are removed as others come."""
        for number in range(1000):
            self.successResultOf(self.enter(f"old {number}"))
            self.gate.leave(f"old {number}")
        self.clock.advance(2)
        for number in range(501):
            self.successResultOf(self.enter(f"new {number}"))
        self.assertEqual(len(self.gate._gates), 501)

    def test_keysInUseAreKept(self) -> None:
        """A key whose request is still under way is kept, and does not keep idle ones."""
        for number in range(10):
            self.successResultOf(self.enter(f"slow {number}"))
        self.clock.advance(2)
        for number in range(100):
            self.successResultOf(self.enter(f"quick {number}"))
            self.gate.leave(f"quick {number}")
            self.clock.advance(2)
        self.assertLess(len(self.gate._gates), 25)
        self.assertNoResult(self.enter("slow 3"))
        self.gate.leave("slow 9")

    def test_clockSetBack(self) -> None:
        """When the clock is set back an hour, no request waits for it to catch up."""
        self.clock.advance(3600)
        self.successResultOf(self.enter())
        self.gate.leave("a")
        self.clock.rightNow = 0
        self.successResultOf(self.enter())


class SeveralAtATimeTests(LimitCase):
    """A limit that lets several through at a time."""

    def test_places(self) -> None:
        """As many as there are places enter at once, twice as many wait, and each that leaves lets
        one of them in."""
        gate = OneAtATime(clock=self.clock, places=3)
        entering = [self.wait(gate.enter("a")) for _ in range(9)]
        self.assertEqual(self.refused(gate.enter("a")), 2000)
        self.assertEqual([outcome.called for outcome in entering], [True] * 3 + [False] * 6)
        self.clock.advance(1)
        for inside in range(3, 9):
            self.assertNoResult(entering[inside])
            gate.leave("a")
            self.successResultOf(entering[inside])

    def test_pause(self) -> None:
        """Only a request within two seconds of the one so many places before waits a second."""
        gate = OneAtATime(clock=self.clock, places=3)
        for _ in range(9):
            self.successResultOf(self.wait(gate.enter("a")))
            gate.leave("a")
            self.clock.advance(0.75)
        self.clock.advance(-0.5)
        early = self.wait(gate.enter("a"))
        self.assertNoResult(early)
        self.clock.advance(1)
        self.successResultOf(early)


class OneAtATimeByAddressTests(LimitCase):
    def test_oneSite(self) -> None:
        """Of one site's networks eight are let in at a time, and sixteen wait."""
        gate = OneAtATimeByAddress.on(self.clock)
        provides(IConcurrencyLimiter, gate)
        keys = subnets(600)
        entering = [self.wait(gate.enter(key)) for key in keys]
        refused = [
            outcome for outcome in entering if isinstance(getattr(outcome, "result", None), Failure)
        ]
        for outcome in refused:
            self.failureResultOf(outcome, LimitExceeded)
        self.assertEqual(len(refused), 600 - 24)
        self.assertEqual([outcome.called for outcome in entering[:24]], [True] * 8 + [False] * 16)
        self.clock.advance(2)
        gate.leave(keys[0])
        self.successResultOf(entering[8])
        self.assertNoResult(self.wait(gate.enter(keys[599])))

    def test_ownTurn(self) -> None:
        """Each network has its own turn, and so has an IPv4 address."""
        gate = OneAtATimeByAddress.on(self.clock)
        for key in (subnets(1)[0], "192.0.2.7"):
            self.successResultOf(self.wait(gate.enter(key)))
            second = self.wait(gate.enter(key))
            self.clock.advance(1)
            self.assertNoResult(second)
            gate.leave(key)
            self.successResultOf(second)


class OtherLimitsTests(LimitCase):
    def test_noConcurrencyLimit(self) -> None:
        """No limit lets all in at once."""
        gate = NoConcurrencyLimit()
        provides(IConcurrencyLimiter, gate)
        for _ in range(10):
            self.passes(gate.enter("a"))
        gate.leave("a")

    def test_rateInstead(self) -> None:
        """A rate limit counts those that enter, whether or not they have left again."""
        gate = RateAsConcurrencyLimit(self.buckets(1, 2))
        provides(IConcurrencyLimiter, gate)
        self.passes(gate.enter("a"))
        self.passes(gate.enter("a"))
        gate.leave("a")
        self.assertEqual(self.refused(gate.enter("a")), 1000)
        self.passes(gate.enter("b"))
