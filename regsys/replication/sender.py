"""Sends a worker's calls until their outcome is known (contract B11.4-5)."""

from __future__ import annotations

import secrets
from typing import Any, Awaitable, Callable, Mapping, TypeVar

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import deadlines
from regsys.errors import NoMaster, Unavailable
from regsys.model import UserID
from regsys.replication import wire
from regsys.replication.refusals import refusal_of

log = Logger()

T = TypeVar("T")
# Sends a POST with this path and body; returns status and parsed body (None: no JSON). NoMaster if
# there is no whole answer within so many seconds.
Ask = Callable[[str, Mapping[str, Any], float], Awaitable[tuple[int, Any]]]

# For how long a call is sent again where no request has a deadline of its own.
PATIENCE_S = deadlines.REQUEST_S
# A master that has not answered by then is asked again, perhaps over a connection that lives.
TRY_S = 4.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
# A gateway's answers, and those of a master that cannot work now: the call may have been done.
_NOT_FINAL = frozenset({502, 503, 504})
# What only a wrong configuration is refused with: the wrong secret, or no such call there.
_NOT_OURS = frozenset({(401, "M_FORBIDDEN"), (404, "M_UNRECOGNIZED"), (405, "M_UNRECOGNIZED")})


def new_call_id() -> str:
    return secrets.token_hex(16)


@attr.define(eq=False)
class _MasterLog:
    """One line when calls begin to fail, for each of the two causes, and one with their number when
    the master answers again."""

    _reported: set[str] = attr.field(init=False, factory=set)
    _failed: int = attr.field(init=False, default=0)

    def is_away(self, name: str, reason: str) -> None:
        self._failed += 1
        if self._is_new("away"):
            log.error(
                "the master does not answer {name}: {reason}. Further calls that fail are counted,"
                " and not logged",
                name=name,
                reason=reason,
            )

    def refuses_us(self, error: str) -> None:
        self._failed += 1
        if self._is_new("refuses us"):
            log.error(
                "the master refuses this worker's calls: {error} Compare worker_replication_secret"
                " and instance_map.main with its configuration",
                error=error,
            )

    def answers(self) -> None:
        if self._reported:
            log.info("the master answers again: {count} calls had failed", count=self._failed)
            self._reported.clear()
            self._failed = 0

    def _is_new(self, cause: str) -> bool:
        is_new = cause not in self._reported
        self._reported.add(cause)
        return is_new


@attr.frozen(kw_only=True)
class Sender:
    """Every try of a call has the same id, so that the master does it once."""

    ask: Ask
    clock: IReactorTime
    _log: _MasterLog = attr.field(init=False, factory=_MasterLog)
    # The calls that wait for their next try.
    _pausing: set[Deferred[None]] = attr.field(init=False, factory=set)

    async def call(
        self,
        name: str,
        user_id: UserID,
        call_id: str,
        body: Mapping[str, Any],
        parse: Callable[[Mapping[str, Any]], T],
    ) -> T:
        """What ``parse`` makes of the answer. Raises what the master refuses with; Unavailable if
        the outcome is not known in time.

        A ValueError of ``parse`` says that this is no answer: the call is sent again.
        """
        path = wire.path_of(name, user_id, call_id)
        ends_s = self.clock.seconds() + deadlines.seconds_for(PATIENCE_S, self.clock.seconds())
        pause_s, reason = FIRST_PAUSE_S, "there was no time left"
        while (left_s := ends_s - self.clock.seconds()) > 0:
            try:
                status, answer = await self.ask(path, body, min(TRY_S, left_s))
                return self._outcome(status, answer, parse)
            except NoMaster as error:
                reason = str(error)
            # Half of it is random, so that calls that failed together spread out.
            wait_s = pause_s * (1 + secrets.randbelow(1000) / 1000) / 2
            if wait_s >= ends_s - self.clock.seconds():
                break
            await self._pause(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._log.is_away(name, reason)
        raise Unavailable()

    async def _pause(self, seconds: float) -> None:
        pausing: Deferred[None] = Deferred()
        self._pausing.add(pausing)
        timer = self.clock.callLater(seconds, pausing.callback, None)
        try:
            await pausing
        finally:
            self._pausing.discard(pausing)
            if timer.active():
                timer.cancel()

    def _outcome(self, status: int, answer: Any, parse: Callable[[Mapping[str, Any]], T]) -> T:
        """Raises NoMaster if this answer does not say what has become of the call."""
        if status in _NOT_FINAL:
            raise NoMaster(f"it answers {status}")
        refused = refusal_of(status, answer)
        if refused is not None and status != 200:
            if (refused.status, refused.errcode) in _NOT_OURS:
                # A client must not take for its own mistake what the operator has to mend.
                self._log.refuses_us(refused.text)
                raise Unavailable()
            self._works()
            raise refused
        if status != 200 or not isinstance(answer, Mapping):
            raise NoMaster(f"its answer ({status}) is none of a master's")
        try:
            parsed = parse(answer)
        except ValueError as error:
            raise NoMaster(str(error)) from None
        self._works()
        return parsed

    def _works(self) -> None:
        """The master answers: who has waited for long must not wait longer than who comes now."""
        self._log.answers()
        pausing = list(self._pausing)
        self._pausing.clear()
        for waiting in pausing:
            waiting.callback(None)
