"""Monthly active users: gathered in memory, written in batches, counted cheaply."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from prometheus_client import Gauge
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.accounts.monthly_active_users import (
    BATCH,
    COUNT_KEPT_S,
    GAUGE_EVERY,
    MOST,
    WRITE_EVERY_S,
    Activity,
    ActivityAuth,
    MonthlyActiveUsers,
    ReservedUsers,
)
from regsys.errors import Unavailable
from regsys.interfaces import IAuth, IMonthlyActiveUsers
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, UserID
from regsys.model.accounts import SEEN_AGAIN_MS
from regsys.storage.monthly_active_users import ActivityStore
from regsys.testing import MemoryActiveUsers, provides
from regsys.testing.contracts import MonthlyActiveUsersContract
from regsys.testing.contracts.case import NOW_MS, device
from tests.support.fakes import stands_for

TEN_YEARS_S = 10 * 365 * 24 * 3600
ALICE, BOB = (UserID(name, "test.example") for name in ("alice", "bob"))


class MemoryActiveUsersTests(MonthlyActiveUsersContract, TestCase):
    """The fake for embedders."""

    def make(self) -> IMonthlyActiveUsers:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.users = MemoryActiveUsers(self.clock)
        return self.users

    async def create_account(self, new: NewAccount) -> None:
        return

    async def use(self, user_id: UserID) -> None:
        self.users.seen_ms[user_id] = int(self.clock.seconds() * 1000)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms / 1000)


class RecordedActivity:
    """``batches`` has each batch that was written; ``held`` delays the next one, ``away`` makes it
    fail. All users who were written are active; ``counts`` has the limits of the counts that were
    made."""

    def __init__(self) -> None:
        self.batches: list[Sequence[UserID]] = []
        self.users: set[UserID] = set()
        self.counts: list[int] = []
        self.held: Optional[Deferred[None]] = None
        self.away = False

    async def record_seen(self, user_ids: Sequence[UserID], now_ms: int) -> None:
        if self.held is not None:
            await self.held
        if self.away:
            raise Unavailable()
        self.batches.append(user_ids)
        self.users.update(user_ids)

    async def count(self, now_ms: int, at_most: int) -> int:
        self.counts.append(at_most)
        return min(len(self.users), at_most)

    async def is_active(self, user_id: UserID, now_ms: int) -> bool:
        return user_id in self.users

    async def add(self, user_id: UserID, now_ms: int) -> None:
        self.users.add(user_id)


class ActivityCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.store = RecordedActivity()
        self.gauge = Gauge("active", "", registry=None)
        self.activity = Activity(self.store, self.clock, self.gauge)
        self.users = MonthlyActiveUsers(self.store, self.activity, self.clock)

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def write(self) -> None:
        self.wait(self.activity.write())

    def born(self, user_id: UserID) -> None:
        self.activity.account_created(NewAccount(key="k", user_id=user_id, created_ms=NOW_MS))

    def log_in(self, user_id: UserID) -> None:
        self.activity.logged_in(user_id, device("k"))


class ActivityTests(ActivityCase):
    def test_provides(self) -> None:
        """The fakes have the methods of the real classes."""
        stands_for(ActivityStore, self.store)
        provides(IMonthlyActiveUsers, self.users)
        provides(IAuth, ActivityAuth(auth=Any, activity=self.activity))
        provides(IJobPlanner, ReservedUsers(reserved=frozenset(), users=self.users))

    def test_onceAnHour(self) -> None:
        """A user who is seen again within the hour is not written again; an hour later they are."""
        for _ in range(3):
            self.activity.seen(ALICE)
            self.write()
        self.clock.advance(SEEN_AGAIN_MS / 1000 - 1)
        self.activity.seen(ALICE)
        self.write()
        self.assertEqual(self.store.batches, [[ALICE]])
        self.clock.advance(1)
        self.activity.seen(ALICE)
        self.write()
        self.assertEqual(self.store.batches, [[ALICE]] * 2)

    def test_clockPutBack(self) -> None:
        """A user who was seen while the clock was wrong is seen again once it is right."""
        self.clock.advance(TEN_YEARS_S)
        self.activity.seen(ALICE)
        self.write()
        self.clock.rightNow -= TEN_YEARS_S
        for _ in range(3):
            self.activity.seen(ALICE)
            self.write()
        self.assertEqual(self.store.batches, [[ALICE]] * 2)

    def test_born(self) -> None:
        """An account is written when it is made, even if its guest was seen just before."""
        self.activity.seen(ALICE)
        self.write()
        self.born(ALICE)
        self.write()
        self.assertEqual(self.store.batches, [[ALICE]] * 2)

    def test_batches(self) -> None:
        """Many users are written in batches, in one order, each once."""
        names = [UserID(f"u{number:04}", "s") for number in range(2 * BATCH + 1)]
        for user_id in reversed(names):
            self.activity.seen(user_id)
        self.write()
        self.assertEqual([len(batch) for batch in self.store.batches], [BATCH, BATCH, 1])
        self.assertEqual([one for batch in self.store.batches for one in batch], names)

    def test_everyMinute(self) -> None:
        """What was seen is written within a minute; after a failure of the database writing goes
        on."""
        self.activity.start()
        self.addCleanup(self.wait, self.activity.stop())
        self.activity.seen(ALICE)
        self.assertEqual(self.store.batches, [])
        self.store.away = True
        self.clock.advance(WRITE_EVERY_S)
        self.activity.seen(BOB)
        self.store.away = False
        self.assertEqual(self.store.batches, [])
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(self.store.batches, [[ALICE, BOB]])

    def test_stopped(self) -> None:
        """On stop the rest is written, if the database is available; afterwards nothing is
        scheduled."""
        self.activity.start()
        self.activity.seen(ALICE)
        self.wait(self.activity.stop())
        self.assertEqual(self.store.batches, [[ALICE]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.activity.seen(BOB)
        self.store.away = True
        self.wait(self.activity.stop())

    def test_seenWhileWritten(self) -> None:
        """A user who is seen while others are being written is written next."""
        self.store.held = Deferred()
        self.activity.seen(ALICE)
        first = Deferred.fromCoroutine(self.activity.write())
        self.activity.seen(BOB)
        second = Deferred.fromCoroutine(self.activity.write())
        self.assertNoResult(first)
        self.assertNoResult(second)
        self.store.held.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.store.batches, [[ALICE], [BOB]])

    def test_bounded(self) -> None:
        """While nothing can be written, memory stays bounded, however many users are seen."""
        for number in range(MOST + 10):
            self.activity.seen(UserID(f"u{number}", "s"))
        self.write()
        self.assertEqual(len(self.store.users), MOST)
        self.activity.seen(ALICE)
        self.assertEqual(len(self.activity._noted_ms), 1)

    def test_gauge(self) -> None:
        """The gauge counts all users, and is not updated in every round."""
        self.activity.start()
        self.addCleanup(self.wait, self.activity.stop())
        self.activity.seen(ALICE)
        for _ in range(GAUGE_EVERY):
            self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(self.gauge._value.get(), 1)
        self.assertEqual(len(self.store.counts), 2)


class CountTests(ActivityCase):
    def count(self, at_most: int = 10) -> int:
        found = self.wait(self.users.count(at_most))
        assert isinstance(found, int)
        return found

    def test_kept(self) -> None:
        """Within a few seconds there is one count; accounts that are made here are added to it."""
        self.born(ALICE)
        self.assertEqual(self.count(), 1)
        for number in range(5):
            self.born(UserID(f"u{number}", "s"))
            self.assertEqual(self.count(), 2 + number)
        self.assertEqual(self.store.counts, [10])
        self.clock.advance(COUNT_KEPT_S)
        self.assertEqual(self.count(), 6)
        self.assertEqual(self.store.counts, [10, 10])

    def test_exactAtTheLimit(self) -> None:
        """Before a refusal there is a new count: an account that does not count, such as a guest,
        takes no place."""
        self.assertEqual(self.count(2), 0)
        for user_id in (ALICE, BOB):
            self.born(user_id)
        self.activity._pending.clear()  # as if they did not count
        self.assertEqual(self.count(2), 0)

    def test_full(self) -> None:
        """While the server is full, refused registrations cause no further counts for a while."""
        for user_id in (ALICE, BOB):
            self.born(user_id)
        for _ in range(5):
            self.assertEqual(self.count(2), 2)
        self.assertEqual(self.store.counts, [2])

    def test_arrivals(self) -> None:
        """A user who logs in after more than a month takes a place, too, at once."""
        self.activity.seen(ALICE)
        self.assertEqual(self.count(2), 1)
        self.log_in(BOB)
        self.assertEqual(self.count(2), 2)

    def test_clockPutBack(self) -> None:
        """A count that was made while the clock was wrong is not used when it is right."""
        self.clock.advance(TEN_YEARS_S)
        self.assertEqual(self.count(2), 0)
        self.clock.rightNow -= TEN_YEARS_S
        self.store.users.update((ALICE, BOB))
        self.assertEqual(self.count(2), 2)

    def test_away(self) -> None:
        """If the users cannot be counted, that is an error and not a number."""
        self.activity.seen(ALICE)
        self.store.away = True
        self.failureResultOf(Deferred.fromCoroutine(self.users.count(2)), Unavailable)
        self.store.away = False
        self.assertEqual(self.count(), 1)
