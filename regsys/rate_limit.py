"""Rate limits and concurrency limits (contract B16.9-10).

A limit counts by key. The caller makes the key: ``networks.address_key`` of an address, a user's
name, or a combination.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from itertools import islice
from typing import Callable

import attr
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import IConcurrencyLimiter, ILimiter, ILocalLimiter
from regsys.model.networks import WHOLE_SITE, site_key

# retry_after_ms of a limit that never refills.
NEVER_MS = 24 * 60 * 60 * 1000
# The most keys in memory, in a flood of addresses; then the oldest are dropped.
MOST_KEYS = 100_000
# Rounding must not refuse a request that comes exactly after retry_after_ms.
ROUNDING = 1e-7
# A request within this time of the one before must pause first.
WINDOW_S = 2.0
PAUSE_S = 1.0
# How many requests may wait for each place of a concurrency limit.
WAITING = 2


# --- Rate limits -------------------------------------------------------------------------


@attr.frozen
class _Bucket:
    """``level`` requests were in it at ``at_s``; they leak at the limit's rate."""

    level: float
    at_s: float


@implementer(ILocalLimiter)
@attr.define(kw_only=True, eq=False)
class LeakyBuckets:
    """``burst_count`` requests at once, then ``per_second`` a second, for each key.

    ``seconds`` is a monotonic clock. With ``per_second`` 0 the burst is all; with ``burst_count`` 0
    every request is refused.
    """

    per_second: float
    burst_count: int
    seconds: Callable[[], float]
    # In the order of their last change: the empty ones are at the front.
    _buckets: OrderedDict[str, _Bucket] = attr.field(init=False, factory=OrderedDict)

    async def peek(self, key: str) -> None:
        self._level_after_one(key, self.seconds())

    async def take(self, key: str) -> None:
        now_s = self.seconds()
        self._fill(key, self._level_after_one(key, now_s), now_s)

    async def give_back(self, key: str) -> None:
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets[key] = attr.evolve(bucket, level=bucket.level - 1)

    def count(self, key: str) -> None:
        now_s = self.seconds()
        self._fill(key, min(self._level(key, now_s) + 1, self.burst_count), now_s)

    def holds(self, key: str) -> bool:
        return self._level(key, self.seconds()) > 0

    def _fill(self, key: str, level: float, now_s: float) -> None:
        self._buckets[key] = _Bucket(level, now_s)
        self._buckets.move_to_end(key)
        self._prune(now_s)

    def _level_after_one(self, key: str, now_s: float) -> float:
        """The level with one request more, or LimitExceeded."""
        level = 1 + self._level(key, now_s)
        too_much = level - self.burst_count
        if too_much <= ROUNDING:
            return min(level, self.burst_count)
        if not self.per_second or not self.burst_count:
            raise LimitExceeded(NEVER_MS)
        raise LimitExceeded(math.ceil(too_much / self.per_second * 1000))

    def _level(self, key: str, now_s: float) -> float:
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else self._leaked(bucket, now_s)

    def _leaked(self, bucket: _Bucket, now_s: float) -> float:
        return max(0.0, bucket.level - (now_s - bucket.at_s) * self.per_second)

    def _prune(self, now_s: float) -> None:
        # Two are checked for each key that is added, so that they become fewer again.
        for key, bucket in list(islice(self._buckets.items(), 2)):
            if not self._leaked(bucket, now_s) or len(self._buckets) > MOST_KEYS:
                del self._buckets[key]


@implementer(ILocalLimiter)
@attr.frozen
class AddressBuckets:
    """A limit for addresses: ``own`` for the keys of ``address_key``, and ``sites``, a larger one,
    for their /48s. A request that one of them refuses counts for neither.

    A key may have other words before the address."""

    own: ILocalLimiter
    sites: ILocalLimiter

    async def peek(self, key: str) -> None:
        await self.own.peek(key)
        site = site_key(key)
        if site is not None:
            await self.sites.peek(site)

    async def take(self, key: str) -> None:
        await self.own.take(key)
        site = site_key(key)
        if site is None:
            return
        try:
            await self.sites.take(site)
        except LimitExceeded:
            await self.own.give_back(key)
            raise

    async def give_back(self, key: str) -> None:
        await self.own.give_back(key)
        site = site_key(key)
        if site is not None:
            await self.sites.give_back(site)

    def count(self, key: str) -> None:
        self.own.count(key)
        site = site_key(key)
        if site is not None:
            self.sites.count(site)

    def holds(self, key: str) -> bool:
        site = site_key(key)
        return self.own.holds(key) or (site is not None and self.sites.holds(site))


# --- Concurrency limits ------------------------------------------------------------------


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
        # As in LeakyBuckets; a gate in use goes to the end instead.
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
