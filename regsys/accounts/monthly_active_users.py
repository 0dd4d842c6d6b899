"""Who uses the server: seen when a token is used, an account made or a device logged in (B9).

What is seen is gathered in memory and written in batches, off the path of any request. A process
that is killed forgets at most what it has seen since it last wrote.
"""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from prometheus_client import Gauge
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import RegistrationError
from regsys.interfaces import IAuth, IJobPlanner, IMonthlyActiveUsers
from regsys.model import (
    SEEN_AGAIN_MS,
    Job,
    NewAccount,
    NewDevice,
    NewJob,
    Requester,
    Secret,
    UserID,
)
from regsys.storage.monthly_active_users import ActivityStore

log = Logger()

COUNT_USER = "count_active_user"
WRITE_EVERY_S = 60.0
# In rounds of writing: counting all of them costs as much as there are.
GAUGE_EVERY = 5
BATCH = 100
# Users remembered at a time, to write none of them twice in SEEN_AGAIN_MS.
MOST = 100_000
# For how long a count holds, but for what this process itself adds to it.
COUNT_KEPT_S = 10.0
EVERYBODY = 2**62


class Activity:
    """What this process has seen. ``gauge`` shows how many users are active; None: nobody
    counts them. ``arrivals`` counts the accounts that were made here, and the logins."""

    def __init__(
        self, store: ActivityStore, clock: IReactorTime, gauge: Optional[Gauge] = None
    ) -> None:
        self.arrivals = 0
        self._store = store
        self._clock = clock
        self._gauge = gauge
        self._noted_ms: dict[UserID, int] = {}
        self._pending: set[UserID] = set()
        self._writing = DeferredLock()
        self._rounds = 0
        self._loop = LoopingCall(self._round)
        self._loop.clock = clock
        self._looping: Optional[Deferred[LoopingCall]] = None

    def seen(self, user_id: UserID) -> None:
        """This user is here now."""
        now_ms = clock.now_ms(self._clock)
        noted_ms = self._noted_ms.get(user_id)
        # By a clock that was put back since it may be noted in the future.
        if noted_ms is None or abs(now_ms - noted_ms) >= SEEN_AGAIN_MS:
            self._note(user_id, now_ms)

    def logged_in(self, user_id: UserID, device: NewDevice) -> None:
        """This user has logged in, perhaps after more than a month."""
        self.arrivals += 1
        self.seen(user_id)

    def account_created(self, new: NewAccount) -> None:
        """This account has been made, perhaps out of a guest who was seen already."""
        self.arrivals += 1
        self._note(new.user_id, clock.now_ms(self._clock))

    def _note(self, user_id: UserID, now_ms: int) -> None:
        # While the database is away they cannot all be kept: who is left out will be seen again.
        if len(self._pending) >= MOST:
            return
        if len(self._noted_ms) >= MOST:
            self._noted_ms.clear()
        self._noted_ms[user_id] = now_ms
        self._pending.add(user_id)

    def start(self) -> None:
        self._looping = self._loop.start(WRITE_EVERY_S)

    async def stop(self) -> None:
        """Write what is left."""
        looping, self._looping = self._looping, None
        if looping is not None:
            self._loop.stop()
            # It may be in the middle of a round.
            await looping
        try:
            await self.write()
        except RegistrationError as error:
            log.warn("activity: {error}", error=error.text)

    async def write(self) -> None:
        """Returns when all that has been seen so far is written; raises Unavailable."""
        await self._writing.run(lambda: Deferred.fromCoroutine(self._write()))

    async def _write(self) -> None:
        # In one order for all processes, lest two wait for each other.
        waiting = sorted(self._pending, key=str)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            await self._store.saw(batch, clock.now_ms(self._clock))
            self._pending.difference_update(batch)

    def _round(self) -> Deferred[None]:
        # Whatever happens in one round must not end the loop.
        writing = Deferred.fromCoroutine(self._write_and_count())
        return writing.addErrback(lambda failure: log.failure("activity", failure))

    async def _write_and_count(self) -> None:
        try:
            await self.write()
            if self._gauge is not None and self._rounds % GAUGE_EVERY == 0:
                self._gauge.set(await self._store.count(clock.now_ms(self._clock), EVERYBODY))
            self._rounds += 1
        except RegistrationError as error:
            log.warn("activity: {error}", error=error.text)


@implementer(IMonthlyActiveUsers)
class MonthlyActiveUsers:
    """Over our own table, which knows what all processes have written.

    A count is kept for a few seconds, and what this process adds meanwhile is added to it: only
    where that could be one too many is there another count.
    """

    def __init__(self, store: ActivityStore, activity: Activity, clock: IReactorTime) -> None:
        self._store = store
        self._activity = activity
        self._clock = clock
        self._counted = self._counted_most = 0
        self._counted_arrivals = 0
        self._counted_s = -COUNT_KEPT_S

    async def count(self, at_most: int) -> int:
        came = self._activity.arrivals - self._counted_arrivals
        # A clock that was put back makes no count fresh.
        age_s = self._clock.seconds() - self._counted_s
        is_fresh = at_most <= self._counted_most and 0 <= age_s < COUNT_KEPT_S
        if is_fresh and (self._counted + came < at_most or not came):
            return min(self._counted + came, at_most)
        arrivals = self._activity.arrivals
        await self._activity.write()
        self._counted = await self._store.count(clock.now_ms(self._clock), at_most)
        self._counted_most, self._counted_arrivals = at_most, arrivals
        self._counted_s = self._clock.seconds()
        return self._counted

    async def is_active(self, user_id: UserID) -> bool:
        await self._activity.write()
        return await self._store.is_active(user_id, clock.now_ms(self._clock))

    async def add(self, user_id: UserID) -> None:
        await self._store.add(user_id, clock.now_ms(self._clock))


@implementer(IAuth)
@attr.frozen(kw_only=True)
class ActivityAuth:
    """Around another IAuth: the user of each token that is used is active."""

    auth: IAuth
    activity: Activity

    async def whose(self, token: Secret) -> Optional[Requester]:
        requester = await self.auth.whose(token)
        if requester is not None:
            self.activity.seen(requester.user_id)
        return requester


@implementer(IJobPlanner)
@attr.frozen(kw_only=True)
class ReservedUsers:
    """Who registers with a ``reserved`` address (medium, canonical form) counts from birth,
    without any trial: a job of the account (contract B6.1)."""

    reserved: frozenset[tuple[str, str]]
    users: IMonthlyActiveUsers

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if self.reserved.isdisjoint((item.medium, item.address) for item in new.threepids):
            return ()
        return (NewJob(kind=COUNT_USER, payload={"user_id": str(new.user_id)}),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of COUNT_USER jobs."""
        await self.users.add(UserID.parse(job.payload["user_id"]))
