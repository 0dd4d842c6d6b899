"""The one transaction that deactivates an account of ours."""

from __future__ import annotations

from typing import Optional, Sequence

from regsys.model import UserID
from regsys.model.devices import ALL_DEVICES
from regsys.model.jobs import NewJob
from regsys.storage import ended_logins, external_ids, jobs, profiles
from regsys.storage.database import Transaction


def deactivate(
    txn: Transaction,
    user_id: UserID,
    erase: bool,
    jobs_after: Sequence[NewJob],
    now_ms: int,
    ended: Optional[ended_logins.EndedLogins],
) -> ended_logins.Removed:
    """As ``UserStore.deactivate``; the caller calls ``ended_logins.tell`` after the commit."""
    # In this order: a transaction that adds a device has locked the row, and its device is deleted
    # below, or it finds the user deactivated.
    exists = txn.run(
        "UPDATE users SET deactivated = TRUE, password_hash = NULL, erased = erased OR ?"
        " WHERE user_id = ?",
        (erase, str(user_id)),
    )
    if not exists:
        return ended_logins.Removed(user_id)
    external_ids.forget(txn, user_id)
    if erase:
        profiles.erase(txn, user_id)
    jobs.insert_held(txn, jobs_after, now_ms)
    return ended_logins.remove(txn, user_id, ALL_DEVICES, ended, erase)
