"""The buckets in which processes count together."""

from __future__ import annotations

import attr


@attr.frozen
class Bucket:
    """A leaky bucket of a limit: ``burst_count`` requests fill it, and one leaks every
    ``interval_us`` microseconds. ``key`` is the same in every process, and says neither an address
    nor a name."""

    key: str
    interval_us: int
    burst_count: int

    @property
    def full_us(self) -> int:
        """How long a full one takes to run empty."""
        return self.burst_count * self.interval_us
