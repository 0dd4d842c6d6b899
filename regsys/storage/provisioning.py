"""Accounts and devices that the homeserver whose auth service this is does not know yet."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.errors import UserNotFound
from regsys.model import NewAccount, UserID
from regsys.model.devices import StoredLogin
from regsys.model.jobs import NewJob
from regsys.storage import (
    devices,
    jobs,
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


@attr.frozen(kw_only=True)
class Pending:
    """The job that goes on with an account or a device that the homeserver does not know yet."""

    job_id: str
    payload: Mapping[str, Any] = attr.field(repr=False)


def mark_account(txn: Transaction, new: NewAccount) -> None:
    """The homeserver does not know this account yet, if one of its jobs is to tell it."""
    for job in new.jobs:
        if job.kind == PROVISION_ACCOUNT:
            devices.mark_unknown(txn, new.user_id, ACCOUNT, job.job_id)


def undo(txn: Transaction, new: NewAccount, job_id: str, now_ms: int) -> bool:
    """Remove the account, whose name is somebody's at the homeserver, as if it had never been made:
    its session goes on. False if it is no longer waiting."""
    if not _take(txn, new.user_id, ACCOUNT, job_id):
        return False
    # Its profile, addresses, devices and tokens go with it.
    txn.run("DELETE FROM users WHERE user_id = ?", (str(new.user_id),))
    txn.run("DELETE FROM consents WHERE user_id = ?", (str(new.user_id),))
    txn.run("DELETE FROM outcomes WHERE key = ?", (new.key,))
    registration_tokens.undo(txn, new, now_ms)
    validations.undo(txn, new)
    server_state.undo(txn, new.user_id)
    sessions.undo(txn, new)
    if new.call is not None:
        replication_calls.undo(txn, new.call)
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
        "SELECT p.job_id, j.payload FROM users u LEFT JOIN provisioning p"
        " ON p.user_id = u.user_id AND p.device_id = ? LEFT JOIN jobs j ON j.job_id = p.job_id"
        " WHERE u.user_id = ?",
        (device_id, str(user_id)),
    )
    if row is None:
        raise UserNotFound()
    if row[0] is None or row[1] is None:
        return None
    return Pending(job_id=row[0], payload=json.loads(row[1]))


def _known_user(txn: Transaction) -> Optional[UserID]:
    row = txn.one(
        "SELECT user_id FROM users u WHERE NOT is_guest AND NOT deactivated AND NOT EXISTS"
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
    return devices.stored_login(
        txn,
        "l.access_hash = ? AND NOT EXISTS (SELECT 1 FROM provisioning p WHERE"
        f" p.user_id = l.user_id AND p.device_id IN ('{ACCOUNT}', l.device_id))",
        access_hash,
    )
