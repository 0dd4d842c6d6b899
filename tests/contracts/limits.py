"""The contracts of limits: ILimiter, what is counted for which key, and for how long; and
IBucketStore, where several processes count."""

from __future__ import annotations

from typing import Awaitable

from zope.interface import implementer

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import IBucketStore, ILimiter, ILocalLimiter
from regsys.limits.shared import BucketsOf, SharedLimiter
from regsys.model.buckets import Bucket
from regsys.model.networks import address_key
from regsys.testing.contracts.case import Contract, together
from regsys.testing.provides import provides

# Slow enough for a clock that runs during a test.
PER_SECOND = 0.005
BURST_COUNT = 3
KEY = "192.0.2.1"


class LimiterContract(Contract):
    """An ILimiter, with a clock that its tests move."""

    def make(self) -> ILimiter:
        """One that lets BURST_COUNT through at once, then PER_SECOND a second."""
        raise NotImplementedError()

    async def advance(self, seconds: float) -> None:
        """Advance its clock, which may also run by itself."""
        raise NotImplementedError()

    async def full(self) -> ILimiter:
        """One without any room for KEY."""
        limiter = self.make()
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)
        return limiter

    async def wait_ms(self, asked: Awaitable[None]) -> int:
        """The ``retry_after_ms`` of a refusal."""
        refusal = await self.refusal(LimitExceeded, asked)
        assert refusal.retry_after_ms is not None
        return refusal.retry_after_ms

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(ILimiter, self.make())

    async def test_full(self) -> None:
        """The burst passes; one more is refused, with the time to wait."""
        limiter = await self.full()
        refusal = await self.refusal(LimitExceeded, limiter.take(KEY))
        assert refusal.retry_after_ms is not None
        await self.advance(refusal.retry_after_ms / 1000)
        await limiter.take(KEY)
        await self.refusal(LimitExceeded, limiter.take(KEY))

    async def test_refusedIsNotCounted(self) -> None:
        """A refusal is not counted: the time to wait does not grow."""
        limiter = await self.full()
        waits = [await self.wait_ms(limiter.take(KEY)) for _ in range(5)]
        self.assertEqual(max(waits), waits[0])
        self.assertLessEqual(waits[0], 1000 / PER_SECOND)

    async def test_peek(self) -> None:
        """``peek`` refuses when ``take`` would, and counts nothing."""
        limiter = self.make()
        for _ in range(2 * BURST_COUNT):
            await limiter.peek(KEY)
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)
        earlier_ms, looked_ms, later_ms = [
            await self.wait_ms(asked(KEY)) for asked in (limiter.take, limiter.peek, limiter.take)
        ]
        self.assertTrue(earlier_ms >= looked_ms >= later_ms, (earlier_ms, looked_ms, later_ms))

    async def test_givenBack(self) -> None:
        """``give_back`` makes room for one more, and only one."""
        limiter = await self.full()
        await limiter.give_back(KEY)
        await limiter.take(KEY)
        await self.refusal(LimitExceeded, limiter.take(KEY))

    async def test_givenBackUnasked(self) -> None:
        """``give_back`` for an unknown key changes nothing."""
        limiter = self.make()
        await limiter.give_back(KEY)
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)

    async def test_keysAreApart(self) -> None:
        """Each key has its own limit."""
        limiter = await self.full()
        await limiter.take("192.0.2.2")
        await self.refusal(LimitExceeded, limiter.take(KEY))


# One leaks in a hundred seconds.
INTERVAL_US = 100_000_000


@implementer(ILocalLimiter)
class NoLimit:
    """Takes the place of a process's own limit, where the store must answer."""

    async def peek(self, key: str) -> None:
        raise AssertionError("the store did not answer")

    take = peek

    async def give_back(self, key: str) -> None:
        """What a process has given back it has counted, whichever store is there."""

    def count(self, key: str) -> None:
        """Whatever the store has let through."""

    def holds(self, key: str) -> bool:
        return True


class SharedLimiterContract(LimiterContract):
    """A limiter over an IBucketStore, each test with keys of its own."""

    def store(self) -> IBucketStore:
        """One of the stores over the same server."""
        raise NotImplementedError()

    def secret(self) -> bytes:
        """What makes the keys of this test differ from those of others."""
        return self.id().encode()

    def make(self) -> ILimiter:
        return self.over(self.store())

    def over(self, store: IBucketStore, name: str = "test") -> SharedLimiter:
        buckets_of = BucketsOf(
            name=name,
            secret=self.secret(),
            per_second=PER_SECOND,
            burst_count=BURST_COUNT,
            has_sites=True,
        )
        return SharedLimiter(store=store, buckets_of=buckets_of, own=NoLimit())

    async def test_shared(self) -> None:
        """Two processes count together; two limits don't."""
        one, other = self.over(self.store()), self.over(self.store())
        await one.take(KEY)
        await other.take(KEY)
        await one.take(KEY)
        await self.refusal(LimitExceeded, other.take(KEY))
        await other.give_back(KEY)
        await one.peek(KEY)
        await self.over(self.store(), "other").take(KEY)

    async def test_site(self) -> None:
        """Of the networks of a /48 eight bursts pass together. What the site's bucket refuses
        does not count for the network."""
        limiter = self.over(self.store())
        keys = [address_key(f"2001:db8:7:{number:x}::1") for number in range(9)]
        for key in keys[:8]:
            for _ in range(BURST_COUNT):
                await limiter.take(key)
        for _ in range(2 * BURST_COUNT):
            await self.refusal(LimitExceeded, limiter.take(keys[8]))
        await self.refusal(LimitExceeded, limiter.peek(keys[8]))
        for key in keys[:BURST_COUNT]:
            await limiter.give_back(key)
        for _ in range(BURST_COUNT):
            await limiter.take(keys[8])
        await self.refusal(LimitExceeded, limiter.peek(keys[0]))


