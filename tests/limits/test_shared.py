"""Limits over several processes whose store answers, is away, and is back."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.errors import LimitExceeded, Unavailable
from regsys.interfaces.internal import IBucketStore, ILimiter
from regsys.limits.rate import LeakyBuckets
from regsys.limits.shared import RETRY_S, BucketsOf, CircuitBreaker, SharedLimiter
from regsys.model.buckets import Bucket
from regsys.model.networks import address_key
from regsys.testing.provides import provides


@implementer(IBucketStore)
class Store:
    """Answers ``wait_us``, raises ``error``, or answers ``held`` when that is fired."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Sequence[Bucket]]] = []
        self.wait_us = 0
        self.error: Optional[Exception] = None
        self.held: Optional[Deferred[int]] = None

    async def peek(self, buckets: Sequence[Bucket]) -> int:
        return await self.answer("peek", buckets)

    async def take(self, buckets: Sequence[Bucket]) -> int:
        return await self.answer("take", buckets)

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        await self.answer("give_back", buckets)

    def close(self) -> None:
        self.asked.append(("close", ()))

    async def answer(self, name: str, buckets: Sequence[Bucket]) -> int:
        self.asked.append((name, buckets))
        if self.held is not None:
            return await self.held
        if self.error is not None:
            raise self.error
        return self.wait_us


class SharedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store()
        self.reports: list[bool] = []
        self.breaker = CircuitBreaker(
            store=self.store,
            name="the store",
            seconds=self.clock.seconds,
            report=self.reports.append,
        )
        self.limiter = SharedLimiter(
            store=self.breaker,
            buckets_of=BucketsOf(name="test", secret=b"secret", per_second=0.1, burst_count=2),
            own=LeakyBuckets(per_second=0.1, burst_count=2, seconds=self.clock.seconds),
        )

    def away(self) -> Unavailable:
        error = Unavailable()
        error.__cause__ = OSError("it is away")
        return error

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def refused(self, coroutine: Any) -> Optional[int]:
        error: Any = self.failureResultOf(Deferred.fromCoroutine(coroutine), LimitExceeded).value
        return error.retry_after_ms  # type: ignore[no-any-return]

    def passing(self, count: int) -> int:
        """How many of so many ``take``s pass."""
        passed = 0
        for _ in range(count):
            taking = Deferred.fromCoroutine(self.limiter.take("a"))
            if not isinstance(taking.result, Failure):
                passed += 1
            else:
                self.failureResultOf(taking, LimitExceeded)
        return passed


class LimiterTests(SharedCase):
    def test_store(self) -> None:
        """The store decides: what it answers is the time to wait, rounded up."""
        provides(ILimiter, self.limiter)
        provides(IBucketStore, self.breaker)
        self.wait(self.limiter.take("a"))
        self.wait(self.limiter.peek("a"))
        self.wait(self.limiter.give_back("a"))
        self.assertEqual([name for name, _ in self.store.asked], ["take", "peek", "give_back"])
        self.wait(self.limiter.take("a"))
        self.store.wait_us = 1_000_001
        self.assertEqual(self.refused(self.limiter.peek("a")), 1001)
        self.assertEqual(self.refused(self.limiter.take("a")), 1001)

    def test_peek(self) -> None:
        """The store is looked at for what this process has counted, or has been refused for, until
        that has leaked; for others ``take`` decides, which asks in any case."""
        for wait_us in (0, 1_000_000):
            self.store.wait_us = 1_000_000
            self.wait(self.limiter.peek("a"))
            self.assertEqual(self.store.asked, [])
            self.store.wait_us = wait_us
            taking = Deferred.fromCoroutine(self.limiter.take("a"))
            taking.addErrback(lambda failure: failure.trap(LimitExceeded))
            self.store.wait_us = 1_000_000
            self.refused(self.limiter.peek("a"))
            self.wait(self.limiter.peek("b"))
            self.assertEqual([name for name, _ in self.store.asked], ["take", "peek"])
            self.store.asked.clear()
            self.clock.advance(10)

    def test_refusedElsewhere(self) -> None:
        """What the store has refused, because others have filled the bucket, passes no more easily
        once the store is away."""
        self.store.wait_us = 1_000_000
        self.assertEqual(self.passing(5), 0)
        self.store.error = self.away()
        with capturedLogs():
            self.assertEqual(self.passing(5), 0)
            self.clock.advance(10)
            self.assertEqual(self.passing(5), 1)

    def test_share(self) -> None:
        """When the store goes, this process's limit knows what it has let through before, and what
        was given back."""
        self.assertEqual(self.passing(2), 2)
        self.wait(self.limiter.give_back("a"))
        self.store.error = self.away()
        with capturedLogs():
            self.assertEqual(self.passing(100), 1)

    def test_more(self) -> None:
        """More than a burst, which a store lets through that has lost its buckets, is a full
        bucket here."""
        self.assertEqual(self.passing(10), 10)
        self.store.error = self.away()
        with capturedLogs():
            self.assertEqual(self.refused(self.limiter.take("a")), 10_000)

    def test_away(self) -> None:
        """While the store is away, this process's own limit decides, and keeps a flood out."""
        self.store.error = self.away()
        with capturedLogs():
            self.assertEqual(self.passing(100), 2)
        self.assertEqual(self.refused(self.limiter.peek("a")), 10_000)
        self.wait(self.limiter.give_back("a"))
        self.assertEqual(self.passing(100), 1)

    def test_keys(self) -> None:
        """A bucket's key is the same in each process of the server, differs from limit to limit
        and from server to server, and hides what it is of."""
        made = [
            BucketsOf(name=name, secret=secret, per_second=1, burst_count=1)(key)[0].key
            for name, secret, key in (
                ("one", b"secret", "192.0.2.1"),
                ("two", b"secret", "192.0.2.1"),
                ("one", b"other", "192.0.2.1"),
                ("one", b"secret", "192.0.2.2"),
            )
        ]
        again = BucketsOf(name="one", secret=b"secret", per_second=9, burst_count=9)("192.0.2.1")
        self.assertEqual(len(set(made)), 4)
        self.assertEqual(again[0].key, made[0])
        for key in made:
            self.assertRegex(key, "^[0-9a-f]{32}$")

    def test_buckets(self) -> None:
        """An IPv6 address counts for its network, and for its site eight times as much."""
        buckets_of = BucketsOf(
            name="test", secret=b"secret", per_second=0.17, burst_count=3, has_sites=True
        )
        own, site = buckets_of(address_key("2001:db8:7:1::1"))
        self.assertEqual((own.interval_us, own.burst_count), (5_882_353, 3))
        self.assertEqual((site.interval_us, site.burst_count), (735_294, 24))
        self.assertEqual(buckets_of(address_key("2001:db8:7:2::1"))[1].key, site.key)
        self.assertEqual(len(buckets_of("192.0.2.1")), 1)

    def test_extremes(self) -> None:
        """The numbers of any configurable limit are exact in Redis."""
        for per_second, burst_count in ((1e-6, 1), (1e-6, 10**9), (1e6, 10**9), (1e6, 1)):
            (bucket,) = BucketsOf(
                name="test", secret=b"", per_second=per_second, burst_count=burst_count
            )("a")
            self.assertGreaterEqual(bucket.interval_us, 1)
            self.assertLess(2 * bucket.full_us + 4 * 10**15, 2**53)


