"""Threads for modules alone (threat C23): some block for ever, such as those of a client whose
server is away. No thread of ours waits for one of them."""

from __future__ import annotations

import threading
from typing import Any, Callable

import attr
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from regsys.errors import Unavailable

# How many calls of all modules run at once, and how many more may wait.
AT_ONCE = 20
WAITING = 200


@attr.define(eq=False)
class ModuleThreads:
    """One thread for each call, which does not keep the process alive: nothing can end one that
    blocks."""

    reactor: Any
    _free: DeferredSemaphore = attr.field(init=False, factory=lambda: DeferredSemaphore(AT_ONCE))

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """The function's result. Cancelling ends the wait: a call that has not begun is not made,
        a thread cannot be stopped, and counts until it has ended. Unavailable if too many wait."""
        return Deferred.fromCoroutine(self._run(lambda: function(*args, **kwargs)))

    async def _run(self, function: Callable[[], Any]) -> Any:
        if len(self._free.waiting) >= WAITING:
            raise Unavailable()
        await self._free.acquire()
        done: Deferred[Any] = Deferred()
        thread = threading.Thread(
            target=self._work, args=(function, done), name="regsys-module", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the machine has no more
            self._free.release()
            raise Unavailable() from None
        return await done

    def _work(self, function: Callable[[], Any], done: Deferred[Any]) -> None:
        """Runs in the thread."""
        try:
            result = function()
        except BaseException:
            result = Failure()  # goes on as an errback
        self.reactor.callFromThread(self._ended, done, result)

    def _ended(self, done: Deferred[Any], result: Any) -> None:
        self._free.release()
        if not done.called:
            done.callback(result)
