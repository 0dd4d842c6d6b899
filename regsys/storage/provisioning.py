"""Accounts and devices that the homeserver whose auth service this is does not know yet."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.errors import UserNotFound
from regsys.model import NewAccount, UserID
from regsys.model.accounts import CLOCKS_APART_MS
from regsys.model.devices import StoredLogin
from regsys.model.jobs import NewJob
from regsys.model.provisioning import Attempt
from regsys.storage import (
    audit,
    devices,
    jobs,
    logins,
    registration_tokens,
    replication_calls,
    server_state,
    sessions,
    validations,
)
from regsys.storage.database import Database, Transaction

# The kinds of the jobs that go on with an account, and with a device.
PROVISION_ACCOUNT, PROVISION_DEVICE = "provision_account", "provision_device"
# The device of a row that stands for the account with all of its devices.
ACCOUNT = ""
# Of an account that the homeserver does not know, and of which nobody has begun to tell it: it was
# made while regsys was nobody's auth service. The homeserver makes no guests for its auth service,
# and application services make their own users.
EARLIER = "NOT at_homeserver AND NOT deactivated AND NOT is_guest AND appservice_id IS NULL"
# How long an attempt to make an account has it for itself: a little more than one call to the
# homeserver may take. An attempt that is late does no harm: it can end no later one's.
ATTEMPT_MS = 6_000


@attr.frozen(kw_only=True)
class Pending:
    """The job that goes on with an account or a device that the homeserver does not know yet.
    ``has_begun``: False for an account from before regsys was its auth service, which nobody has
    begun to make there; then there is no job."""

    job_id: str = ""
    kind: str = ""
    payload: Mapping[str, Any] = attr.field(repr=False, factory=dict)
    has_begun: bool = True


def is_at_homeserver(new: NewAccount) -> bool:
    """Whether one of the account's jobs makes it at a homeserver."""
    return any(job.kind == PROVISION_ACCOUNT for job in new.jobs)


def mark_account(txn: Transaction, new: NewAccount) -> None:
    """The homeserver does not know this account yet, if one of its jobs is to tell it: the first
    attempt has begun."""
    for job in new.jobs:
        if job.kind == PROVISION_ACCOUNT:
            begin_first(txn, Attempt.first(new.user_id, job.job_id, new.created_ms))


def begin_first(txn: Transaction, attempt: Attempt) -> None:
    """The homeserver does not know the account; this is the first attempt to make it there."""
    txn.insert(
        "provisioning",
        user_id=str(attempt.user_id),
        device_id=ACCOUNT,
        job_id=attempt.job_id,
        attempts=attempt.number,
        attempt_until_ms=attempt.began_ms + ATTEMPT_MS,
        sent_ms=attempt.began_ms,
    )


def undo(txn: Transaction, new: NewAccount, attempt: Attempt, now_ms: int) -> bool:
    """Remove the account, whose name is somebody's at the homeserver, as if it had never been made:
    its session goes on. False if it is no longer waiting, or another attempt has it."""
    if not give_up(txn, attempt):
        return False
    # Its profile, addresses, devices and tokens go with it.
    txn.run("DELETE FROM users WHERE user_id = ?", (str(new.user_id),))
    txn.run("DELETE FROM consents WHERE user_id = ?", (str(new.user_id),))
    txn.run("DELETE FROM outcomes WHERE key = ?", (new.key,))
    registration_tokens.undo(txn, new, now_ms)
    validations.undo(txn, new)
    server_state.undo(txn, new.user_id)
    sessions.undo(txn, new)
    audit.undo_account(txn, new)
    if new.call is not None:
        replication_calls.undo(txn, new.call)
    return True


def give_up(txn: Transaction, attempt: Attempt) -> bool:
    """Delete the row and its job; False, and nothing, if the attempt does not have the account."""
    mine = "user_id = ? AND device_id = ? AND job_id = ? AND attempts = ?"
    values = (str(attempt.user_id), ACCOUNT, attempt.job_id, attempt.number)
    if not txn.run(f"DELETE FROM provisioning WHERE {mine}", values):
        return False
    txn.run("DELETE FROM jobs WHERE job_id = ?", (attempt.job_id,))
    return True


def _take(txn: Transaction, user_id: UserID, device_id: str, job_id: str) -> bool:
    """Delete the row and its job; of several callers one gets True."""
    txn.run("DELETE FROM jobs WHERE job_id = ?", (job_id,))
    return (
        txn.run(
            "DELETE FROM provisioning WHERE user_id = ? AND device_id = ? AND job_id = ?",
            (str(user_id), device_id, job_id),
        )
        == 1
    )


@attr.frozen
class KnownLogins(devices.DeviceStore):
    """Only those logins of which the homeserver knows the account and the device."""

    async def by_access(self, access_hash: str) -> Optional[StoredLogin]:
        """In one statement: it is what each introspection costs."""
        return await self.db.autocommit("known_login", _known_login, access_hash)


