"""The writer of the auth service of a homeserver: an account is whole on both sides, or absent.

1. The account's transaction is ours alone, and decides about its name, addresses and token. It
   writes that the homeserver does not know the account, and one job instead of the account's own.
2. The homeserver makes the user and the device (``accounts/provisioning.py``).
3. A second transaction deletes what says that it does not know them, and writes the account's own
   jobs. Only then the client has its answer.

If the name is somebody's there, a transaction undoes the first. A process that dies in between
leaves the job, which goes on at 2; so does the client's next request, with the same key.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.accounts.provisioning import Provisioner
from regsys.accounts.writer import LocalWriter, OnCreated
from regsys.errors import Forbidden, RegistrationError, Unavailable, UsernameTaken, UserNotFound
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import Created, Login, NewAccount, NewDevice, Secret, UserID
from regsys.model.account_json import Issue, account_json, parse_account
from regsys.model.accounts import Outcome
from regsys.model.jobs import Job, NewJob
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
    provisioner: Provisioner
    pending: ProvisioningStore
    issue: Issue
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime
    on_created: Sequence[OnCreated] = ()

    async def create_account(self, new: NewAccount) -> Created:
        if new.is_guest or new.upgrades_guest:
            # The homeserver's auth service cannot make guests there.
            raise Forbidden("Guests are not welcome on this server.")
        job = _job(new)
        created = await self.local.create_account(attr.evolve(new, jobs=(job,)))
        if created.replayed:
            await self._repeat(created.user_id)
            return created
        try:
            await self._provision(new, job.job_id)
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
            await self._provision(new, job.job_id)
        except Unavailable:
            raise
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
        """Provision an account that an earlier call has written and not finished. UserNotFound if
        there is none."""
        waiting = await self.pending.pending(user_id)
        if waiting is not None:
            await self._provision(_account(waiting.payload, self.issue), waiting.job_id)

    async def _provision(self, new: NewAccount, job_id: str) -> None:
        """Raises what Provisioner.account raises; the account is then undone, unless that was
        Unavailable."""
        try:
            await self.provisioner.account(new)
        except Unavailable:
            raise
        except RegistrationError:
            await self.accounts.undo(new, job_id, clock.now_ms(self.clock))
            raise
        await self._complete(new, job_id)

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
