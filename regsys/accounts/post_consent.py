"""The jobs that wait until a user has accepted the policies."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.consent import Consents
from regsys.interfaces.internal import IJobPlanner
from regsys.jobs import NotYet
from regsys.model import UserID
from regsys.model.jobs import Job, NewJob
from regsys.storage.jobs import JobStore

# How often it is looked whether a newcomer has been released, who has accepted before.
SUSPENDED_S = 900.0


@attr.frozen(kw_only=True)
class PostConsent:
    """Begins them (contract B6.3). ``is_suspended``: whether the user cannot act at the homeserver
    yet; None if nobody is suspended."""

    consents: Consents
    planners: IJobPlanner
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime
    is_suspended: Optional[Callable[[UserID], Awaitable[bool]]] = None

    async def post_consent_actions(self, user_id: UserID) -> None:
        """Begin what has waited for this user's consent. Idempotent."""
        jobs = self.planners.jobs_after_consent(user_id)
        if jobs:
            self.start_jobs(await self.jobs.begin(jobs, clock.now_ms(self.clock)))

    async def run(self, job: Job) -> None:
        """The handler of AFTER_CONSENT jobs. While the user still lacks a policy that newcomers
        must accept it does nothing: a later consent brings another such job."""
        user_id = UserID.parse(job.payload["user_id"])
        if await self.consents.has_accepted_required(user_id):
            if self.is_suspended is not None and await self.is_suspended(user_id):
                raise NotYet(SUSPENDED_S)
            await self.post_consent_actions(user_id)
