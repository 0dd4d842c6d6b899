"""Refusals, collected in memory and written in batches.

Those of one rule, one network and one minute are one row with a count. An attacker can neither fill
the memory nor the database with them: of each hour so many rows tell the network, and what is left
is one row for each rule.
"""

from __future__ import annotations

from typing import Optional

import attr
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from regsys import clock
from regsys.errors import RegistrationError
from regsys.model.audit import REFUSED, AuditEntry
from regsys.storage.audit import AuditStore

log = Logger()

WRITE_EVERY_S = 5.0
# After a write that has failed.
REST_S = 60.0
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
# Rows of an hour that tell their network.
MOST_AN_HOUR = 600
# Rows in memory: those of this hour, and of earlier ones that could not be written yet.
MOST = 2 * MOST_AN_HOUR
# In one statement.
BATCH = 50


@attr.define
class _Group:
    """Refusals that are one row. ``entry`` is that of the first, ``times`` how many there were,
    ``written`` how many its row says. No refusal joins it from ``ends_ms`` on."""

    entry: AuditEntry
    ends_ms: int
    times: int = 0
    written: int = 0


# The begin of the minute or hour, the rule, and the network; for the rest of an hour None twice.
_Key = tuple[int, str, Optional[str], bool]


class Refusals:
    """The refusals of this process. What it has collected in the last WRITE_EVERY_S is lost if it
    is killed."""

    def __init__(self, store: AuditStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._groups: dict[_Key, _Group] = {}
        self._hour_ms = 0
        self._opened = 0
        self._left_out = 0
        self._writing = DeferredLock()
        self._not_before_s = 0.0
        self._loop = LoopingCall(self._round)
        self._loop.clock = clock
        self._looping: Optional[Deferred[LoopingCall]] = None

    def __len__(self) -> int:
        """How many rows are kept in memory."""
        return len(self._groups)

    def add(self, rule: str, address: Optional[str]) -> None:
        """Count a refusal by this rule of a client at this address, or network."""
        now_ms = clock.now_ms(self._clock)
        minute_ms, hour_ms = now_ms // MINUTE_MS * MINUTE_MS, now_ms // HOUR_MS * HOUR_MS
        if hour_ms != self._hour_ms:
            self._hour_ms, self._opened = hour_ms, 0
        group = self._groups.get((minute_ms, rule, address, True))
        if group is None and self._opened < MOST_AN_HOUR:
            group = self._open((minute_ms, rule, address, True), now_ms, minute_ms + MINUTE_MS)
            self._opened += 1
        elif group is None:
            rest = (hour_ms, rule.partition(" ")[0], None, False)
            group = self._groups.get(rest) or self._open(rest, now_ms, hour_ms + HOUR_MS)
        if group is None:
            self._left_out += 1
        else:
            group.times += 1

    def _open(self, key: _Key, now_ms: int, ends_ms: int) -> Optional[_Group]:
        """None if there are too many: the database is away."""
        if len(self._groups) >= MOST:
            return None
        _, rule, address, has_network = key
        details = {} if has_network else {"addresses": "many"}
        entry = AuditEntry(
            when_ms=now_ms, what=REFUSED, rule=rule, address=address, details=details
        )
        group = self._groups[key] = _Group(entry, ends_ms)
        return group

    def start(self) -> None:
        self._looping = self._loop.start(WRITE_EVERY_S, now=False)

    async def stop(self) -> None:
        """Stop the loop, and write what is left."""
        looping, self._looping = self._looping, None
        if looping is not None:
            self._loop.stop()
            # It may be in the middle of a round.
            await looping
        await self._try_to_write()

    async def write(self) -> None:
        """Return when all refusals so far are written. Raises Unavailable."""
        await self._writing.run(lambda: Deferred.fromCoroutine(self._write()))

    def _round(self) -> Deferred[None]:
        if self._clock.seconds() < self._not_before_s:
            return Deferred.fromCoroutine(_nothing())
        # Whatever happens in one round must not end the loop.
        writing = Deferred.fromCoroutine(self._try_to_write())
        return writing.addErrback(lambda failure: log.failure("audit log", failure))

    async def _try_to_write(self) -> None:
        try:
            await self.write()
        except RegistrationError as error:
            self._not_before_s = self._clock.seconds() + REST_S
            log.warn(
                "audit log: {count} rows of refusals wait to be written: {error}",
                count=len(self._groups),
                error=error.text,
            )

    async def _write(self) -> None:
        waiting = [group for group in self._groups.values() if group.times > group.written]
        for start in range(0, len(waiting), BATCH):
            batch = [(group, group.times) for group in waiting[start : start + BATCH]]
            # The whole count, so that a write that is repeated changes nothing.
            await self._store.add([attr.evolve(group.entry, times=n) for group, n in batch])
            for group, times in batch:
                group.written = times
        now_ms = clock.now_ms(self._clock)
        self._groups = {
            key: group
            for key, group in self._groups.items()
            if group.times > group.written or group.ends_ms > now_ms
        }
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            log.warn("audit log: {count} refusals are left out", count=left_out)


async def _nothing() -> None:
    pass
