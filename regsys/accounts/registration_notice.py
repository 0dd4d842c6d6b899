"""Tells modules of each new account, by a job that is written in its transaction."""

from __future__ import annotations

from typing import Sequence

import attr
from zope.interface import implementer

from regsys.callbacks.registration import RegistrationNotices
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, UserID
from regsys.model.jobs import Job, NewJob

TELL_OF_ACCOUNT = "tell_of_account"


@implementer(IJobPlanner)
@attr.frozen
class RegistrationNotice:
    """Plans and runs these jobs; without callbacks there are none."""

    notices: RegistrationNotices

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if not self.notices.hooks:
            return ()
        user_id = str(new.user_id)
        # post_registration_actions plans for an account once more, and a guest may become a user.
        state = "guest" if new.is_guest else "user"
        dedup_key = f"{TELL_OF_ACCOUNT} {user_id} {state}"
        payload = {"user_id": user_id}
        return (NewJob(kind=TELL_OF_ACCOUNT, payload=payload, dedup_key=dedup_key),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of TELL_OF_ACCOUNT jobs."""
        await self.notices.tell(UserID.parse(job.payload["user_id"]))
