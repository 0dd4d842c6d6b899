"""One deadline for all database calls of an HTTP request, and for those of an embedder's parts.

A request with three calls must not wait three times. The deadline is in a context
variable: coroutines that run in Deferreds keep their context across awaits, and pass a copy of it
to those that they start.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Optional

from twisted.internet.interfaces import IReactorTime

# A client must have its answer within ten seconds.
REQUEST_S = 8.5
# What a call gets if the request is already late for other reasons: hashes, other servers, its
# turn. A healthy database needs less.
LAST_CALL_S = 1.0


class Deadline:
    """The deadline of one request: a coroutine that enters it works on behalf of the request."""

    def __init__(self, ends_s: float) -> None:
        self._ends_s = ends_s
        self._missed = False
        self._answered = False

    def __enter__(self) -> None:
        # Never reset: the coroutine that answers the request has a context of its own, and what it
        # has started has no deadline after it ends.
        _current.set(self)

    def __exit__(self, *failure: object) -> None:
        self._answered = True

    def left_s(self, now_s: float) -> Optional[float]:
        """How long a call that begins now may take; None if the request has been answered, so that
        only what it has started besides is still running."""
        if self._answered:
            return None
        return 0.0 if self._missed else max(self._ends_s - now_s, LAST_CALL_S)

    def miss(self) -> None:
        """Record that a call has missed the deadline: later calls fail at once."""
        self._missed = True


_current: ContextVar[Optional[Deadline]] = ContextVar("regsys request deadline", default=None)


def current() -> Optional[Deadline]:
    """The deadline of the current request; None outside of requests."""
    return _current.get()


def seconds_for(own_s: float, now_s: float) -> float:
    """How long a call that begins now may take: ``own_s``, or what the current request has left, if
    that is less."""
    request = current()
    left_s = None if request is None else request.left_s(now_s)
    return own_s if left_s is None else min(left_s, own_s)


def leave() -> None:
    """The current coroutine goes on by itself: what it calls is not for the request that has
    started it."""
    _current.set(None)


def for_request(clock: IReactorTime) -> Deadline:
    """The deadline of a request that has just arrived."""
    return Deadline(clock.seconds() + REQUEST_S)
