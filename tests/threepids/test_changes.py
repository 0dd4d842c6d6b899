"""Changes of an account's addresses, and the callbacks that are told (B10.4)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.callbacks import ThreepidChanges
from regsys.errors import ThreepidInUse
from regsys.interfaces.internal import IJobPlanner, IOwnThreepidStore
from regsys.jobs import HeldJobs, JobRunner
from regsys.model import NewAccount, Threepid
from regsys.model.jobs import Job, NewJob
from regsys.storage.jobs import JobStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing import MemoryAccounts, MemoryThreepids, provides
from regsys.testing.contracts.case import NOW_MS, account, user
from regsys.testing.database import memory_database
from regsys.threepids.changes import (
    TELL_OF_ADDRESS,
    AddressNotice,
    EmbeddedThreepids,
    ThreepidWriter,
    held_key,
)
from tests.support.crash import LATER_S
from tests.support.due_jobs import run_due
from tests.support.failed_jobs import FailedJobs

MAIL = Threepid("email", "alice@mail.example", NOW_MS)
PHONE = Threepid("msisdn", "4915112345678", NOW_MS)
BOBS = Threepid("email", "bob@mail.example", NOW_MS)


class Died(Exception):
    """The process has died, as far as the caller is concerned."""


class ChangesCase(SynchronousTestCase):
    """Alice and Bob have accounts. ``self.module_calls`` has the calls of a module's callbacks."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.database = memory_database(self, self.clock)
        self.module_calls: list[Any] = []
        self.changes = ThreepidChanges.on(self.clock)
        self.changes.additions.register("m", lambda *args: self.module_calls.append((True, *args)))
        self.changes.removals.register("m", lambda *args: self.module_calls.append((False, *args)))
        self.held = HeldJobs()
        self.failed_jobs = FailedJobs(self)
        self.make()
        self.runner = JobRunner(
            JobStore(self.database),
            self.clock,
            handlers={
                TELL_OF_ADDRESS: AddressNotice(self.changes, self.store).run,
                "other": self.hear,
            },
            held=self.held,
        )
        for name in ("alice", "bob"):
            self.wait(self.accounts.create_account(account(name, name)))

    async def hear(self, job: Job) -> None:
        self.module_calls.append(job.kind)

    def make(self) -> None:
        """Give ``self`` its accounts, store and writer."""
        self.accounts: Any = UserStore(self.database)
        self.store: Any = ThreepidStore(self.database)
        self.writer = self.over(self.store)

    def over(self, store: Any) -> ThreepidWriter:
        return ThreepidWriter(
            store=store,
            dedup_keys=JobStore(self.database),
            start_jobs=self.held.put,
            clock=self.clock,
        )

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def assertModuleCalls(self, name: str, *changes: tuple[bool, Threepid]) -> None:
        """The module was told these changes of the user, in any order, and no job waits any
        more."""
        expected = [(added, str(user(name)), of.medium, of.address) for added, of in changes]
        self.assertEqual(sorted(self.module_calls), sorted(expected))
        self.module_calls.clear()
        self.assertEqual(self.wait(JobStore(self.database).waiting(9)), [])


class LocalTests(ChangesCase):
    """Over a store of ours; ``EmbeddedTests`` are the same over a homeserver's."""

    def test_reported(self) -> None:
        """A change is reported after it was made; a call that changes nothing is not."""
        alice = user("alice")
        for change, changed in ((self.writer.add, True), (self.writer.add, False)):
            self.assertIs(self.wait(change(alice, MAIL)), changed)
        self.assertModuleCalls("alice", (True, MAIL))
        self.assertEqual(self.wait(self.store.owner_of("email", MAIL.address)), alice)
        for changed in (True, False):
            self.assertIs(self.wait(self.writer.remove(alice, "email", MAIL.address)), changed)
        self.assertModuleCalls("alice", (False, MAIL))
        self.assertIsNone(self.wait(self.store.owner_of("email", MAIL.address)))

    def test_hadAddress(self) -> None:
        """That an account had an address which it has lost is recorded, and nothing of others."""
        key = held_key(user("alice"), "email", MAIL.address)
        for had in (False, True):
            self.wait(self.writer.remove(user("alice"), "email", MAIL.address))
            self.assertIs(self.wait(JobStore(self.database).has_key(key)), had)
            self.wait(self.writer.add(user("alice"), MAIL))

    def test_refused(self) -> None:
        """A refused change, or one of another account's address, is not reported, not even
        later."""
        self.wait(self.writer.add(user("bob"), MAIL))
        self.module_calls.clear()
        asked = self.writer.add(user("alice"), MAIL)
        self.failureResultOf(Deferred.fromCoroutine(asked), ThreepidInUse)
        self.assertIs(self.wait(self.writer.remove(user("alice"), "email", MAIL.address)), False)
        self.clock.advance(LATER_S)
        self.wait(run_due(self.runner))
        self.assertModuleCalls("alice")
        self.assertEqual(self.wait(self.store.owner_of("email", MAIL.address)), user("bob"))

    def carry_out(self) -> None:
        self.clock.advance(LATER_S)
        self.wait(run_due(self.runner))

    def test_also(self) -> None:
        """A removal's further jobs are written with it, and not without it."""
        other = NewJob(kind="other")
        for is_held in (False, True):
            asked = self.writer.remove(user("alice"), "email", MAIL.address, [other])
            self.assertIs(self.wait(asked), is_held)
            self.carry_out()
            self.assertIs("other" in self.module_calls, is_held)
            self.wait(self.writer.add(user("alice"), MAIL))

    def test_forget(self) -> None:
        """All addresses of an account are removed; others keep theirs."""
        for name, threepid in (("alice", MAIL), ("alice", PHONE), ("bob", BOBS)):
            self.wait(self.writer.add(user(name), threepid))
        self.module_calls.clear()
        for _ in range(2):
            self.wait(self.writer.delete_for(user("alice")))
        self.assertModuleCalls("alice", (False, MAIL), (False, PHONE))
        self.assertEqual(self.wait(self.store.of_user(user("alice"))), [])
        self.assertEqual(len(self.wait(self.store.of_user(user("bob")))), 1)


