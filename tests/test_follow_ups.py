"""What an account brings with it: the user directory hears of every new profile."""

from __future__ import annotations

from typing import Optional

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.errors import Unavailable
from regsys.interfaces import IFollowUps, IUserDirectory
from regsys.jobs import FollowUps
from regsys.model import NewAccount, UserID
from regsys.testing import provides
from tests.case import PASSWORD, SystemCase

ALICE = UserID("alice", "test.example")


@implementer(IUserDirectory)
class Directory:
    """What it was told, unless it is ``away``; ``slow`` holds it up."""

    def __init__(self) -> None:
        self.told: list[tuple[UserID, Optional[str]]] = []
        self.away = False
        self.slow: Optional[Deferred[None]] = None

    async def profile_created(self, user_id: UserID, display_name: Optional[str]) -> None:
        if self.away:
            raise Unavailable()
        if self.slow is not None:
            await self.slow
        self.told.append((user_id, display_name))


class JobsTests(SynchronousTestCase):
    new = NewAccount(key="k", user_id=ALICE, created_ms=1, display_name="Alice")

    def test_provides(self) -> None:
        """FollowUps offers all of IFollowUps, with a directory and without."""
        for follow_ups in (FollowUps(), FollowUps(directory=Directory())):
            provides(IFollowUps, follow_ups)

    def test_noDirectory(self) -> None:
        """Where nobody wants to hear of profiles an account brings no job."""
        self.assertEqual((FollowUps().jobs_for(self.new), FollowUps().handlers()), ((), {}))

    def test_newProfile(self) -> None:
        """A new profile is one job, that this process can do; no new profile is none."""
        follow_ups = FollowUps(directory=Directory())
        (job,) = follow_ups.jobs_for(self.new)
        self.assertIn(job.kind, follow_ups.handlers())
        upgrade = NewAccount(key="k", user_id=ALICE, created_ms=1, upgrades_guest=True)
        self.assertEqual(follow_ups.jobs_for(upgrade), ())


class DirectoryTests(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = Directory()
        self.system(hooks=self.hooks(directory=self.directory))

    def test_everyNewProfile(self) -> None:
        """It is told of users and of guests, once, and not of guests who become users."""
        self.register()
        guest = self.guest()
        self.register("1", password=PASSWORD, guest_access_token=guest["access_token"])
        self.assertEqual(
            self.directory.told, [(ALICE, "alice"), (UserID("1", "test.example"), "1")]
        )
        self.assertEqual(self.counts()["jobs"], 0)

    def test_away(self) -> None:
        """While it is away people register all the same; it is told when it is back, also
        after a restart."""
        self.directory.away = True
        self.register()
        self.assertEqual(self.counts()["jobs"], 1)
        self.system(database=self.database, hooks=self.hooks(directory=self.directory))
        self.directory.away = False
        self.clock.advance(2)
        self.wait(self.subsystem.jobs.run_due())
        self.assertEqual(self.directory.told, [(ALICE, "alice")])

    def test_slow(self) -> None:
        """Nobody who registers waits for it; who stops the server does."""
        self.directory.slow = Deferred()
        self.register()
        stopping = Deferred.fromCoroutine(self.subsystem.stop())
        self.assertNoResult(stopping)
        self.directory.slow.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.directory.told, [(ALICE, "alice")])
