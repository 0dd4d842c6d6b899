"""What modules do without a request: calls in a loop, later, or now."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from regsys import deadlines

log = Logger()


@attr.define(eq=False)
class Background:
    """``clock`` is the reactor. What a call raises is logged with its module's name, and goes no
    further. After ``stop`` nothing is called any more."""

    clock: Any
    _loops: list[LoopingCall] = attr.field(init=False, factory=list)
    _later: set[IDelayedCall] = attr.field(init=False, factory=set)
    _stopped: bool = attr.field(init=False, default=False)

    async def run(self, module: str, name: str, function: Callable[[], Any]) -> Any:
        """The result of the function, awaited if need be; None if it raises."""
        # A request that has begun it may end earlier, and so may its deadline.
        deadlines.leave()
        try:
            result = function()
            return await result if inspect.isawaitable(result) else result
        except Exception:
            log.failure("{name} of module {module}, in the background", name=name, module=module)
            return None

    def loop(self, module: str, name: str, function: Callable[[], Any], seconds: float) -> None:
        """Call it each so many seconds, for the first time after as many. While one call goes on,
        the next one waits."""
        if self._stopped:
            return
        loop = LoopingCall(lambda: Deferred.fromCoroutine(self.run(module, name, function)))
        loop.clock = self.clock
        self._loops.append(loop)
        loop.start(seconds, now=False)

    def later(
        self, module: str, name: str, function: Callable[[], Any], seconds: float
    ) -> Optional[IDelayedCall]:
        if self._stopped:
            return None

        def call() -> None:
            self._later.discard(delayed)
            Deferred.fromCoroutine(self.run(module, name, function))

        delayed: IDelayedCall = self.clock.callLater(seconds, call)
        self._later.add(delayed)
        return delayed

    def stop(self) -> None:
        self._stopped = True
        for loop in self._loops:
            if loop.running:
                loop.stop()
        for delayed in self._later:
            if delayed.active():
                delayed.cancel()
        self._loops.clear()
        self._later.clear()
