"""Making an account in somebody else's store and device list: whole or absent all the same.

Two systems cannot share a transaction, so the steps are each idempotent under the account's
key, and our own record of the key brackets them:

1. ``reserve``: note the key, and a recovery job that ends the matter should we die.
2. the homeserver's store makes the account, its device list the device.
3. ``settle``: the outcome stands, the session is finished, the account's jobs start.

A client that repeats the request walks the same steps with the same key; one that never
comes back leaves it to the recovery job, which finishes an account that exists and forgets
one that doesn't.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import RegistrationError, Unavailable
from regsys.interfaces import (
    IAccountStore,
    IDevices,
    IFollowUps,
    ILogins,
    IOutcomeStore,
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
    UserID,
)

RECOVERY = "finish_registration"


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class ForeignWriter:
    """Over an embedder's store and devices, with our own record of outcomes beside them."""

    accounts: IAccountStore
    devices: IDevices
    logins: ILogins
    follow_ups: IFollowUps
    outcomes: IOutcomeStore
    start_jobs: Callable[[Sequence[NewJob]], None]

    async def create_account(self, new: NewAccount) -> Created:
        recovery = NewJob(kind=RECOVERY, payload=_intent(new), job_id=f"finish {new.key}")
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
            await self.outcomes.withdraw(new.key, recovery.job_id)
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

    async def recover(self, job: Job) -> None:
        """The handler of RECOVERY jobs: bring what a dead process had begun to its end."""
        new, terms = _from_intent(job.payload)
        made = await self.accounts.outcome(new.key)
        if made is None:
            await self.outcomes.withdraw(new.key, job.job_id)
        else:
            await self._finish(self._as(new, new.user_id, terms), made, job.job_id)

    async def _finish(self, new: NewAccount, made: Outcome, recovery_id: str) -> Created:
        if made.user_id != new.user_id:
            # Before a crash the store had made this key's account under another name.
            new = self._as(new, made.user_id, new.device.login.terms if new.device else None)
        login = None
        if new.device is not None:
            login = await self.devices.register(new.user_id, new.device)
        await self.outcomes.settle(new, recovery_id)
        self.start_jobs(new.jobs)
        return Created(user_id=new.user_id, login=login, replayed=made.replayed)

    def _as(self, new: NewAccount, user_id: UserID, terms: Optional[LoginTerms]) -> NewAccount:
        """``new`` for this user and these terms: tokens, names and jobs to match."""
        device = None
        if terms is not None:
            login = self.logins.issue(user_id, terms, new.key)
            device = attr.evolve(new.device or NewDevice(login=login), login=login)
        named = new.display_name
        if named == new.user_id.localpart:
            named = user_id.localpart
        new = attr.evolve(new, user_id=user_id, device=device, display_name=named)
        return attr.evolve(new, jobs=tuple(self.follow_ups.jobs_for(new)))


# What a recovery must know of an account that the store may have made: no secret is in it.
_REMEMBERED = ("key", "created_ms", "is_guest", "display_name", "session_id", "session_until_ms")


def _intent(new: NewAccount) -> Mapping[str, Any]:
    return {
        **{name: getattr(new, name) for name in _REMEMBERED},
        "user_id": str(new.user_id),
        "terms": attr.asdict(new.device.login.terms) if new.device else None,
    }


def _from_intent(intent: Mapping[str, Any]) -> tuple[NewAccount, Optional[LoginTerms]]:
    terms = intent["terms"]
    remembered = {name: intent[name] for name in _REMEMBERED}
    new = NewAccount(user_id=UserID.parse(intent["user_id"]), **remembered)
    return new, None if terms is None else LoginTerms(**terms)
