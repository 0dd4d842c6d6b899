"""A worker's word to its master that it has left jobs, so that they begin at once."""

from __future__ import annotations

from typing import Collection

import attr
from twisted.logger import Logger

from regsys.errors import NoMaster
from regsys.replication import wire
from regsys.replication.sender import Ask

log = Logger()

# A master that has not answered by then finds the jobs by itself, in its next round.
SECONDS = 2.0


@attr.define(eq=False)
class AnnouncedJobs:
    """Tells the master of which kinds jobs wait. One request is under way at a time; what comes
    meanwhile is one more. It is not repeated: the master looks for jobs by itself, too."""

    ask: Ask
    _kinds: set[str] = attr.field(init=False, factory=set)
    _is_asking: bool = attr.field(init=False, default=False)

    async def __call__(self, kinds: Collection[str]) -> None:
        self._kinds.update(kinds)
        if self._is_asking:
            return
        self._is_asking = True
        try:
            while self._kinds:
                now, self._kinds = sorted(self._kinds), set()
                await self._tell(now)
        finally:
            self._is_asking = False

    async def _tell(self, kinds: Collection[str]) -> None:
        try:
            # An older master, or another program, does not know this call.
            await self.ask(wire.RUN_JOBS_PATH, {"kinds": kinds}, SECONDS)
        except NoMaster as error:
            log.debug("the master was not told of jobs: {reason}", reason=str(error))