@attr.frozen
class ProvisioningStore:
    db: Database

    async def pending(self, user_id: UserID, device_id: str = ACCOUNT) -> Optional[Pending]:
        """What goes on with the account, or with this device of it; None if the homeserver knows
        it. UserNotFound if there is no such account: it was undone."""
        return await self.db.autocommit("pending", _pending, user_id, device_id)

    async def is_at_homeserver(self, user_id: UserID) -> bool:
        """Whether the homeserver's user of this name is our account, or is to be."""
        return await self.db.autocommit("is_at_homeserver", _is_at_homeserver, user_id)

    async def attempt(self, user_id: UserID, job_id: str, now_ms: int) -> Optional[Attempt]:
        """Begin another attempt to make the account; None while one is under way, or if it is no
        longer waiting for this job."""
        return await self.db.transaction("attempt", _attempt, user_id, job_id, now_ms)

    async def release(self, attempt: Attempt, is_made: bool, is_clear: bool) -> None:
        """Let another attempt begin. ``is_made``: the user is known to be made; ``is_clear``: this
        attempt is known not to have made it."""
        await self.db.autocommit("release_attempt", _release, attempt, is_made, is_clear)

    async def somebody(self) -> Optional[UserID]:
        """The latest user whom the homeserver knows; None if there is none. It looks at all users:
        ask once."""
        return await self.db.autocommit("known_user", _known_user)

    async def complete(
        self, user_id: UserID, job_id: str, held: Sequence[NewJob], now_ms: int
    ) -> Optional[Sequence[NewJob]]:
        """The homeserver knows the account: its tokens are valid there, and these jobs begin, under
        a lease of this process. Returns those that were written; None if another call has completed
        it."""
        return await self.db.transaction(
            "complete_provisioning", _complete, user_id, job_id, held, now_ms
        )

    async def device_known(self, user_id: UserID, device_id: str, job_id: str) -> None:
        """The homeserver knows the device: its tokens are valid there."""
        await self.db.transaction("device_known", _take, user_id, device_id, job_id)


def _pending(txn: Transaction, user_id: UserID, device_id: str) -> Optional[Pending]:
    row = txn.one(
        f"SELECT p.job_id, j.kind, j.payload, {EARLIER} FROM users u LEFT JOIN provisioning p"
        " ON p.user_id = u.user_id AND p.device_id = ? LEFT JOIN jobs j ON j.job_id = p.job_id"
        " WHERE u.user_id = ?",
        (device_id, str(user_id)),
    )
    if row is None:
        raise UserNotFound()
    if row[3] and device_id == ACCOUNT:
        return Pending(has_begun=False)
    if row[0] is None or row[2] is None:
        return None
    return Pending(job_id=row[0], kind=row[1], payload=json.loads(row[2]))


def _is_at_homeserver(txn: Transaction, user_id: UserID) -> bool:
    row = txn.one("SELECT at_homeserver FROM users WHERE user_id = ?", (str(user_id),))
    return row is not None and bool(row[0])


def _attempt(txn: Transaction, user_id: UserID, job_id: str, now_ms: int) -> Optional[Attempt]:
    waiting = "WHERE user_id = ? AND device_id = ? AND job_id = ?"
    values = (str(user_id), ACCOUNT, job_id)
    row = txn.one(
        f"SELECT attempts, attempt_until_ms, sent_ms, made FROM provisioning {waiting}"
        + txn.dialect.for_update,
        values,
    )
    # A lease that is longer than any was given by a wrong clock.
    if row is None or now_ms < row[1] <= now_ms + ATTEMPT_MS + CLOCKS_APART_MS:
        return None
    txn.run(
        "UPDATE provisioning SET attempts = attempts + 1, attempt_until_ms = ?,"
        f" sent_ms = COALESCE(sent_ms, ?) {waiting}",
        (now_ms + ATTEMPT_MS, now_ms, *values),
    )
    return Attempt(
        user_id=user_id,
        job_id=job_id,
        number=row[0] + 1,
        began_ms=now_ms,
        earlier_ms=row[2],
        is_made=bool(row[3]),
    )


def _release(txn: Transaction, attempt: Attempt, is_made: bool, is_clear: bool) -> None:
    sent_ms = attempt.earlier_ms
    if sent_ms is None and not is_clear:
        sent_ms = attempt.began_ms
    txn.run(
        "UPDATE provisioning SET attempt_until_ms = 0, sent_ms = ?, made = ?"
        " WHERE user_id = ? AND device_id = ? AND attempts = ?",
        (sent_ms, is_made, str(attempt.user_id), ACCOUNT, attempt.number),
    )


def _known_user(txn: Transaction) -> Optional[UserID]:
    row = txn.one(
        "SELECT user_id FROM users u WHERE at_homeserver AND NOT deactivated AND NOT EXISTS"
        " (SELECT 1 FROM provisioning p WHERE p.user_id = u.user_id AND p.device_id = ?)"
        " ORDER BY created_ms DESC, user_id LIMIT 1",
        (ACCOUNT,),
    )
    return None if row is None else UserID.parse(row[0])


def _complete(
    txn: Transaction, user_id: UserID, job_id: str, held: Sequence[NewJob], now_ms: int
) -> Optional[Sequence[NewJob]]:
    if not _take(txn, user_id, ACCOUNT, job_id):
        return None
    return jobs.insert_held(txn, held, now_ms)


def _known_login(txn: Transaction, access_hash: str) -> Optional[StoredLogin]:
    return logins.stored_login(
        txn,
        "l.access_hash = ? AND u.at_homeserver AND NOT EXISTS (SELECT 1 FROM provisioning p WHERE"
        f" p.user_id = l.user_id AND p.device_id IN ('{ACCOUNT}', l.device_id))",
        access_hash,
    )
