"""What follows a new account: the user directory is told, pushers for email notifications begin."""

from __future__ import annotations

import json
from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.accounts.post_registration_jobs import (
    ADD_PUSHER,
    TELL_DIRECTORY,
    DirectoryNotice,
    EmailPusher,
    JobPlanners,
)
from regsys.errors import Unavailable
from regsys.interfaces import IUserDirectory
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, Pusher, Threepid, UserID
from regsys.model.jobs import Job
from regsys.testing import MemoryAccounts, MemoryDevices, MemoryPushers, provides
from regsys.testing.contracts.case import device
from tests.support.accounts import THREEPIDS
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import V3, Answer
from tests.support.due_jobs import run_due
from tests.support.handler import JobPlanners as Greeting
from tests.support.validations import ALICE as MAIL
from tests.support.validations import MAILS, EmailValidationCase

ALICE = UserID("alice", "test.example")


@implementer(IUserDirectory)
class Directory:
    """Keeps the profiles that it was told of, unless it is ``away``; ``slow`` delays it."""

    def __init__(self) -> None:
        self.profiles: list[tuple[UserID, Optional[str]]] = []
        self.hidden: list[UserID] = []
        self.away = False
        self.slow: Optional[Deferred[None]] = None

    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        if self.away:
            raise Unavailable()
        if self.slow is not None:
            await self.slow
        self.profiles.append((user_id, display_name))
        if hidden:
            self.hidden.append(user_id)


class JobsTests(SynchronousTestCase):
    new = NewAccount(key="k", user_id=ALICE, created_ms=1, display_name="Alice")

    def test_provides(self) -> None:
        """All job planners offer the whole of IJobPlanner."""
        pushers = EmailPusher(MemoryPushers(MemoryDevices(MemoryAccounts())))
        for planners in (JobPlanners(), DirectoryNotice(Directory()), pushers):
            provides(IJobPlanner, planners)

    def test_together(self) -> None:
        """The jobs of several planners come in the planners' order; without any there are none."""
        notices = [DirectoryNotice(Directory()), DirectoryNotice(Directory())]
        jobs = JobPlanners(for_all=notices).jobs_for(self.new)
        self.assertEqual([job.kind for job in jobs], [TELL_DIRECTORY] * 2)
        self.assertEqual(JobPlanners().jobs_for(self.new), [])

    def test_ghosts(self) -> None:
        """A ghost has the jobs of the planners for all accounts alone, which come first; a consent
        has those of all planners."""
        both = JobPlanners(for_all=[Greeting()], for_people=[DirectoryNotice(Directory())])
        ghost = attr.evolve(self.new, is_ghost=True)
        for new, kinds in ((self.new, ["greet", TELL_DIRECTORY]), (ghost, ["greet"])):
            self.assertEqual([job.kind for job in both.jobs_for(new)], kinds)
        self.assertEqual([job.kind for job in both.jobs_after_consent(ALICE)], ["thank"])

    def test_newProfile(self) -> None:
        """A new profile is one job; no new profile is none."""
        notice = DirectoryNotice(Directory())
        self.assertEqual(len(notice.jobs_for(self.new)), 1)
        upgrade = NewAccount(key="k", user_id=ALICE, created_ms=1, upgrades_guest=True)
        self.assertEqual(notice.jobs_for(upgrade), ())

    def test_exclusiveGhosts(self) -> None:
        """Users of an exclusive namespace are not reported, if that is configured."""
        ghost = attr.evolve(self.new, appservice_id="irc")
        for of_ghosts in (True, False):
            notice = DirectoryNotice(Directory(), of_ghosts=of_ghosts)
            self.assertEqual(len(notice.jobs_for(ghost)), of_ghosts)
            self.assertEqual(len(notice.jobs_for(self.new)), 1)


class EmailPusherTests(SynchronousTestCase):
    mail, phone = Threepid("email", MAIL, 1), Threepid("msisdn", "4915112345678", 1)
    new = NewAccount(
        key="k", user_id=ALICE, created_ms=1, threepids=(phone, mail), device=device("of alice")
    )

    def setUp(self) -> None:
        self.pushers = MemoryPushers(MemoryDevices(MemoryAccounts()))
        self.part = EmailPusher(self.pushers)

    def test_job(self) -> None:
        """A user who validates an address and logs in gets a pusher; its deduplication key is the
        device's."""
        (job,) = self.part.jobs_for(self.new)
        self.assertEqual(job.kind, ADD_PUSHER)
        other = attr.evolve(self.new, device=device("of alice", "TABLET"))
        (another,) = self.part.jobs_for(other)
        (again,) = self.part.jobs_for(self.new)
        self.assertEqual(job.dedup_key, again.dedup_key)
        self.assertNotEqual(job.dedup_key, another.dedup_key)
        self.assertIsNotNone(job.dedup_key)
        self.assertEqual(list(self.part.jobs_after_consent(ALICE)), [])

    def test_none(self) -> None:
        """Without a login, without an email address, or with one that is only vouched for, there is
        no job."""
        for change in (
            {"device": None},
            {"threepids": (self.phone,)},
            {"vouched_emails": (MAIL,)},
        ):
            self.assertEqual(list(self.part.jobs_for(attr.evolve(self.new, **change))), [], change)

    def test_pusher(self) -> None:
        """The pusher has the usual fields: named by the address, without a language."""
        (job,) = self.part.jobs_for(self.new)
        held = Job(job_id="1", kind=job.kind, payload=job.payload, attempts=1, claimed_until_ms=1)
        self.successResultOf(Deferred.fromCoroutine(self.part.run(held)))
        (pusher,) = self.pushers.by_key.values()
        self.assertEqual(
            pusher,
            Pusher(
                user_id=ALICE,
                device_id="PHONE",
                kind="email",
                app_id="m.email",
                app_display_name="Email Notifications",
                device_display_name=MAIL,
                pushkey=MAIL,
                lang=None,
                data={},
            ),
        )


