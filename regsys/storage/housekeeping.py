"""Deletes rows that have expired."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from regsys import clock
from regsys.errors import RegistrationError
from regsys.interfaces.internal import IExpiring

log = Logger()


class Housekeeping:
    """Deletes expired rows once a minute, in batches. It rests between two batches, because SQLite
    has one thread for all calls. At the end of each round it calls all ``looks``, which look at
    what there is."""

    EVERY_S = 60.0
    AT_MOST = 500

    def __init__(
        self,
        stores: Sequence[IExpiring],
        clock: IReactorTime,
        looks: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._stores = stores
        self._looks = looks
        self._clock = clock
        self._loop = LoopingCall(self._round)
        self._loop.clock = clock
        self._rest: Optional[Deferred[None]] = None
        self._is_stopped = False

    def start(self) -> None:
        self._is_stopped = False
        self._loop.start(self.EVERY_S)

    def stop(self) -> None:
        self._is_stopped = True
        if self._loop.running:
            self._loop.stop()
        if self._rest is not None:
            self._rest.cancel()

    def _round(self) -> Deferred[None]:
        sweeping = Deferred.fromCoroutine(self._sweep())
        return sweeping.addErrback(lambda failure: log.failure("sweep", failure))

    async def _sweep(self) -> None:
        for store in self._stores:
            if self._is_stopped:
                return
            name = type(store).__name__
            try:
                await self._sweep_store(store)
            except RegistrationError as error:
                log.warn("could not sweep {store}: {error}", store=name, error=error.text)
            except Exception as error:  # a bug in one store must not stop the others
                if self._is_stopped and isinstance(error, CancelledError):
                    return
                log.failure("could not sweep {store}", store=name)
        for look in self._looks:
            try:
                await look()
            except RegistrationError as error:
                log.warn("could not look: {error}", error=error.text)

    async def _sweep_store(self, store: IExpiring) -> None:
        now_ms, began_s = clock.now_ms(self._clock), self._clock.seconds()
        while await store.delete_expired(now_ms, self.AT_MOST) >= self.AT_MOST:
            if self._is_stopped:
                return
            self._rest = Deferred.fromCoroutine(clock.rest(self._clock, began_s))
            try:
                await self._rest
            finally:
                self._rest = None
            began_s = self._clock.seconds()
