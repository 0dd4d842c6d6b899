"""Our own half of an account that is made in an embedder's store."""

from __future__ import annotations

from typing import Optional, Sequence

import attr

from regsys.model import NewAccount
from regsys.model.accounts import Outcome
from regsys.model.jobs import NewJob
from regsys.storage import (
    audit,
    consents,
    idempotency_keys,
    jobs,
    name_holds,
    registration_tokens,
    server_state,
    sessions,
    validations,
)
from regsys.storage.database import Database, Transaction


@attr.define(eq=False)
class EmbeddedAccountStore:
    """Our own record of the accounts that an embedder's store holds (``EmbeddedWriter``)."""

    db: Database
    # True once this process has completed a real user: a later one is not the first.
    _has_real_users: bool = attr.field(init=False, default=False)

    async def claim(self, new: NewAccount, recovery: NewJob) -> Optional[Outcome]:
        """Claim ``new.key``, store the job that completes or releases it if this process dies, and
        hold a use of the registration token until then. Returns None if the key is claimed now,
        else the earlier outcome of the key, whose ``finished`` says whether it was completed. If it
        was not, the job's lease begins anew: the caller is about to try again.

        Raises InvalidRegistrationToken if no use is left, UsernameHeld if another UIA session holds
        the name."""
        return await self.db.transaction("reserve_outcome", _claim, new, recovery)

    async def complete(self, new: NewAccount, recovery_id: str) -> Optional[Sequence[NewJob]]:
        """The account exists: complete its key, count the use of its registration token, finish
        its session, and store its jobs with a lease of this process. Returns the stored jobs, as
        ``JobStore.begin`` does; None if the key was completed already: then nothing is changed."""
        may_be_first = new.is_real and not self._has_real_users
        completed = await self.db.transaction(
            "complete_key", _complete, new, recovery_id, may_be_first
        )
        self._has_real_users |= may_be_first
        return completed

    async def release(self, new: NewAccount, recovery_id: str) -> None:
        """The embedder's store refused the account: release its key and its use of a token."""
        await self.db.transaction("release_key", _release, new, recovery_id)


def _claim(txn: Transaction, new: NewAccount, recovery: NewJob) -> Optional[Outcome]:
    earlier = idempotency_keys.claim(txn, new, finished=False)
    if earlier is None:
        name_holds.check(txn, new)
        registration_tokens.hold(txn, new)
        jobs.insert_held(txn, (recovery,), new.created_ms)
    elif not earlier.finished:
        jobs.hold_again(txn, recovery.job_id, new.created_ms)
    return earlier


def _complete(
    txn: Transaction, new: NewAccount, recovery_id: str, may_be_first: bool
) -> Optional[Sequence[NewJob]]:
    # The key comes first, as in the other transactions: concurrent calls wait for each other here.
    completed = idempotency_keys.complete(txn, new)
    txn.run("DELETE FROM jobs WHERE job_id = ?", (recovery_id,))
    if not completed:
        return None
    registration_tokens.use_held(txn, new)
    validations.use(txn, new)
    consents.record(txn, new.user_id, new.consents, new.created_ms)
    if may_be_first:
        server_state.note_real_user(txn, new)
    sessions.finish(txn, new)
    audit.record_account(txn, new)
    return jobs.insert_held(txn, new.jobs, new.created_ms)


def _release(txn: Transaction, new: NewAccount, recovery_id: str) -> None:
    txn.run("DELETE FROM outcomes WHERE key = ? AND NOT finished", (new.key,))
    registration_tokens.release(txn, new)
    txn.run("DELETE FROM jobs WHERE job_id = ?", (recovery_id,))
