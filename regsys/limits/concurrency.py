"""Concurrency limits: how many requests of a key run at a time (contract B16.9)."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice

import attr
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import IConcurrencyLimiter, ILimiter
from regsys.model.networks import WHOLE_SITE, site_key

# A request within this time of the one before must pause first.
WINDOW_S = 2.0
PAUSE_S = 1.0
# How many requests may wait for each place.
WAITING = 2


@attr.define(eq=False)
class _Gate:
    """``entered_s``: when the latest requests came, as many as there are places."""

    entered_s: deque[float]
    turn: DeferredSemaphore
    waiting: int = 0

    def is_crowded(self, now_s: float) -> bool:
        """Whether all places were taken within the window."""
        full = len(self.entered_s) == self.entered_s.maxlen
        return full and _is_recent(self.entered_s[0], now_s)


def _is_recent(then_s: float, now_s: float) -> bool:
    # A time in the future is from before the clock was set back.
    return 0 <= now_s - then_s < WINDOW_S


@implementer(IConcurrencyLimiter)
@attr.define(kw_only=True, eq=False)
class OneAtATime:
    """``places`` requests of a key at a time; twice as many more may wait (contract B16.9).

    A request within two seconds of the one that had its place before waits at least a second. A
    caller that stops waiting cancels the Deferred, which frees its place in the queue.
    """

    clock: IReactorTime
    places: int = 1
    # In the order of their last request.
    _gates: OrderedDict[str, _Gate] = attr.field(init=False, factory=OrderedDict)

    async def enter(self, key: str) -> None:
        now_s = self.clock.seconds()
        gate = self._gates.get(key) or self._new_gate(key)
        if gate.waiting >= WAITING * self.places:
            raise LimitExceeded(round(WINDOW_S * 1000))
        is_early = gate.is_crowded(now_s)
        gate.entered_s.append(now_s)
        gate.waiting += 1
        self._gates.move_to_end(key)
        self._prune(now_s)
        try:
            if is_early:
                await deferLater(self.clock, PAUSE_S)
            await gate.turn.acquire()
        finally:
            gate.waiting -= 1

    def leave(self, key: str) -> None:
        self._gates[key].turn.release()

    def _new_gate(self, key: str) -> _Gate:
        gate = _Gate(deque(maxlen=self.places), DeferredSemaphore(self.places))
        self._gates[key] = gate
        return gate

    def _prune(self, now_s: float) -> None:
        # As in ``rate.LeakyBuckets``; a gate in use goes to the end instead.
        for key, gate in list(islice(self._gates.items(), 2)):
            if gate.turn.tokens < self.places or gate.waiting:
                self._gates.move_to_end(key)
            elif not _is_recent(gate.entered_s[-1], now_s):
                del self._gates[key]


@implementer(IConcurrencyLimiter)
@attr.frozen
class OneAtATimeByAddress:
    """A concurrency limit for addresses: ``own`` for the keys of ``address_key``, and ``sites``, a
    larger one, for their /48s."""

    own: IConcurrencyLimiter
    sites: IConcurrencyLimiter

    @classmethod
    def on(cls, clock: IReactorTime) -> OneAtATimeByAddress:
        return cls(OneAtATime(clock=clock), OneAtATime(clock=clock, places=WHOLE_SITE))

    async def enter(self, key: str) -> None:
        await self.own.enter(key)
        site = site_key(key)
        if site is None:
            return
        try:
            await self.sites.enter(site)
        except BaseException:
            # LimitExceeded, or a caller that stops waiting.
            self.own.leave(key)
            raise

    def leave(self, key: str) -> None:
        site = site_key(key)
        if site is not None:
            self.sites.leave(site)
        self.own.leave(key)


@implementer(IConcurrencyLimiter)
class NoConcurrencyLimit:
    """No limit: no request waits."""

    async def enter(self, key: str) -> None:
        return

    def leave(self, key: str) -> None:
        return


@implementer(IConcurrencyLimiter)
@attr.frozen
class RateAsConcurrencyLimit:
    """A rate limit as a concurrency limit: no request waits."""

    limiter: ILimiter

    async def enter(self, key: str) -> None:
        await self.limiter.take(key)

    def leave(self, key: str) -> None:
        return
