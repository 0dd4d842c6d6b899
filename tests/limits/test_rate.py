"""Rate limits (contract B16.10): buckets, and the limit of an address."""

from __future__ import annotations

from typing import Any, Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import ILimiter, ILocalLimiter
from regsys.limits import rate
from regsys.limits.rate import (
    NEVER_MS,
    AddressBuckets,
    LeakyBuckets,
)
from regsys.model.networks import address_key
from regsys.testing import provides


def subnets(count: int, prefix: str = "2001:db8:7") -> list[str]:
    """The keys of this many /64s of one /48."""
    return [address_key(f"{prefix}:{number:x}::1") for number in range(count)]


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
        self.patch(rate, "MOST_KEYS", 10)
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
