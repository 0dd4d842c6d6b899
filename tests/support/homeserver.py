"""A homeserver with stores of its own, whose processes start, die and are replaced."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface import implementer, providedBy

from regsys.accounts.deactivation import Deactivation
from regsys.accounts.embedded_writer import RECOVERY, EmbeddedWriter
from regsys.accounts.post_registration import PostRegistration
from regsys.interfaces import IAccountStoreWithDevices
from regsys.interfaces.internal import IJobPlanner
from regsys.jobs import Handler, HeldJobs, JobRunner
from regsys.model import JOB_LEASE_MS, DeviceRequest, NewAccount, UserID
from regsys.model.jobs import Job, NewJob
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.sessions import SessionStore
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, MemoryThreepids
from regsys.testing.contracts.case import NOW_MS
from regsys.testing.database import memory_database
from regsys.threepids.changes import EmbeddedThreepids, ThreepidWriter
from tests.contracts.writer import logins, new_account
from tests.support.due_jobs import run_due
from tests.support.failed_jobs import FailedJobs
from tests.support.post_registration import post_registration
from tests.support.values import session

# Past the lease of whatever a dead process held.
LATER_S = JOB_LEASE_MS / 1000 + 1
END_MS = NOW_MS + 24 * 3600 * 1000
# The calls of a writer on its parts, in this order, each between two points: ``before claim`` …
CALLS = ("claim", "create_account", "register", "complete")
POINTS = tuple(f"{when} {call}" for call in CALLS for when in ("before", "after"))

# Called with the name of each point that is passed.
AtPoint = Callable[[str], Awaitable[None]]


class Died(Exception):
    """Stands for the end of the process."""


async def passing(point: str) -> None:
    return


def failing_at(point: str, error: Exception) -> AtPoint:
    """Raise ``error`` there, once."""
    errors = [error]

    async def fail(passed: str) -> None:
        if passed == point and errors:
            raise errors.pop()

    return fail


def waiting_at(point: str, until: Deferred[None]) -> AtPoint:
    """Wait there, the first time that it is passed."""
    waits = [until]

    async def wait(passed: str) -> None:
        if passed == point and waits:
            await waits.pop()

    return wait


@attr.frozen
class Watched:
    """A part whose calls pass a point before and one after."""

    part: Any
    at: AtPoint

    @property
    def __providedBy__(self) -> Any:
        return providedBy(self.part)

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            await self.at(f"before {name}")
            result = await getattr(self.part, name)(*args, **kwargs)
            await self.at(f"after {name}")
            return result

        return call


@implementer(IAccountStoreWithDevices)
class AccountsWithDevices(MemoryAccounts):
    """Accounts that are made with their device, and not by ``register``."""

    devices: MemoryDevices

    async def create_account(self, new: NewAccount) -> UserID:
        is_known = await self.made_by(new.key) is not None
        user_id = await super().create_account(new)
        if new.device is not None and not is_known:
            await self.devices.register(user_id, new.device)
        return user_id


@implementer(IJobPlanner)
class Greetings:
    """Every account is to be greeted."""

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        addresses = [item.address for item in new.threepids]
        payload = {
            "user_id": str(new.user_id),
            "display_name": new.display_name,
            "addresses": addresses,
        }
        return (NewJob(kind="greet", payload=payload),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()


class Homeserver:
    """Its stores, and our tables beside them. ``greeted`` has the users whose job has run,
    ``named`` the names in these jobs, ``addresses`` their addresses, ``counted`` the accounts that
    were made."""

    def __init__(self, case: TestCase, with_devices: bool = False) -> None:
        """``with_devices``: its account store writes the devices, too."""
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.with_devices = with_devices
        self.accounts = AccountsWithDevices() if with_devices else MemoryAccounts()
        self.devices = MemoryDevices(self.accounts)
        if isinstance(self.accounts, AccountsWithDevices):
            self.accounts.devices = self.devices
        self.auth = MemoryAuth(self.devices)
        self.db = memory_database(case, self.clock)
        self.failed_jobs = FailedJobs(case)
        self.sessions = SessionStore(self.db)
        self.greeted: list[str] = []
        self.named: list[Optional[str]] = []
        self.addresses: list[str] = []
        self.counted: list[NewAccount] = []

    def process(
        self,
        at: AtPoint = passing,
        planners: Optional[IJobPlanner] = None,
        handlers: Optional[Mapping[str, Handler]] = None,
    ) -> tuple[EmbeddedWriter, JobRunner]:
        """A new process: its writer, whose parts pass ``at``, and the runner of its jobs. If
        ``planners`` is None, they are Greetings; ``handlers`` are added to theirs."""
        planners, held = planners or Greetings(), HeldJobs()
        writer = EmbeddedWriter(
            accounts=Watched(self.accounts, at),
            devices=Watched(self.devices, at),
            logins=logins(self.clock),
            planners=planners,
            embedded_accounts=Watched(EmbeddedAccountStore(self.db), at),
            post_registration=self.post_registration(planners, held.put),
            start_jobs=held.put,
            deactivation=self.deactivation(held.put),
            on_created=(self.counted.append,),
            accounts_have_devices=self.with_devices,
        )
        runner = JobRunner(
            JobStore(self.db),
            self.clock,
            handlers={"greet": self._greet, RECOVERY: writer.recover, **(handlers or {})},
            held=held,
        )
        return writer, runner

    def post_registration(
        self, planners: IJobPlanner, start_jobs: Callable[[Sequence[NewJob]], None]
    ) -> PostRegistration:
        return post_registration(
            self.db,
            self.clock,
            accounts=self.accounts,
            auth=self.auth,
            planners=planners,
            start_jobs=start_jobs,
            owners=MemoryThreepids(self.accounts),
        )

    def deactivation(self, start_jobs: Callable[[Sequence[NewJob]], None]) -> Deactivation:
        jobs = JobStore(self.db)
        addresses = ThreepidWriter(
            store=EmbeddedThreepids(store=MemoryThreepids(self.accounts), jobs=jobs),
            dedup_keys=jobs,
            start_jobs=start_jobs,
            clock=self.clock,
        )
        return Deactivation([addresses, self.sessions])

    async def recover(self) -> None:
        """A new process takes over the jobs of the others, now that their leases are over."""
        self.clock.advance(LATER_S)
        await run_due(self.process()[1])

    async def rows(self, sql: str) -> Sequence[Any]:
        """Rows of our tables."""
        return [tuple(row) for row in await self.db.autocommit("test", lambda txn: txn.all(sql))]

    async def begin(self) -> None:
        """Store the session whose registrations ``new_account`` makes."""
        await self.sessions.add(session("session", expires_ms=END_MS), 1)

    def new_account(self, localpart: str = "alice", **more: Any) -> NewAccount:
        """The account of a request in that session: each time with another device, as in
        production."""
        request = DeviceRequest(wants_refresh_token=True)
        terms = logins(self.clock).terms(request, is_guest=more.get("is_guest", False))
        return new_account(
            "session",
            localpart,
            terms,
            **{
                "session_id": "session",
                "session_until_ms": END_MS,
                "created_ms": int(self.clock.seconds() * 1000),
                **more,
            },
        )

    async def _greet(self, job: Job) -> None:
        self.greeted.append(job.payload["user_id"])
        self.named.append(job.payload.get("display_name"))
        self.addresses += job.payload.get("addresses", [])
