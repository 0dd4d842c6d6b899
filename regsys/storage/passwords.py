"""The transaction that gives an account a new password."""

from __future__ import annotations

from typing import Optional

from regsys.errors import LoginFailed, UnknownToken, UserDeactivated, UserNotFound
from regsys.model.accounts import NewPassword, password_fingerprint
from regsys.model.devices import WhichDevices
from regsys.storage import ended_logins, logins, sessions, validations
from regsys.storage.database import Transaction


def change(
    txn: Transaction, new: NewPassword, ended: Optional[ended_logins.EndedLogins]
) -> tuple[bool, ended_logins.Removed]:
    """Whether it was changed now, and the devices that this has logged out."""
    none_removed = ended_logins.Removed(new.user_id)
    # The lock comes first: a login that checked the old password has committed, and its device is
    # removed below, or it will find the new password. Of two changes the second finds it, too.
    user = txn.one(
        "SELECT deactivated, password_hash FROM users WHERE user_id = ?" + txn.dialect.for_update,
        (str(new.user_id),),
    )
    if user is None:
        raise UserNotFound()
    if not sessions.finish_confirmed(txn, new.session_id, new.session_until_ms):
        return False, none_removed
    if user[0]:
        raise UserDeactivated()
    if new.confirmed_by not in (None, password_fingerprint(user[1])):
        raise LoginFailed()
    device_id = new.device_id
    if device_id is not None and not logins.lock_device(txn, str(new.user_id), device_id):
        raise UnknownToken()
    if new.reset_sid is not None and not validations.use_for_reset(txn, new.user_id, new.reset_sid):
        return False, none_removed
    txn.run(
        "UPDATE users SET password_hash = ? WHERE user_id = ?",
        (new.password_hash, str(new.user_id)),
    )
    sessions.end_confirmations(txn, new.user_id)
    validations.end_resets(txn, new.user_id)
    if not new.ends_logins:
        return True, none_removed
    return True, ended_logins.remove(txn, new.user_id, WhichDevices(keeping=new.device_id), ended)