class BreakerTests(SharedCase):
    def test_oneLine(self) -> None:
        """The log has one line when the store goes, with the reason, and one when it is back."""
        self.store.error = self.away()
        with capturedLogs() as events:
            for _ in range(50):
                self.passing(3)
                self.clock.advance(1)
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertIn("the store does not answer", formatEvent(event))
        self.assertIn("(it is away)", formatEvent(event))
        self.store.error = None
        with capturedLogs() as events:
            for _ in range(50):
                self.passing(3)
                self.clock.advance(1)
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.info)
        self.assertIn("the store answers again", formatEvent(event))
        self.assertEqual(self.reports, [False, True])

    def test_asksAgain(self) -> None:
        """A store that is away is asked once in RETRY_S; when it answers, it decides again."""
        self.store.error = self.away()
        with capturedLogs():
            self.passing(10)
            self.assertEqual(len(self.store.asked), 1)
            self.clock.advance(RETRY_S - 0.1)
            self.passing(10)
            self.assertEqual(len(self.store.asked), 1)
            self.clock.advance(0.1)
            self.passing(10)
            self.assertEqual(len(self.store.asked), 2)
            self.store.error = None
            self.clock.advance(RETRY_S)
            self.assertEqual(self.passing(10), 10)
        self.assertEqual(len(self.store.asked), 12)

    def test_oneProbe(self) -> None:
        """While one request asks again, the others don't wait for its answer."""
        self.store.error = self.away()
        with capturedLogs():
            self.passing(1)
            self.clock.advance(RETRY_S)
            self.store.held = Deferred()
            probe = Deferred.fromCoroutine(self.limiter.take("b"))
            self.assertNoResult(probe)
            self.wait(self.limiter.take("b"))
            self.store.held.callback(0)
            self.successResultOf(probe)
            self.store.held = None
            self.store.error = None
            self.wait(self.limiter.take("b"))
        self.assertEqual(len(self.store.asked), 3)

    def test_lateAnswer(self) -> None:
        """An answer to what was asked before the store went does not bring it back."""
        self.store.held = Deferred()
        early = Deferred.fromCoroutine(self.limiter.take("a"))
        held, self.store.held = self.store.held, None
        self.store.error = self.away()
        with capturedLogs():
            self.wait(self.limiter.take("b"))
            held.callback(0)
            self.successResultOf(early)
            self.wait(self.limiter.take("c"))
        self.assertEqual((len(self.store.asked), self.reports), (2, [False]))

    def test_bug(self) -> None:
        """A store that raises anything else fails no request either; the log says what."""
        self.store.error = KeyError("a bug")
        with capturedLogs() as events:
            self.wait(self.limiter.take("a"))
        self.assertIn("a bug", formatEvent(events[0]))

    def test_clientLeft(self) -> None:
        """A request that is cancelled says nothing about the store."""
        self.store.held = Deferred()
        taking = Deferred.fromCoroutine(self.limiter.take("a"))
        taking.cancel()
        self.failureResultOf(taking, CancelledError)
        self.store.held = None
        self.wait(self.limiter.take("a"))
        self.assertEqual((len(self.store.asked), self.reports), (2, []))

    def test_close(self) -> None:
        """It is closed with what it asks."""
        self.breaker.close()
        self.assertEqual(self.store.asked, [("close", ())])
