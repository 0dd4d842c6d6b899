"""Creates accounts in an embedder's store and device list: each whole or absent all the same.

Two systems cannot share a transaction, so the steps are each idempotent under the account's
key, and our own record of the key brackets them:

1. ``reserve``: note the key, and a recovery job that ends the matter should we die.
2. the homeserver's store makes the account, its device list the device.
3. ``complete``: the outcome stands, the session is finished, the account's jobs start.

A client that repeats the request walks the same steps with the same key; one that never
comes back leaves it to the recovery job, which finishes an account that exists and forgets
one that doesn't.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.accounts.account_json import account_json, parse_account
from regsys.accounts.deactivation import Deactivation
from regsys.accounts.post_registration import PostRegistration
from regsys.accounts.writer import OnCreated, OnLoggedIn
from regsys.credentials.access_tokens import Logins
from regsys.errors import RegistrationError, Unavailable, UserNotFound
from regsys.interfaces import (
    IAccountStore,
    IDevices,
    IJobPlanner,
    IRegistrationWriter,
)
from regsys.model import (
    Created,
    Job,
    Login,
    LoginTerms,
    NewAccount,
    NewDevice,
    NewJob,
    Outcome,
    Secret,
    UserID,
)
from regsys.model.token_text import token_hash
from regsys.storage.embedded_accounts import EmbeddedAccountStore

RECOVERY = "finish_registration"


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class EmbeddedWriter:
    """Over an embedder's store and devices, with our own record of outcomes beside them."""

    accounts: IAccountStore
    devices: IDevices
    logins: Logins
    planners: IJobPlanner
    outcomes: EmbeddedAccountStore
    post_registration: PostRegistration
    deactivation: Deactivation
    start_jobs: Callable[[Sequence[NewJob]], None]
    on_created: Sequence[OnCreated] = ()
    on_logged_in: Sequence[OnLoggedIn] = ()

    async def create_account(self, new: NewAccount) -> Created:
        # Operators see a job's id, and the key may be a session's, which nobody else may know.
        job_id = f"finish-{token_hash(new.key)}"
        recovery = NewJob(kind=RECOVERY, payload=recovery_payload(new), job_id=job_id)
        earlier = await self.outcomes.reserve(new, recovery)
        if earlier is not None:
            if earlier.finished:
                return await self.repeat(earlier)
            new = self._as(new, new.user_id, earlier.terms)
        try:
            made = await self.accounts.create_account(new)
        except Unavailable:
            # Nobody knows whether it happened: the record stays, the recovery job will ask.
            raise
        except RegistrationError:
            await self.outcomes.release(new, recovery.job_id)
            raise
        return await self._finish(new, made, recovery.job_id)

    async def repeat(self, outcome: Outcome) -> Created:
        login = None
        if outcome.terms is not None:
            issued = self.logins.issue(outcome.user_id, outcome.terms, outcome.key)
            # A homeserver that mints its own tokens is asked for the same ones again.
            login = await self.devices.register(outcome.user_id, NewDevice(login=issued))
        return Created(user_id=outcome.user_id, login=login, replayed=True)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        login = await self.devices.register(user_id, device)
        for logged_in in self.on_logged_in:
            logged_in(user_id, attr.evolve(device, login=login))
        return login

    async def post_registration_actions(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        await self.post_registration.post_registration_actions(user_id, auth_result, access_token)

    async def deactivate(self, user_id: UserID) -> None:
        await self.deactivation.deactivate(user_id)

    async def recover(self, job: Job) -> None:
        """The handler of RECOVERY jobs: bring what a dead process had begun to its end."""
        new = self._with_jobs(parse_account(job.payload, self.logins.issue))
        made = await self.accounts.outcome(new.key)
        if made is None:
            await self.outcomes.release(new, job.job_id)
            return
        try:
            await self._finish(new, made, job.job_id)
        except UserNotFound:
            # The account was deactivated meanwhile: there is nothing left to finish.
            await self.outcomes.release(new, job.job_id)

    async def _finish(self, new: NewAccount, made: Outcome, recovery_id: str) -> Created:
        if made.user_id != new.user_id:
            # Before a crash the store had made this key's account under another name.
            new = self._as(new, made.user_id, new.device.login.terms if new.device else None)
        login = None
        if new.device is not None:
            login = await self.devices.register(new.user_id, new.device)
        jobs = await self.outcomes.complete(new, recovery_id)
        # Exactly one caller completes the key: it counts as the one that has made the account,
        # though the store may have made its part earlier.
        if jobs is None:
            return Created(user_id=new.user_id, login=login, replayed=True)
        self.start_jobs(jobs)
        for created in self.on_created:
            created(new)
        return Created(user_id=new.user_id, login=login)

    def _as(self, new: NewAccount, user_id: UserID, terms: Optional[LoginTerms]) -> NewAccount:
        """``new`` for this user and these terms: tokens, names and jobs to match."""
        device = None
        if terms is not None:
            login = self.logins.issue(user_id, terms, new.key)
            device = attr.evolve(new.device or NewDevice(login=login), login=login)
        named = new.display_name
        if named == new.user_id.localpart:
            named = user_id.localpart
        return self._with_jobs(attr.evolve(new, user_id=user_id, device=device, display_name=named))

    def _with_jobs(self, new: NewAccount) -> NewAccount:
        return attr.evolve(new, jobs=tuple(self.planners.jobs_for(new)))


# A recovery finds the account made and plans its jobs anew. What it does not need is not stored.
_NOT_STORED = frozenset({"password_hash", "admin", "approved", "jobs"})


def recovery_payload(new: NewAccount) -> Mapping[str, Any]:
    return {name: value for name, value in account_json(new).items() if name not in _NOT_STORED}
