"""The contract of ILimiter: what is counted, for whom, and when there is room again."""

from __future__ import annotations

from regsys.errors import LimitExceeded
from regsys.interfaces import ILimiter
from regsys.testing.contracts.case import Contract
from regsys.testing.provides import provides

PER_SECOND = 0.5
BURST_COUNT = 3
KEY = "192.0.2.1"


class LimiterContract(Contract):
    """An ILimiter, with a clock that its tests move."""

    def make(self) -> ILimiter:
        """One that lets BURST_COUNT through at once, then PER_SECOND a second."""
        raise NotImplementedError()

    def advance(self, seconds: float) -> None:
        """Move its clock."""
        raise NotImplementedError()

    async def full(self) -> ILimiter:
        """One without any room for KEY."""
        limiter = self.make()
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)
        return limiter

    def test_provides(self) -> None:
        """It has all methods, with the arguments that they will be called with."""
        provides(ILimiter, self.make())

    async def test_full(self) -> None:
        """The burst is let through; one more is refused, and told how long to wait."""
        limiter = await self.full()
        refusal = await self.refusal(LimitExceeded, limiter.take(KEY))
        assert refusal.retry_after_ms is not None
        self.advance(refusal.retry_after_ms / 1000)
        await limiter.take(KEY)
        await self.refusal(LimitExceeded, limiter.take(KEY))

    async def test_refusedIsNotCounted(self) -> None:
        """However often one is refused, the wait does not grow."""
        limiter = await self.full()
        waits = {
            (await self.refusal(LimitExceeded, limiter.take(KEY))).retry_after_ms for _ in range(5)
        }
        self.assertEqual(len(waits), 1, waits)

    async def test_peek(self) -> None:
        """Looking refuses when taking would, and counts nothing."""
        limiter = self.make()
        for _ in range(2 * BURST_COUNT):
            await limiter.peek(KEY)
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)
        looked = await self.refusal(LimitExceeded, limiter.peek(KEY))
        taken = await self.refusal(LimitExceeded, limiter.take(KEY))
        self.assertEqual(looked.retry_after_ms, taken.retry_after_ms)

    async def test_givenBack(self) -> None:
        """What is given back makes room for one more, and only one."""
        limiter = await self.full()
        await limiter.give_back(KEY)
        await limiter.take(KEY)
        await self.refusal(LimitExceeded, limiter.take(KEY))

    async def test_givenBackUnasked(self) -> None:
        """Giving back what was never taken, for an unknown key, is harmless."""
        limiter = self.make()
        await limiter.give_back(KEY)
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)

    async def test_keysAreApart(self) -> None:
        """What one uses up is not missing to another."""
        limiter = await self.full()
        await limiter.take("192.0.2.2")
        await self.refusal(LimitExceeded, limiter.take(KEY))
