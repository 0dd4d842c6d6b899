"""The jobs that an account brings with it: the user directory is told, a pusher is added."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IPushers, IUserDirectory, IUserLookup
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, Pusher, UserID
from regsys.model.jobs import Job, NewJob

TELL_DIRECTORY = "tell_user_directory"
ADD_PUSHER = "add_email_pusher"


@implementer(IJobPlanner)
@attr.frozen(kw_only=True)
class JobPlanners:
    """Several as one, in their order: those of ``for_all``, then those of ``for_people``, which are
    not asked about accounts that an application service has made (contract B3.2)."""

    for_all: Sequence[IJobPlanner] = ()
    for_people: Sequence[IJobPlanner] = ()

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        asked = self.for_all if new.is_ghost else (*self.for_all, *self.for_people)
        return [job for planner in asked for job in planner.jobs_for(new)]

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        asked = (*self.for_all, *self.for_people)
        return [job for planner in asked for job in planner.jobs_after_consent(user_id)]


@implementer(IJobPlanner)
@attr.frozen
class DirectoryNotice:
    """Tells the user directory of every new profile (contract B2.7).

    ``shown``: newcomers may be found there (``show_users_in_user_directory``). Unless
    ``of_ghosts``, it is not told of users in application services' exclusive namespaces. With
    ``knows_localparts`` it has every account already, with its localpart as display name. A job
    that runs late does not tell of a user whom ``users`` knows to be deactivated.
    """

    directory: IUserDirectory
    shown: bool = True
    of_ghosts: bool = True
    users: Optional[IUserLookup] = None
    knows_localparts: bool = False

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if new.display_name is None or not (self.of_ghosts or new.appservice_id is None):
            return ()
        if self.knows_localparts and self.shown and new.display_name == new.user_id.localpart:
            return ()
        payload = {"user_id": str(new.user_id), "display_name": new.display_name}
        return (NewJob(kind=TELL_DIRECTORY, payload=payload),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of TELL_DIRECTORY jobs."""
        user_id = UserID.parse(job.payload["user_id"])
        name = job.payload["display_name"]
        if self.users is not None and job.is_late:
            user = await self.users.find(user_id.localpart)
            if user is not None and user.deactivated:
                return
        await self.directory.profile_created(user_id, name, not self.shown)


@implementer(IJobPlanner)
@attr.frozen
class EmailPusher:
    """Adds an email pusher for each address that a user who is logged in has validated (contract
    B6.1)."""

    pushers: IPushers

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if new.device is None:
            return ()
        device_id, user_id = new.device.login.device_id, str(new.user_id)
        return [
            NewJob(
                kind=ADD_PUSHER,
                payload={"user_id": user_id, "device_id": device_id, "address": item.address},
                # The user may have removed the pusher since.
                dedup_key=f"{ADD_PUSHER} {user_id} {device_id} {item.address}",
            )
            for item in new.threepids
            if item.medium == "email" and item.address not in new.vouched_emails
        ]

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of ADD_PUSHER jobs."""
        address = job.payload["address"]
        await self.pushers.add(
            Pusher(
                user_id=UserID.parse(job.payload["user_id"]),
                device_id=job.payload["device_id"],
                kind="email",
                app_id="m.email",
                app_display_name="Email Notifications",
                device_display_name=address,
                pushkey=address,
            )
        )
