"""Rate limits that this process counts by itself (contract B16.10)."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import islice
from typing import Callable

import attr
from zope.interface import implementer

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import ILocalLimiter
from regsys.model.networks import site_key

# retry_after_ms of a limit that never refills.
NEVER_MS = 24 * 60 * 60 * 1000
# The most keys in memory, in a flood of addresses; then the oldest are dropped.
MOST_KEYS = 100_000
# Rounding must not refuse a request that comes exactly after retry_after_ms.
ROUNDING = 1e-7


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
