"""What time it is, by the clock that was passed in."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime


def now_ms(clock: IReactorTime) -> int:
    """Milliseconds since the Unix epoch; ``clock`` is the reactor, or a test's."""
    return int(clock.seconds() * 1000)
