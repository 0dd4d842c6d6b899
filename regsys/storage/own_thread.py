"""A pool of one thread with one connection, for calls that others must not hold up.

It takes the place of the connection pool under a ``Database``: its calls neither wait for the
others nor keep a thread from them. It hands a call over in the plainest way, which costs half of
what adbapi's threads do: that counts for a call that every request makes.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class OwnThread:
    """A ``Pool``. ``connect`` opens a connection, in the thread. Both begin with the first call,
    and again with the first one after ``close``."""

    def __init__(self, reactor: Any, connect: Callable[[], Any]) -> None:
        self._reactor = reactor
        self._connect = connect
        self._queue: Optional[SimpleQueue[Optional[Callable[[_Place], None]]]] = None

    def runWithConnection(self, func: Callable[..., Any], *args: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()

        def work(place: _Place) -> None:
            try:
                result = func(place, *args)
            except BaseException:
                result = Failure()  # goes on as an errback
            self._reactor.callFromThread(answer.callback, result)

        if self._queue is None:
            self._queue = SimpleQueue()
            arguments = (self._queue, _Place(self._connect))
            threading.Thread(target=_work_off, args=arguments, daemon=True).start()
        self._queue.put(work)
        return answer

    def close(self) -> None:
        """Let the calls end that were made before, and then the thread and its connection."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.put(None)


class _Place:
    """The place of a thread's one connection."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self.connection: Any = None

    def open(self) -> Any:
        if self.connection is None:
            self.connection = self._connect()
        return self.connection

    def discard(self, connection: Any) -> None:
        self.connection = None
        connection.close()


def _work_off(queue: SimpleQueue[Optional[Callable[[_Place], None]]], place: _Place) -> None:
    while (work := queue.get()) is not None:
        work(place)
    if place.connection is not None:
        place.discard(place.connection)
