"""Caps on what all clients do together, which warn before they bite."""

from __future__ import annotations

from typing import Callable, Sequence

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.errors import LimitExceeded
from regsys.interfaces.internal import ILimiter

log = Logger()

# The one key of a cap.
ALL = "all"
# The part of a cap from which on it warns.
NEAR = 0.8
# How often the log says the same of one cap.
LOG_S = 600.0


@attr.define(kw_only=True, eq=False)
class Cap:
    """At most ``count`` in a ``period``, a word, at once. ``limiter`` counts them; ``near`` is one
    like it, but for NEAR of them. ``report`` is told the period, and ``near`` or ``reached``, each
    time that this is so. ``option``: what the log calls it."""

    option: str
    period: str
    count: int
    limiter: ILimiter
    near: ILimiter
    report: Callable[[str, str], None]
    seconds: Callable[[], float]
    _logged_s: dict[str, float] = attr.field(init=False, factory=dict)

    async def peek(self) -> None:
        try:
            await self.limiter.peek(ALL)
        except LimitExceeded as error:
            raise self._reached(error) from None

    async def take(self) -> None:
        try:
            await self.limiter.take(ALL)
        except LimitExceeded as error:
            raise self._reached(error) from None
        try:
            await self.near.take(ALL)
        except LimitExceeded:
            self._say("near", "more than 80 % are used")

    async def give_back(self) -> None:
        # If ``near`` was full, this makes it one too low, until it has leaked.
        await self.near.give_back(ALL)
        await self.limiter.give_back(ALL)

    def _reached(self, error: LimitExceeded) -> LimitExceeded:
        self._say("reached", "all are used: more are REFUSED until some time has passed")
        wait_ms = error.retry_after_ms or 1
        reason = f"{self.option} of the {self.period} is reached"
        return LimitExceeded(wait_ms, reason=reason).by_rule(f"cap {self.period}")

    def _say(self, state: str, what: str) -> None:
        self.report(self.period, state)
        now_s = self.seconds()
        if now_s - self._logged_s.get(state, -LOG_S) >= LOG_S:
            self._logged_s[state] = now_s
            log.warn(
                "{option}: of the {count} registrations in a {period} {what}",
                option=self.option,
                count=self.count,
                period=self.period,
                what=what,
            )


@implementer(ILimiter)
@attr.frozen
class Capped:
    """The limit ``own`` for each key, and ``caps`` for all keys together. A request that one of
    them refuses counts for none."""

    own: ILimiter
    caps: Sequence[Cap]

    async def peek(self, key: str) -> None:
        await self.own.peek(key)
        for cap in self.caps:
            await cap.peek()

    async def take(self, key: str) -> None:
        await self.own.take(key)
        taken: list[Cap] = []
        try:
            for cap in self.caps:
                await cap.take()
                taken.append(cap)
        except BaseException:
            for cap in taken:
                await cap.give_back()
            await self.own.give_back(key)
            raise

    async def give_back(self, key: str) -> None:
        for cap in self.caps:
            await cap.give_back()
        await self.own.give_back(key)
