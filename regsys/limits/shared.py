"""Rate limits that count over all processes (contract B11.7), in a store that they share.

If the store is away or slow, each process counts for itself until it is back: no request fails for
its sake, or waits for it longer than a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
from typing import Awaitable, Callable, Mapping, Optional, Sequence, TypeVar

import attr
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import implementer

from regsys.errors import LimitExceeded, Unavailable
from regsys.interfaces.internal import IBucketStore, ILimiter, ILocalLimiter
from regsys.model.buckets import Bucket
from regsys.model.networks import WHOLE_SITE, site_key

log = Logger()
T = TypeVar("T")

# How long a store that did not answer is left alone, before one request asks it again.
RETRY_S = 5.0
# The longest time in which a full bucket runs empty, about 70 years: the numbers of Redis's scripts
# are exact up to 2^53.
_MOST_US = 2**51


@attr.frozen(kw_only=True)
class BucketsOf:
    """The buckets in which a request counts for a key of the limit ``name``: with ``has_sites``
    also that of the /48, as in AddressBuckets.

    The keys are made with the ``secret`` of the server, so that whoever reads the store learns no
    address and no name, and so that several servers may have one Redis."""

    name: str
    secret: bytes = attr.field(repr=False)
    per_second: float
    burst_count: int
    has_sites: bool = False
    _mac_key: bytes = attr.field(init=False, repr=False)
    # The interval and the burst of a bucket that is so many times as large.
    _sizes: Mapping[int, tuple[int, int]] = attr.field(init=False, repr=False)

    @_mac_key.default
    def _derive(self) -> bytes:
        return hmac.digest(self.secret, b"regsys limits", "sha256")

    @_sizes.default
    def _all_sizes(self) -> Mapping[int, tuple[int, int]]:
        return {times: self._size(times) for times in (1, WHOLE_SITE)}

    def _size(self, times: int) -> tuple[int, int]:
        burst_count = self.burst_count * times
        interval_us = round(1_000_000 / (self.per_second * times))
        return max(1, min(interval_us, _MOST_US // burst_count)), burst_count

    def __call__(self, key: str) -> Sequence[Bucket]:
        site = site_key(key) if self.has_sites else None
        own = self._bucket(key, 1)
        return [own] if site is None else [own, self._bucket(site, WHOLE_SITE)]

    def _bucket(self, key: str, times: int) -> Bucket:
        text = f"{self.name}\0{key}".encode()
        # hmac.digest would let other threads run, and then wait for them.
        mac = hashlib.blake2b(text, key=self._mac_key, digest_size=16).hexdigest()
        return Bucket(mac, *self._sizes[times])


@implementer(ILimiter)
@attr.frozen(kw_only=True)
class SharedLimiter:
    """Counts in ``store``, and also in ``own``, this process's share, which decides while the store
    is away."""

    store: IBucketStore
    buckets_of: BucketsOf
    own: ILocalLimiter

    async def peek(self, key: str) -> None:
        """Asks the store only about what this process has itself counted for, or been refused for.
        Where others have filled a bucket the first request is not refused early, and ``take``
        decides: so a registration in one request asks the store once."""
        if not self.own.holds(key):
            return
        wait_us = await self._answer(self.store.peek, key)
        if wait_us is None:
            await self.own.peek(key)
        else:
            _check(wait_us)

    async def take(self, key: str) -> None:
        wait_us = await self._answer(self.store.take, key)
        if wait_us is None:
            await self.own.take(key)
            return
        # Also what is refused: the bucket is full, so that this process asks early from now on, and
        # lets fewer through should the store go away.
        self.own.count(key)
        _check(wait_us)

    async def give_back(self, key: str) -> None:
        await self.own.give_back(key)
        with contextlib.suppress(Unavailable):
            await self.store.give_back(self.buckets_of(key))

    async def _answer(
        self, asked: Callable[[Sequence[Bucket]], Awaitable[int]], key: str
    ) -> Optional[int]:
        """What the store answers; None if it is away."""
        try:
            return await asked(self.buckets_of(key))
        except Unavailable:
            return None


def _check(wait_us: int) -> None:
    if wait_us:
        raise LimitExceeded(math.ceil(wait_us / 1000))


@implementer(IBucketStore)
@attr.define(kw_only=True, eq=False)
class CircuitBreaker:
    """Asks ``store`` as long as it answers. After a failure every call raises Unavailable at once;
    every ``RETRY_S`` one call asks again.

    ``name`` is for the log, which has one line when the store goes and one when it is back.
    ``report`` is called with whether it answers.
    """

    store: IBucketStore
    name: str
    seconds: Callable[[], float]
    report: Callable[[bool], object] = lambda answers: None
    # When it is asked again; None while it answers.
    _retry_s: Optional[float] = attr.field(init=False, default=None)

    async def peek(self, buckets: Sequence[Bucket]) -> int:
        return await self._ask(self.store.peek, buckets)

    async def take(self, buckets: Sequence[Bucket]) -> int:
        return await self._ask(self.store.take, buckets)

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        await self._ask(self.store.give_back, buckets)

    def close(self) -> None:
        self.store.close()

    async def _ask(
        self, asked: Callable[[Sequence[Bucket]], Awaitable[T]], buckets: Sequence[Bucket]
    ) -> T:
        is_probe = self._retry_s is not None
        if self._retry_s is not None:
            now_s = self.seconds()
            if now_s < self._retry_s:
                raise Unavailable()
            # The others need not wait for the answer to this one.
            self._retry_s = now_s + RETRY_S
        try:
            answer = await asked(buckets)
        except CancelledError:  # the client has left, which says nothing about the store
            raise
        except Exception as error:  # no request may fail for a limit's sake, even for a bug's
            self._open(error)
            raise Unavailable() from error
        if is_probe:  # what was asked before the failure proves nothing
            self._close()
        return answer

    def _open(self, error: Exception) -> None:
        if self._retry_s is None:
            log.warn(
                "{store} does not answer: for now this process counts its rate limits by itself"
                " ({cause})",
                store=self.name,
                cause=_cause(error),
            )
            self.report(False)
        self._retry_s = self.seconds() + RETRY_S

    def _close(self) -> None:
        self._retry_s = None
        log.info("{store} answers again: rate limits are counted there", store=self.name)
        self.report(True)


def _cause(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    return str(cause or "no answer in time").strip()
