"""One request of a UIA session at a time in a process; the others queue (threat A28)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Optional

import attr
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from regsys.errors import ClientLeft, LimitExceeded

# How long a request may wait for another service (a captcha's, the process that hashes) until it
# counts as stalled.
STALLED_S = 1.0
# How many requests may wait: behind one that has stalled, and otherwise, when a client may repeat
# its last request often.
MOST_STALLED, MOST = 4, 32
# The longest wait for a turn, whatever the requests before it wait for: modules, the homeserver,
# hashes.
MOST_WAIT_S = 10.0
# retry_after_ms of a refused request: other services have ten seconds to answer.
RETRY_MS = 5000


@attr.define(eq=False)
class _Queue:
    """The requests of one session: one has the lock, the others wait for it."""

    lock: DeferredLock = attr.field(factory=DeferredLock)
    has_stalled: bool = False
    refused: set[Deferred[Any]] = attr.field(factory=set)

    def stall(self) -> None:
        self.has_stalled = True
        for place in self.lock.waiting[MOST_STALLED:]:
            self.refuse(place)

    def refuse(self, place: Deferred[Any]) -> None:
        self.refused.add(place)
        place.cancel()

    async def enter(self, clock: IReactorTime, gone: Optional[Deferred[Any]]) -> None:
        if len(self.lock.waiting) >= (MOST_STALLED if self.has_stalled else MOST):
            raise _try_later()
        place = self.lock.acquire()
        if gone is not None:
            gone.addCallback(lambda _: place.cancel())
        too_long = None if place.called else clock.callLater(MOST_WAIT_S, self.refuse, place)
        try:
            await place
        except CancelledError:
            if place in self.refused:
                raise _try_later() from None
            if gone is not None and gone.called:
                raise ClientLeft() from None
            raise
        finally:
            self.refused.discard(place)
            if too_long is not None and too_long.active():
                too_long.cancel()


@attr.frozen(kw_only=True)
class Turns:
    """One request of a session at a time, in the order of their arrival."""

    clock: IReactorTime
    _queues: dict[str, _Queue] = attr.field(factory=dict, init=False, repr=False)

    @asynccontextmanager
    async def turn(
        self, session_id: str, gone: Optional[Deferred[Any]] = None
    ) -> AsyncIterator[None]:
        """``gone`` fires when the client has disconnected, which frees its place in the queue; None
        if that is not known.

        Raises ClientLeft if the client has disconnected, LimitExceeded if too many requests wait,
        or if this one has waited too long.
        """
        queue = self._queues.setdefault(session_id, _Queue())
        await queue.enter(self.clock, gone)
        try:
            yield
        finally:
            queue.lock.release()
            if not queue.lock.locked:
                self._queues.pop(session_id, None)

    @contextmanager
    def waiting_elsewhere(self, session_id: str) -> Iterator[None]:
        """The request whose turn it is waits for another service: if that lasts, few requests may
        wait behind it."""
        queue = self._queues.get(session_id)
        if queue is None:  # a new session, which no other request can name yet
            yield
            return
        stalling = self.clock.callLater(STALLED_S, queue.stall)
        try:
            yield
        finally:
            queue.has_stalled = False
            if stalling.active():
                stalling.cancel()


def _try_later() -> LimitExceeded:
    return LimitExceeded(RETRY_MS, "Too many requests of this session are waiting: try again soon.")
