"""Limits (contract B16.9-10): buckets, concurrency, and the limit of an address."""

from __future__ import annotations

from typing import Any, Awaitable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from regsys import rate_limit
from regsys.errors import LimitExceeded
from regsys.interfaces.internal import IConcurrencyLimiter, ILimiter, ILocalLimiter
from regsys.model.networks import address_key
from regsys.rate_limit import (
    NEVER_MS,
    AddressBuckets,
    LeakyBuckets,
    NoConcurrencyLimit,
    OneAtATime,
    OneAtATimeByAddress,
    RateAsConcurrencyLimit,
)
from regsys.testing import provides


class LimitCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def buckets(self, per_second: float, burst_count: int) -> LeakyBuckets:
        return LeakyBuckets(
            per_second=per_second, burst_count=burst_count, seconds=self.clock.seconds
        )

    def wait(self, answer: Awaitable[None]) -> Deferred[None]:
        async def waiting() -> None:
            await answer

        return Deferred.fromCoroutine(waiting())

    def passes(self, answer: Awaitable[None]) -> None:
        self.successResultOf(self.wait(answer))

    def refused(self, answer: Awaitable[None]) -> int:
        """The hint of the LimitExceeded that ``answer`` ends in."""
        refusal: Any = self.failureResultOf(self.wait(answer), LimitExceeded).value
        hint_ms = refusal.retry_after_ms
        self.assertIsInstance(hint_ms, int)
        return int(hint_ms)

    def count_passing(self, limiter: Any, key: str, tries: int) -> int:
        outcomes = [self.wait(limiter.take(key)) for _ in range(tries)]
        refused = [outcome for outcome in outcomes if isinstance(outcome.result, Failure)]
        for outcome in refused:
            self.failureResultOf(outcome, LimitExceeded)
        return tries - len(refused)


class BucketsTests(LimitCase):
    def test_burstThenRate(self) -> None:
        """The burst passes at once, then as many as the rate allows, never more than the burst."""
        limit = self.buckets(0.17, 3)
        provides(ILimiter, limit)
        self.assertEqual(self.count_passing(limit, "a", 10), 3)
        self.clock.advance(1 / 0.17)
        self.assertEqual(self.count_passing(limit, "a", 10), 1)
        self.clock.advance(2 / 0.17)
        self.assertEqual(self.count_passing(limit, "a", 10), 2)
        self.clock.advance(1_000_000)
        self.assertEqual(self.count_passing(limit, "a", 10), 3)

    def test_keysAreApart(self) -> None:
        """Use of one key does not affect another."""
        limit = self.buckets(0.17, 3)
        self.count_passing(limit, "a", 10)
        self.assertEqual(self.count_passing(limit, "b", 10), 3)

    def test_hintIsExact(self) -> None:
        """A request after the hinted time passes, one that comes two milliseconds earlier does
        not."""
        for per_second, burst_count in [(0.17, 3), (0.003, 5), (1, 1), (7.3, 20)]:
            limit = self.buckets(per_second, burst_count)
            self.clock.advance(0.7)
            self.count_passing(limit, "a", burst_count)
            for _ in range(20):
                hint_ms = self.refused(limit.take("a"))
                self.clock.advance((hint_ms - 2) / 1000)
                self.refused(limit.take("a"))
                self.clock.advance(2 / 1000)
                self.passes(limit.take("a"))

    def test_roundingRefusesNobody(self) -> None:
        """A request passes when the limit's time is over, at whatever time that is."""
        limit = self.buckets(10, 1)
        self.clock.advance(10_000_000)
        for _ in range(100):
            self.passes(limit.take("a"))
            self.clock.advance(0.1)

    def test_refusedTriesCountNothing(self) -> None:
        """A refused try does not put off the time of the next success."""
        limit = self.buckets(1, 1)
        self.passes(limit.take("a"))
        self.clock.advance(0.5)
        self.assertEqual(self.refused(limit.take("a")), 500)
        self.clock.advance(0.25)
        self.assertEqual(self.refused(limit.take("a")), 250)

    def test_peekCountsNothing(self) -> None:
        """A peek is refused exactly when a take would be, and uses up nothing."""
        limit = self.buckets(1, 2)
        for _ in range(5):
            self.passes(limit.peek("a"))
        self.assertEqual(self.count_passing(limit, "a", 5), 2)
        self.assertEqual(self.refused(limit.peek("a")), 1000)

    def test_givenBackIsThereAgain(self) -> None:
        """What was taken and given back can be taken once more."""
        limit = self.buckets(0.17, 3)
        self.count_passing(limit, "a", 3)
        self.passes(limit.give_back("a"))
        self.assertEqual(self.count_passing(limit, "a", 3), 1)

    def test_givingBackTooMuchGainsNothing(self) -> None:
        """Giving back more than was taken does not exceed the burst."""
        limit = self.buckets(0.17, 3)
        self.passes(limit.give_back("a"))
        self.passes(limit.take("a"))
        for _ in range(5):
            self.passes(limit.give_back("a"))
        self.assertEqual(self.count_passing(limit, "a", 10), 3)

    def test_zeroRateLetsTheBurstThrough(self) -> None:
        """With ``per_second`` 0 nothing passes after the burst, and the hint is a day."""
        limit = self.buckets(0, 2)
        self.assertEqual(self.count_passing(limit, "a", 5), 2)
        self.clock.advance(1_000_000)
        self.assertEqual(self.refused(limit.take("a")), NEVER_MS)

    def test_zeroBurstLetsNothingThrough(self) -> None:
        """With ``burst_count`` 0 nothing passes, at any rate."""
        limit = self.buckets(5, 0)
        self.assertEqual(self.refused(limit.take("a")), NEVER_MS)
        self.clock.advance(1_000_000)
        self.assertEqual(self.refused(limit.peek("a")), NEVER_MS)

    def test_idleKeysAreForgotten(self) -> None:
        """Keys whose bucket has run out are removed as others come: two for each."""
        limit = self.buckets(1, 3)
        for number in range(1000):
            self.passes(limit.take(f"old {number}"))
        self.clock.advance(1)
        for number in range(501):
            self.passes(limit.take(f"new {number}"))
        self.assertEqual(len(limit._buckets), 501)

    def test_usedKeysAreKept(self) -> None:
        """Keys that have not run out are kept, and do not keep idle ones behind them."""
        limit = self.buckets(1, 3)
        for number in range(1000):
            self.count_passing(limit, "a", 3)
            self.count_passing(limit, "b", 3)
            self.passes(limit.take(str(number)))
            self.clock.advance(1)
        self.assertEqual(self.count_passing(limit, "a", 3), 1)
        self.assertLess(len(limit._buckets), 10)

    def test_memoryIsBounded(self) -> None:
        """A flood of keys that never run out removes the oldest of them."""
        self.patch(rate_limit, "MOST_KEYS", 10)
        limit = self.buckets(0, 1)
        for number in range(1000):
            self.passes(limit.take(str(number)))
        self.assertEqual(len(limit._buckets), 10)
        self.refused(limit.take("999"))


