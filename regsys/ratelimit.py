"""Limits: how often, and how many at a time (BEHAVIOUR B16.9-10).

A limit is kept for a key. Whoever asks makes the key: ``address_key`` of an address, a
user's name, or several things in one.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from itertools import islice
from typing import Callable

import attr
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from regsys.errors import LimitExceeded
from regsys.interfaces import ILimiter, ITurnstile

# The hint for those whom no wait would help, because the limit never refills.
NEVER_MS = 24 * 60 * 60 * 1000
# A flood of addresses may cost this many entries of memory; then the oldest are forgotten.
MOST_KEYS = 100_000
# Rounding must not refuse a request that comes exactly when it was told to.
ROUNDING = 1e-7
# Within this time of the one before, a request must wait before it passes a turnstile.
WINDOW_S = 2.0
PAUSE_S = 1.0


def address_key(address: str) -> str:
    """Whose limit an address falls under: its own, or for IPv6 that of its /64.

    IPv4 written as IPv6 counts as IPv4; what is no IP address (the peer at a Unix socket)
    stays as it is.
    """
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))


# --- How often ---------------------------------------------------------------------------


@attr.frozen
class _Bucket:
    """``level`` requests were in it at ``at_s``; they run out at the limit's rate."""

    level: float
    at_s: float


@implementer(ILimiter)
@attr.define(kw_only=True, eq=False)
class Buckets:
    """``burst_count`` requests at once, then ``per_second`` a second, for each key.

    ``seconds`` is a monotonic clock. With ``per_second`` 0 nothing follows the burst; with
    ``burst_count`` 0 nothing is ever let through.
    """

    per_second: float
    burst_count: int
    seconds: Callable[[], float]
    # In the order of their last change, so that those which have run out are found in front.
    _buckets: OrderedDict[str, _Bucket] = attr.field(init=False, factory=OrderedDict)

    async def peek(self, key: str) -> None:
        self._level_after_one(key, self.seconds())

    async def take(self, key: str) -> None:
        now_s = self.seconds()
        self._buckets[key] = _Bucket(self._level_after_one(key, now_s), now_s)
        self._buckets.move_to_end(key)
        self._prune(now_s)

    async def give_back(self, key: str) -> None:
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets[key] = attr.evolve(bucket, level=bucket.level - 1)

    def _level_after_one(self, key: str, now_s: float) -> float:
        """The level with one request more, or LimitExceeded."""
        bucket = self._buckets.get(key)
        level = 1 + (0.0 if bucket is None else self._level(bucket, now_s))
        too_much = level - self.burst_count
        if too_much <= ROUNDING:
            return min(level, self.burst_count)
        if not self.per_second or not self.burst_count:
            raise LimitExceeded(NEVER_MS)
        raise LimitExceeded(math.ceil(too_much / self.per_second * 1000))

    def _level(self, bucket: _Bucket, now_s: float) -> float:
        return max(0.0, bucket.level - (now_s - bucket.at_s) * self.per_second)

    def _prune(self, now_s: float) -> None:
        # Two looks for each key that is added: however many there are, they shrink again.
        for key, bucket in list(islice(self._buckets.items(), 2)):
            if not self._level(bucket, now_s) or len(self._buckets) > MOST_KEYS:
                del self._buckets[key]


# --- How many at a time ------------------------------------------------------------------


@attr.define(eq=False)
class _Gate:
    last_s: float = -math.inf
    has_waiting: bool = False
    turn: DeferredLock = attr.field(factory=DeferredLock)

    def is_recent(self, now_s: float) -> bool:
        # A request in the future is one from before the clock was set back.
        return 0 <= now_s - self.last_s < WINDOW_S


@implementer(ITurnstile)
@attr.define(kw_only=True, eq=False)
class Turnstile:
    """One request of a key at a time, one more may wait for it (BEHAVIOUR B16.9).

    One that comes within two seconds of the one before waits for a second at least. A
    caller who stops waiting cancels, and is not there any more.
    """

    clock: IReactorTime
    # In the order of their last request.
    _gates: OrderedDict[str, _Gate] = attr.field(init=False, factory=OrderedDict)

    async def enter(self, key: str) -> None:
        now_s = self.clock.seconds()
        gate = self._gates.setdefault(key, _Gate())
        if gate.has_waiting:
            raise LimitExceeded(round(WINDOW_S * 1000))
        is_early = gate.is_recent(now_s)
        gate.last_s = now_s
        self._gates.move_to_end(key)
        self._prune(now_s)
        gate.has_waiting = True
        try:
            if is_early:
                await deferLater(self.clock, PAUSE_S)
            await gate.turn.acquire()
        finally:
            gate.has_waiting = False

    def leave(self, key: str) -> None:
        self._gates[key].turn.release()

    def _prune(self, now_s: float) -> None:
        # As in Buckets; a gate in use goes behind the others instead.
        for key, gate in list(islice(self._gates.items(), 2)):
            if gate.turn.locked or gate.has_waiting:
                self._gates.move_to_end(key)
            elif not gate.is_recent(now_s):
                del self._gates[key]


@implementer(ITurnstile)
class OpenTurnstile:
    """The turnstile that stops nobody."""

    async def enter(self, key: str) -> None:
        return

    def leave(self, key: str) -> None:
        return


@implementer(ITurnstile)
@attr.frozen
class LimitedTurnstile:
    """A limit on the number of requests in a turnstile's place: nobody waits."""

    limiter: ILimiter

    async def enter(self, key: str) -> None:
        await self.limiter.take(key)

    def leave(self, key: str) -> None:
        return
