"""The writer of the auth service of a homeserver: an account is whole on both sides, or absent.

1. The account's transaction is ours alone, and decides about its name, addresses and token. It
   writes that the homeserver does not know the account, and one job instead of the account's own.
2. The homeserver makes the user and the device (``accounts/provisioning.py``).
3. A second transaction deletes what says that it does not know them, and writes the account's own
   jobs. Only then the client has its answer.

If the name is somebody's there, a transaction undoes the first. A process that dies in between
leaves the job, which goes on at 2; so does the client's next request, with the same key. One of
them at a time (``accounts/provisioning_attempts.py``): the first attempt begins with the account.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.accounts.earlier_accounts import EarlierAccounts
from regsys.accounts.provisioning import HomeserverUsers, Provisioner
from regsys.accounts.provisioning_attempts import PROVISION_EARLIER, Attempts, Begun
from regsys.accounts.writer import LocalWriter, OnCreated
from regsys.errors import (
    GuestsNotWelcome,
    HomeserverUnavailable,
    RegistrationError,
    Unavailable,
    UsernameTaken,
    UserNotFound,
)
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import Created, Login, NewAccount, NewDevice, Secret, UserID
from regsys.model.account_json import Issue, account_json, parse_account
from regsys.model.accounts import Outcome
from regsys.model.jobs import Job, NewJob
from regsys.model.provisioning import Attempt
from regsys.model.replication import ReplicationCall
from regsys.model.token_text import token_hash
from regsys.storage.provisioning import PROVISION_ACCOUNT, ProvisioningStore
from regsys.storage.users import UserStore

log = Logger()


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class DelegatedWriter:
    """``local`` writes, and starts no jobs: those of an account begin when it is provisioned.
    ``on_created``: as LocalWriter's."""

    local: LocalWriter
    accounts: UserStore
    homeserver: HomeserverUsers
    provisioner: Provisioner
    attempts: Attempts
    earlier: EarlierAccounts
    pending: ProvisioningStore
    issue: Issue
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime
    on_created: Sequence[OnCreated] = ()

    async def create_account(self, new: NewAccount) -> Created:
        if new.is_guest or new.upgrades_guest:
            # The homeserver's auth service cannot make guests there.
            raise GuestsNotWelcome()
        job = _job(new)
        created = await self.local.create_account(attr.evolve(new, jobs=(job,)))
        if created.replayed:
            await self._repeat(created.user_id)
            return created
        try:
            await self._provision(new, Attempt.first(new.user_id, job.job_id, new.created_ms))
        except Unavailable:
            self.start_jobs((job,))
            raise
        return created

    async def repeat(self, outcome: Outcome) -> Created:
        await self._repeat(outcome.user_id)
        return await self.local.repeat(outcome)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        await self._finish_earlier(user_id)
        return await self.local.register_device(user_id, device)

    async def post_registration_actions(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        await self.local.post_registration_actions(user_id, auth_result, access_token)

    async def deactivate(self, user_id: UserID, erase: bool = False) -> bool:
        return await self.local.deactivate(user_id, erase)

    async def recover(self, job: Job) -> None:
        """The handler of PROVISION_ACCOUNT jobs."""
        new = _account(job.payload, self.issue)
        user = await self.accounts.find(new.user_id.localpart)
        if user is None:
            return
        if user.deactivated:
            await self._complete(attr.evolve(new, jobs=()), job.job_id)
            return
        try:
            await self._finish_earlier(new.user_id)
        except Unavailable:
            raise
        except UserNotFound:
            return  # another call has undone it just now
        except RegistrationError as refusal:
            log.warn(
                "{user_id} is undone: the homeserver cannot have it: {error}",
                user_id=str(new.user_id),
                error=refusal.text,
            )

    async def _repeat(self, user_id: UserID) -> None:
        try:
            await self._finish_earlier(user_id)
        except UserNotFound:
            # Another call has undone it since its outcome was read.
            raise UsernameTaken() from None

    async def _finish_earlier(self, user_id: UserID) -> None:
        """Provision an account that an earlier call has written and not finished, or that is from
        before. UserNotFound if there is none."""
        begun = await self.attempts.begin(user_id)
        if begun is not None:
            await self._go_on(begun)

    async def _go_on(self, begun: Begun) -> None:
        if begun.job.kind == PROVISION_EARLIER:
            await self.earlier.make(begun)
        else:
            await self._provision(_account(begun.job.payload, self.issue), begun.attempt)

    async def _provision(self, new: NewAccount, attempt: Attempt) -> None:
        """Raises what Provisioner.account raises; the account is then undone, unless that was
        Unavailable."""
        try:
            await self.provisioner.account(
                attempt,
                shadow_banned=new.shadow_banned,
                user_type=new.user_type,
                suspended=new.suspended,
                add_devices=lambda: self._add_device(new),
            )
        except Unavailable:
            raise
        except RegistrationError:
            if not await self.accounts.undo(new, attempt, clock.now_ms(self.clock)):
                raise HomeserverUnavailable(f"another call makes {new.user_id}") from None
            raise
        await self._complete(new, attempt.job_id)

    async def _add_device(self, new: NewAccount) -> None:
        if new.device is None:
            return
        device, name = new.device.login.device_id, new.device.display_name
        if not await self.homeserver.upsert_device(new.user_id, device, name):
            raise HomeserverUnavailable(f"it does not know {new.user_id}, whom it has made")

    async def _complete(self, new: NewAccount, job_id: str) -> None:
        now_ms = clock.now_ms(self.clock)
        jobs = await self.pending.complete(new.user_id, job_id, new.jobs, now_ms)
        if jobs is None:
            return  # another call has completed it
        if jobs:
            self.start_jobs(jobs)
        for created in self.on_created:
            created(new)


def _job(new: NewAccount) -> NewJob:
    """The job that goes on with this account. It holds the account's own jobs."""
    # Operators see a job's id. The key may be a UIA session's id, which is a secret.
    payload = {name: value for name, value in account_json(new).items() if name != "password_hash"}
    payload["call"] = None if new.call is None else attr.asdict(new.call)
    return NewJob(
        kind=PROVISION_ACCOUNT, payload=payload, job_id=f"provision-{token_hash(new.key)}"
    )


def _account(payload: Mapping[str, Any], issue: Issue) -> NewAccount:
    new = parse_account(payload, issue)
    call = payload.get("call")
    return new if call is None else attr.evolve(new, call=ReplicationCall(**call))
