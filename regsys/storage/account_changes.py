"""What administrators change of accounts: each change is one transaction."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.errors import InvalidParam, UserDeactivated, UserNotFound
from regsys.model.accounts import NewPassword
from regsys.model.administration import AccountChange
from regsys.model.audit import AuditEntry
from regsys.storage import audit, ended_logins, external_ids, passwords, profiles
from regsys.storage.database import Database, Row, Transaction

# What the audit log is told of a change, by the field that is changed.
Entries = Mapping[str, Sequence[AuditEntry]]
NO_ENTRIES: Entries = {}


@attr.frozen
class AccountChangeStore:
    """``ended``, ``logged_out``: who is told of the devices that a new password logs out, as in
    DeviceStore."""

    db: Database
    ended: Optional[ended_logins.EndedLogins] = None
    logged_out: ended_logins.LoggedOut = ended_logins.nobody_told

    async def write(self, change: AccountChange, entries: Entries = NO_ENTRIES) -> Sequence[str]:
        """The names of the fields that were changed; those that are so already are not. Of the
        ``entries`` those of the changed fields are written with them.

        Raises UserNotFound, UserDeactivated, InvalidParam for what a guest cannot have,
        ExternalIdInUse, and UnknownToken if ``keeps_device`` is gone."""
        changed, removed = await self.db.transaction(
            "change_account", _write, change, entries, self.ended
        )
        if removed is not None:
            await ended_logins.tell(removed, self.ended, self.logged_out)
        return changed


def _write(
    txn: Transaction,
    change: AccountChange,
    entries: Entries,
    ended: Optional[ended_logins.EndedLogins],
) -> tuple[Sequence[str], Optional[ended_logins.Removed]]:
    # The lock comes first: as in a change of the password by its user, a login that is under way
    # has committed, or finds what is written here.
    user = txn.one(
        "SELECT deactivated, is_guest, password_hash, admin, user_type FROM users"
        " WHERE user_id = ?" + txn.dialect.for_update,
        (str(change.user_id),),
    )
    if user is None:
        raise UserNotFound()
    wanted = _different(txn, change, user)
    if not wanted:
        return (), None
    if user[0]:
        raise UserDeactivated()
    if user[1]:
        _check_guest(change)
    _write_columns(txn, change, wanted)
    if "display_name" in wanted:
        profiles.put_display_name(txn, change.user_id, change.display_name or None)
    if change.external_ids is not None and "external_ids" in wanted:
        external_ids.replace(txn, change.user_id, change.external_ids)
    audit.record(txn, [entry for field in wanted for entry in entries.get(field, ())])
    return wanted, _write_password(txn, change, ended) if "password" in wanted else None


def _different(txn: Transaction, change: AccountChange, user: Row) -> Sequence[str]:
    """The fields in which the account is not yet as it is to be."""
    wanted: dict[str, Any] = {
        "password": change.password_hash,
        "admin": change.admin,
        "user_type": change.user_type,
        "display_name": change.display_name,
        "external_ids": None if change.external_ids is None else sorted({*change.external_ids}),
    }
    present: dict[str, Any] = {
        "password": user[2],
        "admin": bool(user[3]),
        "user_type": user[4] or "",
    }
    if change.display_name is not None:
        present["display_name"] = profiles.display_name_of(txn, change.user_id) or ""
    if change.external_ids is not None:
        present["external_ids"] = sorted(external_ids.of_user(txn, change.user_id))
    given = {name: value for name, value in wanted.items() if value is not None}
    return [name for name, value in given.items() if value != present[name]]


def _check_guest(change: AccountChange) -> None:
    for field in ("password_hash", "admin", "external_ids"):
        if getattr(change, field):
            what = field.removesuffix("_hash")
            raise InvalidParam(f"This account is a guest's, which has no '{what}'.")


def _write_columns(txn: Transaction, change: AccountChange, wanted: Sequence[str]) -> None:
    values = {"admin": change.admin, "user_type": change.user_type or None}
    changed = {name: value for name, value in values.items() if name in wanted}
    if changed:
        assignments = ", ".join(f"{name} = ?" for name in changed)
        txn.run(
            f"UPDATE users SET {assignments} WHERE user_id = ?",
            (*changed.values(), str(change.user_id)),
        )


def _write_password(
    txn: Transaction, change: AccountChange, ended: Optional[ended_logins.EndedLogins]
) -> ended_logins.Removed:
    assert change.password_hash is not None
    new = NewPassword(
        user_id=change.user_id,
        password_hash=change.password_hash,
        device_id=change.keeps_device,
        ends_logins=change.ends_logins,
    )
    return passwords.change(txn, new, ended)[1]
