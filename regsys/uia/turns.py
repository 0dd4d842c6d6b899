"""The requests of one UIA session follow one another in a process (threat A28)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Optional

import attr
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from regsys.errors import ClientLeft, LimitExceeded

# So long may others take (a captcha's service, the process that hashes) before they have stalled.
STALLED_S = 1.0
# Requests that wait behind one that has stalled; any others, such as a client's that repeats its
# last request at once, and often.
MOST_STALLED, MOST = 4, 32
# The longest wait for a turn, whatever those before wait for: modules, the homeserver, hashes.
MOST_WAIT_S = 10.0
# When to come again: others are given ten seconds to answer.
RETRY_MS = 5000


@attr.define(eq=False)
class _Queue:
    """The requests of one session: one has the lock, others wait for it."""

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
            raise _come_again()
        place = self.lock.acquire()
        if gone is not None:
            gone.addCallback(lambda _: place.cancel())
        too_long = None if place.called else clock.callLater(MOST_WAIT_S, self.refuse, place)
        try:
            await place
        except CancelledError:
            if place in self.refused:
                raise _come_again() from None
            if gone is not None and gone.called:
                raise ClientLeft() from None
            raise
        finally:
            self.refused.discard(place)
            if too_long is not None and too_long.active():
                too_long.cancel()


@attr.frozen(kw_only=True)
class Turns:
    """One request of a session at a time, the others in the order of their coming."""

    clock: IReactorTime
    _queues: dict[str, _Queue] = attr.field(factory=dict, init=False, repr=False)

    @asynccontextmanager
    async def turn(
        self, session_id: str, gone: Optional[Deferred[Any]] = None
    ) -> AsyncIterator[None]:
        """``gone`` fires when the client has left, whose place is then free; None if that is not
        known.

        Raises ClientLeft where the client has left, LimitExceeded where too many wait, or too long.
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
    def asking_others(self, session_id: str) -> Iterator[None]:
        """While the request whose turn it is waits for somebody else: if that lasts, few may wait
        behind it."""
        queue = self._queues.get(session_id)
        if queue is None:  # a new session, which nobody else knows yet
            yield
            return
        stalling = self.clock.callLater(STALLED_S, queue.stall)
        try:
            yield
        finally:
            queue.has_stalled = False
            if stalling.active():
                stalling.cancel()


def _come_again() -> LimitExceeded:
    return LimitExceeded(RETRY_MS, "Too many requests of this session are waiting: try again soon.")
