"""Active users (contract B9): those who use a token, register or log in.

Activity is gathered in memory and written in batches, outside of any request. A process that is
killed loses at most what it has gathered since it last wrote.
"""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from prometheus_client import Gauge
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import RegistrationError
from regsys.interfaces import IAuth, IMonthlyActiveUsers
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, NewDevice, Requester, Secret, UserID
from regsys.model.accounts import SEEN_AGAIN_MS
from regsys.model.jobs import Job, NewJob
from regsys.storage.monthly_active_users import ActivityStore

log = Logger()

COUNT_USER = "count_active_user"
WRITE_EVERY_S = 60.0
# After an account or a login, which the limit of active users is about: other processes count it,
# too, and must not let many more in.
WRITE_SOON_S = 1.0
# In rounds of writing. Counting all active users takes time in proportion to their number.
GAUGE_EVERY = 5
BATCH = 100
# Users remembered at a time, so that none is written twice within SEEN_AGAIN_MS.
MOST = 100_000
# How long a count is kept. What this process makes meanwhile is added to it.
COUNT_KEPT_S = 10.0
NO_LIMIT = 2**62


class Activity:
    """The activity that this process has seen. ``gauge`` shows how many users are active; None if
    they are not counted. ``arrivals`` counts the accounts and logins that were made here."""

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
        self._soon: Optional[IDelayedCall] = None

    def seen(self, user_id: UserID) -> None:
        """This user is active now."""
        now_ms = clock.now_ms(self._clock)
        noted_ms = self._noted_ms.get(user_id)
        # After the clock was put back, the time noted may lie in the future.
        if noted_ms is None or abs(now_ms - noted_ms) >= SEEN_AGAIN_MS:
            self._note(user_id, now_ms)

    def logged_in(self, user_id: UserID, device: NewDevice) -> None:
        """This user has logged in, perhaps after more than a month."""
        self.arrivals += 1
        self.seen(user_id)
        self._write_soon()

    def account_created(self, new: NewAccount) -> None:
        """This account has been made, perhaps out of a guest who was seen already."""
        self.arrivals += 1
        self._note(new.user_id, clock.now_ms(self._clock))
        self._write_soon()

    def _write_soon(self) -> None:
        if self._gauge is not None and self._soon is None and self._loop.running:
            self._soon = self._clock.callLater(WRITE_SOON_S, self._write_now)

    def _write_now(self) -> None:
        self._soon = None
        writing = Deferred.fromCoroutine(self._try_to_write())
        writing.addErrback(lambda failure: log.failure("activity", failure))

    def _note(self, user_id: UserID, now_ms: int) -> None:
        # While the database is away there may be too many to keep: those left out are seen again.
        if len(self._pending) >= MOST:
            return
        if len(self._noted_ms) >= MOST:
            self._noted_ms.clear()
        self._noted_ms[user_id] = now_ms
        self._pending.add(user_id)

    def start(self) -> None:
        self._looping = self._loop.start(WRITE_EVERY_S)

    async def stop(self) -> None:
        """Stop the loop, and write what is left."""
        looping, self._looping = self._looping, None
        if looping is not None:
            self._loop.stop()
            # It may be in the middle of a round.
            await looping
        soon, self._soon = self._soon, None
        if soon is not None:
            soon.cancel()
        await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self.write()
        except RegistrationError as error:
            log.warn("activity: {error}", error=error.text)

    async def write(self) -> None:
        """Return when all activity so far is written. Raises Unavailable."""
        await self._writing.run(lambda: Deferred.fromCoroutine(self._write()))

    async def _write(self) -> None:
        # All processes write in the same order, so that no two deadlock.
        waiting = sorted(self._pending, key=str)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            await self._store.record_seen(batch, clock.now_ms(self._clock))
            self._pending.difference_update(batch)

    def _round(self) -> Deferred[None]:
        # Whatever happens in one round must not end the loop.
        writing = Deferred.fromCoroutine(self._write_and_count())
        return writing.addErrback(lambda failure: log.failure("activity", failure))

    async def _write_and_count(self) -> None:
        try:
            await self.write()
            if self._gauge is not None and self._rounds % GAUGE_EVERY == 0:
                self._gauge.set(await self._store.count(clock.now_ms(self._clock), NO_LIMIT))
            self._rounds += 1
        except RegistrationError as error:
            log.warn("activity: {error}", error=error.text)


@implementer(IMonthlyActiveUsers)
class MonthlyActiveUsers:
    """Over our own table, into which all processes write.

    A count is kept for a few seconds, and what this process makes meanwhile is added to it. The
    table is counted again sooner if the sum reaches the limit.
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
        # A negative age means that the clock was put back.
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
    """A user who registers with a ``reserved`` address (medium, canonical form) counts as active at
    once, without a trial, by a job of the account (contract B6.1)."""

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
