"""The writer over an embedder's store and device list: an account is whole or absent there, too.

Two systems cannot share a transaction, so each step is idempotent under the account's key, and our
own record of the key is written before and after them:

1. ``claim`` writes the key, with a recovery job in case this process dies or the store fails.
2. The homeserver's store makes the account, its device list the device. A store that has the
   devices makes both at once (IAccountStoreWithDevices).
3. ``complete`` records the outcome, finishes the session and writes the account's jobs.

A client that repeats the request repeats the steps with the same key. If no request comes, the
recovery job finishes an account that exists and releases the key of one that does not.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.accounts.writer import StoresWriter
from regsys.errors import RegistrationError, Unavailable, UserNotFound
from regsys.interfaces import IAccountStore
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import Created, LoginTerms, NewAccount, NewDevice, UserID
from regsys.model.account_json import account_json, parse_account
from regsys.model.accounts import Outcome
from regsys.model.jobs import Job, NewJob
from regsys.model.token_text import token_hash
from regsys.storage.embedded_accounts import EmbeddedAccountStore

RECOVERY = "finish_registration"


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class EmbeddedWriter(StoresWriter):
    """``embedded_accounts`` is our own record of the keys. ``accounts_have_devices``: ``accounts``
    is an IAccountStoreWithDevices, which has written the device of an account that it has made."""

    accounts: IAccountStore
    planners: IJobPlanner
    embedded_accounts: EmbeddedAccountStore
    accounts_have_devices: bool = False

    async def create_account(self, new: NewAccount) -> Created:
        # Operators see a job's id. The key may be a UIA session's id, which is a secret.
        job_id = f"finish-{token_hash(new.key)}"
        recovery = NewJob(kind=RECOVERY, payload=recovery_payload(new), job_id=job_id)
        earlier = await self.embedded_accounts.claim(new, recovery)
        if earlier is not None:
            if earlier.finished:
                return await self.repeat(earlier)
            new = self._replanned(new, new.user_id, earlier.terms)
        try:
            made = await self.accounts.create_account(new)
        except Unavailable:
            # The account may have been made: the recovery job will ask the store.
            raise
        except RegistrationError:
            await self.embedded_accounts.release(new, recovery.job_id)
            raise
        return await self._finish(new, made, recovery.job_id)

    async def repeat(self, outcome: Outcome) -> Created:
        login = None
        if outcome.terms is not None:
            login = self.logins.issue(outcome.user_id, outcome.terms, outcome.key)
            if not self.accounts_have_devices:
                # A homeserver that makes its own tokens is asked for the same ones again.
                login = await self.devices.register(outcome.user_id, NewDevice(login=login))
        return Created(user_id=outcome.user_id, login=login, replayed=True)

    async def recover(self, job: Job) -> None:
        """The handler of RECOVERY jobs: finish or release what a request has begun."""
        new = self._with_jobs(parse_account(job.payload, self.logins.issue))
        made = await self.accounts.made_by(new.key)
        if made is None:
            await self.embedded_accounts.release(new, job.job_id)
            return
        try:
            await self._finish(new, made, job.job_id)
        except UserNotFound:
            # The account was deactivated meanwhile: there is nothing left to finish.
            await self.embedded_accounts.release(new, job.job_id)

    async def _finish(self, new: NewAccount, made: UserID, recovery_id: str) -> Created:
        if made != new.user_id:
            # Before a crash the store made this key's account under another name.
            terms = new.device.login.terms if new.device else None
            new = self._replanned(new, made, terms)
        login = None
        if new.device is not None:
            login = new.device.login
            if not self.accounts_have_devices:
                login = await self.devices.register(new.user_id, new.device)
        jobs = await self.embedded_accounts.complete(new, recovery_id)
        # Exactly one caller completes the key: it counts as the one that has made the account,
        # though the store may have made its part earlier.
        if jobs is None:
            return Created(user_id=new.user_id, login=login, replayed=True)
        self.start_jobs(jobs)
        for created in self.on_created:
            created(new)
        return Created(user_id=new.user_id, login=login)

    def _replanned(
        self, new: NewAccount, user_id: UserID, terms: Optional[LoginTerms]
    ) -> NewAccount:
        """``new`` for this user and these terms, with matching tokens, display name and jobs."""
        device = None
        if terms is not None:
            login = self.logins.issue(user_id, terms, new.key)
            device = attr.evolve(new.device or NewDevice(login=login), login=login)
        display_name = new.display_name
        if display_name == new.user_id.localpart:
            display_name = user_id.localpart
        return self._with_jobs(
            attr.evolve(new, user_id=user_id, device=device, display_name=display_name)
        )

    def _with_jobs(self, new: NewAccount) -> NewAccount:
        return attr.evolve(new, jobs=tuple(self.planners.jobs_for(new)))


# A recovery finds the account made and plans its jobs anew. What it does not need is not stored.
_NOT_STORED = frozenset({"password_hash", "jobs", "yields_to_holds"})


def recovery_payload(new: NewAccount) -> Mapping[str, Any]:
    return {name: value for name, value in account_json(new).items() if name not in _NOT_STORED}
