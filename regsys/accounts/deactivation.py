"""Asks each part in turn to delete what it keeps of a deactivated account; ``wiring/foundation.py``
has the list."""

from __future__ import annotations

from typing import Awaitable, Callable, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.errors import Unavailable
from regsys.interfaces.internal import IAccountData
from regsys.model import UserID
from regsys.model.jobs import Job, NewJob
from regsys.storage.jobs import JobStore
from regsys.storage.users import UserStore

FINISH_DEACTIVATION = "finish_deactivation"

log = Logger()


async def _nothing_bound(user_id: UserID) -> bool:
    return False


@attr.frozen
class Deactivation:
    """For a homeserver's accounts: each of ``parts`` deletes what it keeps, in this order, and at
    last ``unbind_all_of`` has the addresses unbound."""

    parts: Sequence[IAccountData]
    unbind_all_of: Callable[[UserID], Awaitable[bool]] = _nothing_bound

    async def deactivate(self, user_id: UserID, erase: bool = False) -> bool:
        """As IRegistrationWriter.deactivate."""
        for part in self.parts:
            await part.delete_for(user_id)
        return await self.unbind_all_of(user_id)


@attr.frozen(kw_only=True)
class OwnDeactivation:
    """For accounts that we keep. ``rest`` deletes what others keep.

    The first transaction ends all logins, and from then on nothing is added to the account. So its
    user could not ask again, and a job that is written with it finishes the rest if this process
    does not.
    """

    accounts: UserStore
    rest: Deactivation
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    async def deactivate(self, user_id: UserID, erase: bool = False) -> bool:
        """As IRegistrationWriter.deactivate."""
        job, now_ms = self.finishing(user_id, erase), clock.now_ms(self.clock)
        await self.accounts.deactivate(user_id, erase, (job,), now_ms)
        return await self.finish(job)

    def finishing(self, user_id: UserID, erase: bool = False) -> NewJob:
        """The job that finishes a deactivation; it is written with it."""
        payload = {"user_id": str(user_id), "erase": erase}
        return NewJob(kind=FINISH_DEACTIVATION, payload=payload)

    async def finish(self, job: NewJob) -> bool:
        """Finish the deactivation with which this job was written, by this process. Whether
        identity servers have unbound all that was bound, and something was."""
        user_id, erase = UserID.parse(job.payload["user_id"]), job.payload["erase"]
        log.info("deactivated {user_id} (erase={erase})", user_id=str(user_id), erase=erase)
        try:
            unbound = await self.rest.deactivate(user_id, erase)
        except Unavailable as error:
            log.warn(
                "the rest of the deactivation of {user_id} is left to a job: {reason}",
                user_id=str(user_id),
                reason=error.text,
            )
            self.start_jobs((job,))
            return False
        await self.jobs.finish(job.job_id)
        return unbound

    async def run(self, job: Job) -> None:
        """The handler of FINISH_DEACTIVATION jobs."""
        payload = job.payload
        await self.rest.deactivate(UserID.parse(payload["user_id"]), payload["erase"])
