"""By when the database must have answered, for all calls of one HTTP request together.

A request that asks the database three times must not wait for it three times. Its deadline is
found by whatever runs on its behalf, without being passed from hand to hand: coroutines that
Deferred runs keep their context across awaits, and give a copy of it to those that they start.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Optional

from twisted.internet.interfaces import IReactorTime

# So that a client has its answer within ten seconds of its request.
REQUEST_S = 8.5
# A request may be older than that because of what is slow without the database: hashes, other
# servers, its turn. A database that is well needs less than this.
LAST_CALL_S = 1.0


class Deadline:
    """That of one request, within whose block a coroutine runs on behalf of the request."""

    def __init__(self, ends_s: float) -> None:
        self._ends_s = ends_s
        self._missed = False
        self._answered = False

    def __enter__(self) -> None:
        # It is not taken back: the coroutine that answers the request has a context of its own,
        # and what was begun from there has no deadline once that has ended.
        _current.set(self)

    def __exit__(self, *failure: object) -> None:
        self._answered = True

    def left_s(self, now_s: float) -> Optional[float]:
        """For how long a call that begins now may go on; None: the request has been answered, and
        what it has begun beside takes its own time."""
        if self._answered:
            return None
        return 0.0 if self._missed else max(self._ends_s - now_s, LAST_CALL_S)

    def miss(self) -> None:
        """A call has not been answered in its time: those that follow don't even try."""
        self._missed = True


_current: ContextVar[Optional[Deadline]] = ContextVar("regsys request deadline", default=None)


def current() -> Optional[Deadline]:
    """That of the request on whose behalf this runs; None: of none."""
    return _current.get()


def of_request(clock: IReactorTime) -> Deadline:
    """The deadline of a request that has just come."""
    return Deadline(clock.seconds() + REQUEST_S)
