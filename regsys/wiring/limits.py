"""The rate limits: each counted in this process, or over all of them."""

from __future__ import annotations

import math

import attr

from regsys.config import LimitsConfig, Rate
from regsys.interfaces.internal import ILimiter, ILocalLimiter
from regsys.limits.rate import AddressBuckets, LeakyBuckets
from regsys.limits.shared import BucketsOf, SharedLimiter
from regsys.limits.total import NEAR, Cap, Capped
from regsys.model.networks import WHOLE_SITE
from regsys.wiring.process import Process


@attr.frozen
class Limits:
    """Makes the limits. The ``name`` of one is the same in every process, and no other limit has
    it. If the process has no ``buckets``, each counts in this process alone."""

    process: Process

    def by_key(self, name: str, rate: Rate) -> ILimiter:
        return self._shared(name, rate, self._own(rate), has_sites=False)

    def registrations(self, config: LimitsConfig) -> ILimiter:
        """That of each address, and the caps on all of them together, if there are any."""
        own = self.by_address("registration", config.registration)
        sizes = (
            ("hour", 3600, config.registrations_per_hour),
            ("day", 86400, config.registrations_per_day),
        )
        caps = [self._cap(period, length_s, count) for period, length_s, count in sizes if count]
        return Capped(own, caps) if caps else own

    def _cap(self, period: str, length_s: int, count: int) -> Cap:
        name, per_second = f"registrations of a {period}", count / length_s
        nearly = max(1, math.floor(count * NEAR))
        return Cap(
            option=f"regsys.rc_registration_total.per_{period}",
            period=period,
            count=count,
            limiter=self.by_key(name, Rate(per_second, count)),
            near=self.by_key(f"{name}, nearly all", Rate(per_second, nearly)),
            report=self.process.metrics.registration_cap,
            seconds=self.process.seconds,
        )

    def by_address(self, name: str, rate: Rate) -> ILimiter:
        """For keys that end in an ``address_key``. An IPv6 site has a larger limit of its own."""
        site = Rate(rate.per_second * WHOLE_SITE, rate.burst_count * WHOLE_SITE)
        own = AddressBuckets(self._own(rate), self._own(site))
        return self._shared(name, rate, own, has_sites=True)

    def _own(self, rate: Rate) -> ILocalLimiter:
        return LeakyBuckets(
            per_second=rate.per_second, burst_count=rate.burst_count, seconds=self.process.seconds
        )

    def _shared(self, name: str, rate: Rate, own: ILocalLimiter, has_sites: bool) -> ILimiter:
        if self.process.buckets is None:
            return own
        buckets_of = BucketsOf(
            name=name,
            secret=self.process.macaroon_secret,
            per_second=rate.per_second,
            burst_count=rate.burst_count,
            has_sites=has_sites,
        )
        return SharedLimiter(store=self.process.buckets, buckets_of=buckets_of, own=own)
