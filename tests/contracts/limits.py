"""The contract of ILimiter: what is counted for which key, and for how long."""

from __future__ import annotations

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import ILimiter
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
        """Advance its clock."""
        raise NotImplementedError()

    async def full(self) -> ILimiter:
        """One without any room for KEY."""
        limiter = self.make()
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)
        return limiter

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(ILimiter, self.make())

    async def test_full(self) -> None:
        """The burst passes; one more is refused, with the time to wait."""
        limiter = await self.full()
        refusal = await self.refusal(LimitExceeded, limiter.take(KEY))
        assert refusal.retry_after_ms is not None
        self.advance(refusal.retry_after_ms / 1000)
        await limiter.take(KEY)
        await self.refusal(LimitExceeded, limiter.take(KEY))

    async def test_refusedIsNotCounted(self) -> None:
        """A refusal is not counted: the time to wait does not grow."""
        limiter = await self.full()
        waits = {
            (await self.refusal(LimitExceeded, limiter.take(KEY))).retry_after_ms for _ in range(5)
        }
        self.assertEqual(len(waits), 1, waits)

    async def test_peek(self) -> None:
        """``peek`` refuses when ``take`` would, and counts nothing."""
        limiter = self.make()
        for _ in range(2 * BURST_COUNT):
            await limiter.peek(KEY)
        for _ in range(BURST_COUNT):
            await limiter.take(KEY)
        looked = await self.refusal(LimitExceeded, limiter.peek(KEY))
        taken = await self.refusal(LimitExceeded, limiter.take(KEY))
        self.assertEqual(looked.retry_after_ms, taken.retry_after_ms)

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