class BucketStoreContract(Contract):
    """An IBucketStore, with a clock that its tests move."""

    def make(self) -> IBucketStore:
        """One of the stores over the same server."""
        raise NotImplementedError()

    async def advance(self, seconds: float) -> None:
        """Advance its clock, or set it back."""
        raise NotImplementedError()

    async def kept(self) -> int:
        """How many buckets of this test it keeps."""
        raise NotImplementedError()

    def bucket(self, name: str = "a", burst_count: int = 2) -> Bucket:
        return Bucket(f"{self.id()} {name}", INTERVAL_US, burst_count)

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IBucketStore, self.make())

    async def test_waits(self) -> None:
        """A full bucket answers how long it takes until there is room, to the microsecond."""
        store, bucket = self.make(), self.bucket()
        self.assertEqual([await store.take([bucket]) for _ in range(2)], [0, 0])
        wait_us = await store.take([bucket])
        self.assertTrue(INTERVAL_US / 2 < wait_us <= INTERVAL_US, wait_us)
        await self.advance((wait_us - INTERVAL_US // 2) / 1_000_000)
        looked_us = await store.peek([bucket])
        self.assertTrue(0 < looked_us <= INTERVAL_US / 2, looked_us)
        await self.advance(looked_us / 1_000_000)
        self.assertEqual((await store.peek([bucket]), await store.take([bucket])), (0, 0))
        self.assertGreater(await store.take([bucket]), 0)

    async def test_together(self) -> None:
        """Several buckets count together or not at all, whichever of them is full."""
        store = self.make()
        full, larger = self.bucket("full"), self.bucket("larger", 4)
        await store.take([full, larger])
        await store.take([larger, full])
        for _ in range(3):
            self.assertGreater(await store.take([full, larger]), 0)
            self.assertGreater(await store.take([larger, full]), 0)
            self.assertGreater(await store.peek([larger, full]), 0)
        self.assertEqual([await store.take([larger]) for _ in range(2)], [0, 0])
        self.assertGreater(await store.take([larger]), 0)

    async def test_givenBack(self) -> None:
        """What is given back is there again, in each bucket; an empty one stays empty."""
        store, one, other = self.make(), self.bucket("one"), self.bucket("other")
        for _ in range(3):
            await store.give_back([one, other])
        for _ in range(2):
            await store.take([one, other])
        await store.give_back([one, other])
        self.assertEqual((await store.take([one]), await store.take([other])), (0, 0))
        self.assertGreater(await store.take([one]), 0)
        self.assertGreater(await store.take([other]), 0)

    async def test_idle(self) -> None:
        """A bucket that has been empty for long has room for one burst, no more."""
        store, bucket = self.make(), self.bucket()
        await store.take([bucket])
        await self.advance(10 * INTERVAL_US / 1_000_000)
        self.assertEqual([await store.take([bucket]) for _ in range(2)], [0, 0])
        self.assertGreater(await store.take([bucket]), 0)

    async def test_race(self) -> None:
        """Of many at once over several connections exactly a burst passes, also where nothing was
        counted before."""
        stores = [self.make() for _ in range(3)]
        bucket = self.bucket(burst_count=7)
        answers = await together(stores[number % 3].take([bucket]) for number in range(60))
        self.assertEqual(answers.count(0), 7, answers)
        waits_us = [answer for answer in answers if isinstance(answer, int) and answer]
        self.assertEqual(len(waits_us), 53, answers)
        # A statement that has waited for its row counts from when it began.
        self.assertLessEqual(max(waits_us), 1.1 * INTERVAL_US)

    async def test_setBack(self) -> None:
        """When the server's clock is set back by an hour, a full bucket is just full: nobody waits
        for the clock."""
        store, bucket = self.make(), self.bucket()
        for _ in range(2):
            await store.take([bucket])
        await self.advance(-3600)
        self.assertEqual((await store.peek([bucket]), await store.take([bucket])), (0, 0))
        wait_us = await store.take([bucket])
        self.assertTrue(0 < wait_us <= INTERVAL_US, wait_us)

    async def test_setBackALittle(self) -> None:
        """A clock that is set back by seconds lets nobody through."""
        store, bucket = self.make(), self.bucket()
        for _ in range(2):
            await store.take([bucket])
        await self.advance(-20)
        self.assertGreater(await store.peek([bucket]), INTERVAL_US)
        self.assertGreater(await store.take([bucket]), INTERVAL_US)

    async def test_smaller(self) -> None:
        """A limit that has become smaller finds its buckets full."""
        store = self.make()
        for _ in range(6):
            await store.take([self.bucket(burst_count=6)])
        smaller = self.bucket(burst_count=2)
        await store.take([smaller])
        self.assertGreater(await store.take([smaller]), 0)

    async def test_nothingKept(self) -> None:
        """Looking and giving back keep nothing."""
        store, bucket = self.make(), self.bucket()
        await store.peek([bucket])
        await store.give_back([bucket])
        self.assertEqual(await self.kept(), 0)
        await store.take([bucket])
        self.assertEqual(await self.kept(), 1)
