"""What time it is, by the clock that was passed in."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


def now_ms(clock: IReactorTime) -> int:
    """Milliseconds since the Unix epoch; ``clock`` is the reactor, or a test's."""
    return int(clock.seconds() * 1000)


# Of its time, what works in batches leaves so many parts to others for each that it takes.
REST = 3
# And so long at least.
SHORTEST_REST_S = 0.01


async def rest(clock: IReactorTime, began_s: float) -> None:
    """Wait between two batches, of which the one before began at ``began_s``: longer than that
    took, so that others who need the database, or its only thread, hardly notice."""
    took_s = clock.seconds() - began_s
    await deferLater(clock, max(REST * took_s, SHORTEST_REST_S), lambda: None)
