"""Creates accounts in an embedder's store and device list: each whole or absent all the same.

Two systems cannot share a transaction, so the steps are each idempotent under the account's
key, and our own record of the key brackets them:

1. ``claim``: note the key, and a recovery job that ends the matter should we die.
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

from regsys.accounts.post_registration import PostRegistration
from regsys.credentials.access_tokens import Logins
from regsys.errors import RegistrationError, Unavailable, UserNotFound
from regsys.interfaces import IAccountStore, IDevices, IJobPlanner, IRegistrationWriter
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
    Threepid,
    UserID,
)
from regsys.model.token_text import token_hash
from regsys.storage.embedded_accounts import EmbeddedAccountStore

RECOVERY = "finish_registration"


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class EmbeddedWriter:
    """Over an embedder's store and devices, with our own record of outcomes beside them.
    ``recovered`` is told of each account that a recovery has finished, as nobody awaits it."""

    accounts: IAccountStore
    devices: IDevices
    logins: Logins
    planners: IJobPlanner
    embedded_accounts: EmbeddedAccountStore
    post_registration: PostRegistration
    start_jobs: Callable[[Sequence[NewJob]], None]
    recovered: Callable[[NewAccount], None]

    async def create_account(self, new: NewAccount) -> Created:
        # Operators see a job's id, and the key may be a session's, which nobody else may know.
        job_id = f"finish-{token_hash(new.key)}"
        recovery = NewJob(kind=RECOVERY, payload=_intent(new), job_id=job_id)
        earlier = await self.embedded_accounts.claim(new, recovery)
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
            await self.embedded_accounts.release(new, recovery.job_id)
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
        return await self.devices.register(user_id, device)

    async def after_registration(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        await self.post_registration.after_registration(user_id, auth_result, access_token)

    async def after_consent(self, user_id: UserID) -> None:
        await self.post_registration.after_consent(user_id)

    async def recover(self, job: Job) -> None:
        """The handler of RECOVERY jobs: bring what a dead process had begun to its end."""
        new = self._begun(job.payload)
        made = await self.accounts.outcome(new.key)
        if made is None:
            await self.embedded_accounts.release(new, job.job_id)
            return
        try:
            created = await self._finish(new, made, job.job_id)
        except UserNotFound:
            # Deactivated since: there is no end that it could be brought to.
            await self.embedded_accounts.release(new, job.job_id)
        else:
            if not created.replayed:
                self.recovered(new)

    async def _finish(self, new: NewAccount, made: Outcome, recovery_id: str) -> Created:
        if made.user_id != new.user_id:
            # Before a crash the store had made this key's account under another name.
            new = self._as(new, made.user_id, new.device.login.terms if new.device else None)
        login = None
        if new.device is not None:
            login = await self.devices.register(new.user_id, new.device)
        jobs = await self.embedded_accounts.complete(new, recovery_id)
        if jobs is not None:
            self.start_jobs(jobs)
        # One caller completes the key, and has made the account: the store may have had its part
        # from before.
        return Created(user_id=new.user_id, login=login, replayed=jobs is None)

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

    def _begun(self, intent: Mapping[str, Any]) -> NewAccount:
        """The account that ``_intent`` has remembered."""
        user_id, device = UserID.parse(intent["user_id"]), None
        if intent["device"] is not None:
            terms = LoginTerms(**intent["terms"])
            login = self.logins.issue(user_id, terms, intent["key"])
            device = NewDevice(login=login, **intent["device"])
        remembered = {name: intent[name] for name in _REMEMBERED if name in intent}
        threepids = tuple(Threepid(*item) for item in intent.get("threepids", ()))
        new = NewAccount(user_id=user_id, device=device, threepids=threepids, **remembered)
        return self._with_jobs(new)

    def _with_jobs(self, new: NewAccount) -> NewAccount:
        return attr.evolve(new, jobs=tuple(self.planners.jobs_for(new)))


# What a recovery must know of an account that the store may have made: no secret of the user's
# is in it.
_REMEMBERED = (
    "key",
    "created_ms",
    "is_guest",
    "upgrades_guest",
    "user_type",
    "shadow_banned",
    "appservice_id",
    "is_ghost",
    "auth_provider_id",
    "display_name",
    "vouched_emails",
    "registration_token",
    "consents",
    "session_id",
    "session_until_ms",
)
_OF_DEVICE = (
    "display_name",
    "is_appservice_ghost",
    "auth_provider_id",
    "auth_provider_session_id",
)


def _intent(new: NewAccount) -> Mapping[str, Any]:
    device = new.device
    return {
        **{name: getattr(new, name) for name in _REMEMBERED},
        "user_id": str(new.user_id),
        "threepids": [attr.astuple(item) for item in new.threepids],
        "terms": None if device is None else attr.asdict(device.login.terms),
        "device": None if device is None else {name: getattr(device, name) for name in _OF_DEVICE},
    }