class EmbeddedTests(LocalTests):
    """A homeserver keeps the addresses."""

    def make(self) -> None:
        self.accounts = MemoryAccounts()
        self.store = MemoryThreepids(self.accounts)
        self.writer = self.over(self.embedded(self.store))

    def embedded(self, store: Any) -> EmbeddedThreepids:
        return EmbeddedThreepids(store=store, jobs=JobStore(self.database))

    def test_providesOwn(self) -> None:
        """For the writer it is a store that knows jobs."""
        provides(IOwnThreepidStore, self.embedded(self.store))

    def test_cutOff(self) -> None:
        """A process that dies after a change leaves a job that reports it; one that dies before
        leaves a job that finds nothing to report."""
        alice = user("alice")
        for is_done in (False, True):
            dying = self.over(self.embedded(Dying(self.store, is_done)))
            for added, asked in (
                (True, dying.add(alice, MAIL)),
                (False, dying.remove(alice, "email", MAIL.address)),
            ):
                self.failureResultOf(Deferred.fromCoroutine(asked), Died)
                self.assertEqual(self.module_calls, [])
                self.clock.advance(LATER_S)
                self.wait(run_due(self.runner))
                self.assertModuleCalls("alice", *[(added, MAIL)] * is_done)
                if added and not is_done:
                    self.wait(self.store.add(alice, MAIL, NOW_MS))
            self.wait(self.store.remove(alice, "email", MAIL.address))
        self.assertIs(self.wait(dying.remove(alice, "email", MAIL.address)), False)
        self.assertModuleCalls("alice")

    def test_alsoCutOff(self) -> None:
        """A removal that has failed begins none of the jobs that do not check it."""
        self.wait(self.writer.add(user("alice"), MAIL))
        self.module_calls.clear()
        dying = self.over(self.embedded(Dying(self.store, is_done=False)))
        asked = dying.remove(user("alice"), "email", MAIL.address, [NewJob(kind="other")])
        self.failureResultOf(Deferred.fromCoroutine(asked), Died)
        self.carry_out()
        self.assertModuleCalls("alice")


class Dying:
    """A store whose callers die of a change: after it if ``is_done``, otherwise before."""

    def __init__(self, store: MemoryThreepids, is_done: bool) -> None:
        self.store = store
        self.is_done = is_done
        self.owner_of = store.owner_of

    async def add(self, *args: Any) -> bool:
        if self.is_done:
            await self.store.add(*args)
        raise Died()

    async def remove(self, *args: Any) -> bool:
        if self.is_done:
            await self.store.remove(*args)
        raise Died()


class NoticeTests(ChangesCase):
    def test_provides(self) -> None:
        """It offers the whole of IJobPlanner."""
        provides(IJobPlanner, AddressNotice(self.changes))

    def test_born(self) -> None:
        """Each address of a new account is a job, the same one however often it is planned, if
        there is a callback to tell."""
        new = NewAccount(key="k", user_id=user("alice"), created_ms=1, threepids=(MAIL, PHONE))
        jobs, again = (AddressNotice(self.changes).jobs_for(new) for _ in range(2))
        self.assertEqual(len({job.dedup_key for job in jobs}), 2)
        self.assertEqual([job.dedup_key for job in jobs], [job.dedup_key for job in again])
        self.assertNotIn(None, [job.dedup_key for job in jobs])
        self.assertEqual(AddressNotice(ThreepidChanges.on(self.clock)).jobs_for(new), ())

    def test_late(self) -> None:
        """A late job reports only what still holds; one that runs at once, or has no store to ask,
        what has happened."""
        for owner, attempts, expected in (
            ("alice", 2, [True]),
            (None, 2, [False]),
            ("bob", 2, [False]),
            ("alice", 1, [True, False]),
            (None, 1, [True, False]),
        ):
            if owner is not None:
                self.wait(self.store.add(user(owner), MAIL, NOW_MS))
            for added in (True, False):
                self.tell(AddressNotice(self.changes, self.store), attempts, added)
            self.assertEqual([item[0] for item in self.module_calls], expected, (owner, attempts))
            self.module_calls.clear()
            if owner is not None:
                self.wait(self.store.remove(user(owner), "email", MAIL.address))
        self.tell(AddressNotice(self.changes), 2, True)
        self.assertEqual(len(self.module_calls), 1)

    def tell(self, notice: AddressNotice, attempts: int, added: bool) -> None:
        payload = {"user_id": str(user("alice")), "medium": "email", "address": MAIL.address}
        job = Job(
            job_id="1",
            kind=TELL_OF_ADDRESS,
            payload={**payload, "added": added},
            attempts=attempts,
            claimed_until_ms=NOW_MS,
        )
        self.wait(notice.run(job))