class NewcomersPushersTests(EmailValidationCase):
    """Over HTTP, where regsys keeps the pushers."""

    def pushers(self, answer: Answer) -> Any:
        token = answer.json["access_token"]
        return self.client.get(f"{V3}/pushers", token=token).json["pushers"]

    def registered(self, **email: Any) -> Answer:
        self.system(email={**MAILS["email"], **email}, registrations_require_3pid=["email"])
        answer = self.present(self.begin(), self.validate_address())
        self.assertRegistered(answer, "alice")
        return answer

    def test_newcomer(self) -> None:
        """A user who registers with an email address has its pusher, until the device logs out."""
        answer = self.registered(enable_notifs=True)
        (pusher,) = self.pushers(answer)
        expected = {
            "kind": "email",
            "app_id": "m.email",
            "app_display_name": "Email Notifications",
            "device_display_name": MAIL,
            "pushkey": MAIL,
            "lang": None,
            "data": {},
        }
        self.assertEqual(pusher, expected)
        self.assertEqual(self.counts()["jobs"], 0)
        self.client.post(f"{V3}/logout", {}, token=answer.json["access_token"])
        self.assertEqual(self.rows("SELECT * FROM pushers"), [])

    def test_addressGone(self) -> None:
        """An address that the account has lost, which may be another user's tomorrow, gets no more
        notifications."""
        answer = self.registered(enable_notifs=True)
        token = answer.json["access_token"]
        gone = {"medium": "email", "address": MAIL.upper()}
        self.assertEqual(self.client.post(f"{THREEPIDS}/delete", gone, token=token).status, 200)
        self.assertEqual(self.pushers(answer), [])

    def test_switchedOff(self) -> None:
        """There is none by default, nor if new users are to get none."""
        for options in ({}, {"enable_notifs": True, "notif_for_new_users": False}):
            self.assertEqual(self.pushers(self.registered(**options)), [], options)
            self.setUp()

    def test_needsToken(self) -> None:
        """Pushers are listed to their own user only."""
        self.registered(enable_notifs=True)
        self.assertRefused(self.client.get(f"{V3}/pushers"), 401, "M_MISSING_TOKEN")

    def test_loggedOutMeanwhile(self) -> None:
        """A device that has ended before its job is done gets no pusher, and the job is not
        retried."""
        self.registered(enable_notifs=True)
        self.change("DELETE FROM devices")
        payload = json.dumps(
            {"user_id": "@alice:test.example", "device_id": "GONE", "address": MAIL}
        )
        self.change(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", "j", ADD_PUSHER, payload, 0, 0, 0, None
        )
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(self.rows("SELECT * FROM pushers"), [])
        self.assertEqual(self.counts()["jobs"], 0)


class DirectoryTests(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = Directory()
        self.system(directory=self.directory)

    def test_everyNewProfile(self) -> None:
        """It is told of users and of guests, once, and not of guests who become users."""
        self.register()
        guest = self.guest()
        self.register("1", password=PASSWORD, guest_access_token=guest["access_token"])
        self.assertEqual(
            self.directory.profiles, [(ALICE, "alice"), (UserID("1", "test.example"), "1")]
        )
        self.assertEqual(self.counts()["jobs"], 0)

    def test_ghosts(self) -> None:
        """It is told of the users of application services, too."""
        ghost = UserID("_irc_bob", "test.example")
        new = NewAccount(
            key="k",
            user_id=ghost,
            created_ms=self.now_ms,
            display_name="bob",
            appservice_id="irc",
        )
        self.wait(self.subsystem.handler.register_with_store(new))
        self.assertEqual((self.directory.profiles, self.directory.hidden), ([(ghost, "bob")], []))

    def test_hidden(self) -> None:
        """It is told to hide new users, if that is configured."""
        self.system(directory=self.directory, show_users_in_user_directory=False)
        self.register()
        self.assertEqual(self.directory.hidden, [ALICE])

    def test_away(self) -> None:
        """While it is unavailable users register all the same; it is told when it is back, also
        after a restart."""
        self.directory.away = True
        self.register()
        self.assertEqual(self.counts()["jobs"], 1)
        self.system(database=self.database, directory=self.directory)
        self.directory.away = False
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.clock.advance(2)
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(self.directory.profiles, [(ALICE, "alice")])

    def test_goneMeanwhile(self) -> None:
        """It is not told of a user who was deactivated while it was unavailable."""
        self.directory.away = True
        self.register()
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.directory.away = False
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.clock.advance(2)
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual((self.directory.profiles, self.counts()["jobs"]), ([], 0))

    def test_slow(self) -> None:
        """A registration does not wait for it; stopping the server does."""
        self.directory.slow = Deferred()
        self.register()
        stopping = Deferred.fromCoroutine(self.subsystem.stop())
        self.assertNoResult(stopping)
        self.directory.slow.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.directory.profiles, [(ALICE, "alice")])
