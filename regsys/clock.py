"""The time, and rests between batches, by an injected clock."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


def now_ms(clock: IReactorTime) -> int:
    """Milliseconds since the Unix epoch; ``clock`` is the reactor, or a test's."""
    return int(clock.seconds() * 1000)


# A rest between two batches is so many times as long as the batch, and at least so long.
REST = 3
SHORTEST_REST_S = 0.01


async def rest(clock: IReactorTime, began_s: float) -> None:
    """Wait after a batch that began at ``began_s``, for longer than it took, so that requests which
    need the database, or its only thread, are hardly delayed."""
    took_s = clock.seconds() - began_s
    await deferLater(clock, max(REST * took_s, SHORTEST_REST_S), lambda: None)