class CountedElsewhereTests(LimitCase):
    """Requests that another limit has let through."""

    def test_counted(self) -> None:
        """They fill a bucket, and overfill none."""
        limit = self.buckets(1, 2)
        provides(ILocalLimiter, limit)
        self.assertFalse(limit.holds("a"))
        limit.count("a")
        self.assertTrue(limit.holds("a"))
        self.assertFalse(limit.holds("b"))
        self.passes(limit.take("a"))
        for _ in range(5):
            limit.count("a")
        self.assertEqual(self.refused(limit.take("a")), 1000)
        self.clock.advance(2)
        self.assertFalse(limit.holds("a"))

    def test_sites(self) -> None:
        """They count for an address and for its site."""
        limit = AddressBuckets(self.buckets(0.5, 3), self.buckets(4, 24))
        provides(ILocalLimiter, limit)
        first, second = subnets(2)
        limit.count(first)
        self.assertTrue(limit.holds(second))
        self.assertFalse(limit.own.holds(second))
        self.assertFalse(limit.holds("192.0.2.7"))
        self.assertEqual(self.count_passing(limit, first, 9), 2)


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


def subnets(count: int, prefix: str = "2001:db8:7") -> list[str]:
    """The keys of this many /64s of one /48."""
    return [address_key(f"{prefix}:{number:x}::1") for number in range(count)]


class AddressBucketsTests(LimitCase):
    """Limits for addresses (threat A29)."""

    def setUp(self) -> None:
        super().setUp()
        self.limit = AddressBuckets(self.buckets(0.5, 3), self.buckets(4, 24))
        provides(ILimiter, self.limit)

    def test_oneSite(self) -> None:
        """600 networks of one site together get what eight networks get, the rate included."""
        keys = subnets(600)
        self.assertEqual(sum(self.count_passing(self.limit, key, 3) for key in keys), 24)
        self.clock.advance(1)
        self.assertEqual(sum(self.count_passing(self.limit, key, 3) for key in keys), 4)
        other = subnets(1, "2001:db8:8")[0]
        self.assertEqual(self.count_passing(self.limit, other, 9), 3)

    def test_oneNetwork(self) -> None:
        """One network alone does not use up its site's limit, nor does what it is refused."""
        first, *others = subnets(8)
        self.assertEqual(self.count_passing(self.limit, first, 100), 3)
        self.assertEqual([self.count_passing(self.limit, key, 9) for key in others], [3] * 7)

    def test_refusedBySite(self) -> None:
        """What the site's limit refuses does not count against the network's own."""
        *full, last = subnets(9)
        for key in full:
            self.count_passing(self.limit, key, 3)
        self.assertEqual(self.refused(self.limit.peek(last)), 250)
        self.assertEqual(self.count_passing(self.limit, last, 3), 0)
        self.passes(self.limit.own.peek(last))
        self.clock.advance(1)
        self.assertEqual(self.count_passing(self.limit, last, 9), 3)

    def test_givenBack(self) -> None:
        """What is given back is there again for both; a peek uses up nothing of either."""
        keys = subnets(24)
        for key in keys:
            self.passes(self.limit.peek(key))
            self.passes(self.limit.take(key))
        self.refused(self.limit.peek(keys[0]))
        self.passes(self.limit.give_back(keys[0]))
        self.passes(self.limit.peek(keys[1]))
        self.assertEqual(self.count_passing(self.limit, keys[0], 3), 1)

    def test_words(self) -> None:
        """A prefix before the address keeps sites apart as well."""
        for kind in ("email", "msisdn"):
            keys = [f"{kind} {key}" for key in subnets(30)]
            self.assertEqual(sum(self.count_passing(self.limit, key, 1) for key in keys), 24)

    def test_noSites(self) -> None:
        """IPv4, sockets and names belong to no site."""
        for key in ("192.0.2.7", "unix", "email 192.0.2.8"):
            self.assertEqual(self.count_passing(self.limit, key, 9), 3)


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
