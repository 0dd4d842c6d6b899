"""What an account brings with it: the user directory hears of every new profile."""

from __future__ import annotations

from typing import Optional

import attr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.errors import Unavailable
from regsys.follow_ups import TELL_DIRECTORY, DirectoryNotice, FollowUps
from regsys.interfaces import IFollowUps, IUserDirectory
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
        """All that brings jobs offers the whole of IFollowUps."""
        for follow_ups in (FollowUps(), DirectoryNotice(Directory())):
            provides(IFollowUps, follow_ups)

    def test_together(self) -> None:
        """What several capabilities bring comes in their order; without any there is none."""
        notices = [DirectoryNotice(Directory()), DirectoryNotice(Directory())]
        jobs = FollowUps(notices).jobs_for(self.new)
        self.assertEqual([job.kind for job in jobs], [TELL_DIRECTORY] * 2)
        self.assertEqual(FollowUps().jobs_for(self.new), [])

    def test_newProfile(self) -> None:
        """A new profile is one job; no new profile is none."""
        notice = DirectoryNotice(Directory())
        self.assertEqual(len(notice.jobs_for(self.new)), 1)
        upgrade = NewAccount(key="k", user_id=ALICE, created_ms=1, upgrades_guest=True)
        self.assertEqual(notice.jobs_for(upgrade), ())

    def test_ghosts(self) -> None:
        """Where an exclusive namespace is its service's alone, its users are not told of."""
        ghost = attr.evolve(self.new, appservice_id="irc")
        for of_ghosts in (True, False):
            notice = DirectoryNotice(Directory(), of_ghosts=of_ghosts)
            self.assertEqual(len(notice.jobs_for(ghost)), of_ghosts)
            self.assertEqual(len(notice.jobs_for(self.new)), 1)


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
