"""Real sockets for tests that do not wait: a reactor of their own, which turns only while a call
over the sockets is under way.

trial's reactor does not turn within a SynchronousTestCase. This one makes ``ask`` over loopback
look like a call that returns at once.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Awaitable, Callable, TypeVar

import attr
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.patience import PATIENCE_S

T = TypeVar("T")
LONGEST_TURN_S = 1.0


@implementer(IHostnameResolver)
class _Literally:
    """Takes the place of a resolver, which would have threads: only addresses are asked for."""

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *more: Any, **options: Any
    ) -> Any:
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        receiver.resolutionComplete()
        return receiver


@attr.frozen(eq=False)
class Sockets:
    reactor: Any

    @classmethod
    @functools.cache
    def of_all_tests(cls) -> Sockets:
        """One for all tests of this process."""
        made = SelectReactor()
        made.installNameResolver(_Literally())
        made.startRunning(installSignalHandlers=False)
        return cls(made)

    def listen(self, factory: Any) -> Any:
        """A listening port on loopback."""
        return self.reactor.listenTCP(0, factory, interface="127.0.0.1")

    def waiting(self, ask: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        """The same, whose answer is there once it is awaited."""

        async def asked(*arguments: Any) -> T:
            return self.wait(ask(*arguments))

        return asked

    def wait(self, coroutine: Any) -> Any:
        """Turn until it has ended; what it returns."""
        ended: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(ended.append)
        until_s = time.monotonic() + PATIENCE_S
        while not ended:
            assert time.monotonic() < until_s, "no answer over the sockets"
            left_s = self.reactor.timeout()
            self.reactor.doIteration(LONGEST_TURN_S if left_s is None else left_s)
            self.reactor.runUntilCurrent()
        if isinstance(ended[0], Failure):
            ended[0].raiseException()
        return ended[0]

    def turn_until_closed(self, close: Callable[[], Any]) -> None:
        """Close something, and wait for that."""

        async def closed() -> None:
            closing = close()
            if closing is not None:
                await closing

        self.wait(closed())
