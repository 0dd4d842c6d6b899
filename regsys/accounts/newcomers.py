"""Newcomers who are suspended at the homeserver whose auth service this is (contract B17.7): they
log in, set up their keys and read, and cannot speak. Here is what releases them."""

from __future__ import annotations

from typing import Callable, Optional, Protocol, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.accounts.auto_join import AutoJoinPlanner
from regsys.audit.audit_log import AuditLog
from regsys.config.newcomers import NewcomersConfig
from regsys.consent import Consents
from regsys.errors import UserNotFound
from regsys.interfaces.internal import IExpiring
from regsys.jobs import NotYet
from regsys.model import UserID
from regsys.model.jobs import Job, NewJob
from regsys.storage.newcomers import NewcomerStore, release_job
from regsys.storage.provisioning import ProvisioningStore

# How soon it is looked again whether the homeserver knows an account.
KNOWN_S = 2.0

log = Logger()


class Suspension(Protocol):
    """``outbound/synapse_admin.py``."""

    async def suspend(self, user_id: UserID, suspended: bool) -> None: ...


@implementer(IExpiring)
@attr.frozen(kw_only=True)
class Newcomers:
    """``config``: who is suspended, and until when; if it is None, nobody is from now on, and all
    who are, are released. ``rooms`` plans the rooms that they join then; None if there are none.
    """

    config: Optional[NewcomersConfig]
    store: NewcomerStore
    homeserver: Suspension
    pending: ProvisioningStore
    consents: Consents
    rooms: Optional[AutoJoinPlanner]
    start_jobs: Callable[[Sequence[NewJob]], None]
    audit: AuditLog
    clock: IReactorTime

    async def release(self, user_id: UserID, by: str) -> bool:
        """Let this newcomer speak. False if they are not suspended by us. It is a job, which has
        only begun when this returns. ``by``: the administrator's user ID, or CLI. Idempotent."""
        entries = self.audit.entries(by=by, what="released", user_id=user_id)
        begun = await self.store.begin_release(user_id, clock.now_ms(self.clock), entries)
        if begun:
            self.start_jobs(begun)
        return bool(begun)

    def jobs_with_address(self, user_id: UserID) -> Sequence[NewJob]:
        """The jobs that an address brings which the user has validated."""
        releases = self.config is not None and self.config.or_with_address
        return (release_job(user_id),) if releases else ()

    async def run(self, job: Job) -> None:
        """The handler of RELEASE_NEWCOMER jobs. A user whom somebody else has suspended stays
        so."""
        user_id = UserID.parse(job.payload["user_id"])
        if not await self.store.is_suspended(user_id):
            return
        try:
            if await self.pending.pending(user_id) is not None:
                # An attempt that makes the account there would suspend it afterwards.
                raise NotYet(KNOWN_S)
        except UserNotFound:
            return
        await self.homeserver.suspend(user_id, False)
        jobs: Sequence[NewJob] = ()
        if self.rooms is not None and await self.consents.has_accepted_required(user_id):
            jobs = self.rooms.jobs_after_release(user_id)
        written = await self.store.released(user_id, jobs, clock.now_ms(self.clock))
        if written:
            self.start_jobs(written)
        log.info("{user_id} is no longer suspended", user_id=str(user_id))

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        """Begin to release those whose time has come."""
        after_ms = 0 if self.config is None else self.config.after_ms
        if after_ms is None:
            return 0
        return await self.store.release_older(now_ms - after_ms, at_most, now_ms)
