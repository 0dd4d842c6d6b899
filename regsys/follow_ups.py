"""Which jobs an account brings with it, and what tells the user directory of new profiles."""

from __future__ import annotations

from typing import Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IFollowUps, IUserDirectory
from regsys.model import Job, NewAccount, NewJob, UserID

TELL_DIRECTORY = "tell_user_directory"


@implementer(IFollowUps)
@attr.frozen
class FollowUps:
    """What each of ``parts`` brings, in their order. Every capability that has something to do
    after a registration is one of them, and carries its own kind of job out."""

    parts: Sequence[IFollowUps] = ()

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        return [job for part in self.parts for job in part.jobs_for(new)]

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return [job for part in self.parts for job in part.jobs_after_consent(user_id)]


@implementer(IFollowUps)
@attr.frozen
class DirectoryNotice:
    """The user directory learns of every new profile (BEHAVIOUR B2.7); unless ``of_ghosts``,
    not of the users in application services' exclusive namespaces."""

    directory: IUserDirectory
    of_ghosts: bool = True

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if new.display_name is None or not (self.of_ghosts or new.appservice_id is None):
            return ()
        payload = {"user_id": str(new.user_id), "display_name": new.display_name}
        return (NewJob(kind=TELL_DIRECTORY, payload=payload),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of TELL_DIRECTORY jobs."""
        user_id = UserID.parse(job.payload["user_id"])
        await self.directory.profile_created(user_id, job.payload["display_name"])
