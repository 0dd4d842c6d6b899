"""Email addresses of accounts at the homeserver whose auth service this is (contract B17.4)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Protocol, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import HomeserverUnavailable
from regsys.interfaces import IThreepidStore
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, UserID
from regsys.model.canonical_threepids import EMAIL
from regsys.model.jobs import Job, NewJob
from regsys.storage.jobs import JobStore
from regsys.storage.provisioning import ProvisioningStore

SEND_EMAILS = "send_emails"
# How often a job begins again because the addresses have changed under its hands.
ROUNDS = 5

log = Logger()


class EmailsThere(Protocol):
    """``outbound/synapse.py``."""

    async def query_user(self, user_id: UserID) -> Optional[Mapping[str, Any]]: ...

    async def set_emails(self, user_id: UserID, addresses: Sequence[str]) -> None: ...


class EmailOwners(Protocol):
    """``outbound/synapse_admin.py``."""

    async def emails(self, user_id: UserID) -> Sequence[str]: ...

    async def email_owner(self, acting: UserID, address: str) -> Optional[UserID]: ...


def emails_changed(user_id: UserID, medium: str) -> Sequence[NewJob]:
    """The job that follows a change of the user's addresses."""
    if medium != EMAIL:
        return ()
    return (NewJob(kind=SEND_EMAILS, payload={"user_id": str(user_id)}),)


@implementer(IJobPlanner)
@attr.frozen(kw_only=True)
class HomeserverEmails:
    """Gives the homeserver all addresses that the account has when the job runs. It would take an
    address away from whoever else has it there. If that is an account of ours, which no longer has
    it here, it may; else the address is left out, though it is this account's by our own key, and
    the log says so."""

    homeserver: EmailsThere
    admin: EmailOwners
    owners: IThreepidStore
    known: ProvisioningStore
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        media = {item.medium for item in new.threepids}
        return emails_changed(new.user_id, EMAIL) if EMAIL in media else ()

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of SEND_EMAILS jobs."""
        user_id = UserID.parse(job.payload["user_id"])
        there = await self.homeserver.query_user(user_id)
        if there is None or there.get("is_deactivated"):
            return  # sending would make the user
        for _ in range(ROUNDS):
            addresses = await self._here(user_id)
            await self._send(user_id, addresses)
            # Another job may have sent later ones meanwhile.
            if await self._here(user_id) == addresses:
                return
        raise HomeserverUnavailable(f"the addresses of {user_id} do not stay the same")

    async def _send(self, user_id: UserID, addresses: Sequence[str]) -> None:
        there = await self.admin.emails(user_id)
        free = [item for item in addresses if await self._may_send(user_id, item)]
        if set(free) == set(there):
            return
        # A late call of another job may have given this account an address that is somebody else's
        # by now. It is taken away below, and then goes to whose it is.
        others = await self._owners([item for item in there if item not in addresses], user_id)
        jobs = [job for owner in others for job in emails_changed(owner, EMAIL)]
        written = await self.jobs.begin(jobs, clock.now_ms(self.clock)) if jobs else ()
        await self.homeserver.set_emails(user_id, free)
        if written:
            self.start_jobs(written)

    async def _owners(self, addresses: Sequence[str], but: UserID) -> Sequence[UserID]:
        """Those to whom these addresses belong here."""
        found = {await self.owners.owner_of(EMAIL, address) for address in addresses}
        return sorted(owner for owner in found if owner not in (None, but))

    async def _here(self, user_id: UserID) -> Sequence[str]:
        found = await self.owners.of_user(user_id)
        return sorted(item.address for item in found if item.medium == EMAIL)

    async def _may_send(self, user_id: UserID, address: str) -> bool:
        owner = await self.admin.email_owner(user_id, address)
        if owner in (None, user_id) or await self.known.is_at_homeserver(owner):
            return True
        log.error(
            "an address of {user_id} is {owner}'s at the homeserver, and stays there",
            user_id=str(user_id),
            owner=str(owner),
        )
        return False
