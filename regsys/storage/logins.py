"""The pairs of access and refresh tokens of devices."""

from __future__ import annotations

from typing import Optional

from regsys.model import Login, LoginTerms, UserID
from regsys.model.devices import StoredLogin
from regsys.model.token_text import token_hash
from regsys.storage.batches import delete_some
from regsys.storage.database import Transaction

# How long a spent pair, or one whose session has ended, is kept. A client that presents a spent
# token is answered with a soft logout, since its device still exists. A pair that has only expired
# is kept as long as its device.
SPENT_KEPT_MS = 24 * 3600 * 1000


def insert(txn: Transaction, user_id: UserID, login: Login, replaces: Optional[str]) -> bool:
    refresh = login.refresh_token
    return txn.insert(
        "logins",
        access_hash=token_hash(login.access_token.reveal()),
        refresh_hash=None if refresh is None else token_hash(refresh.reveal()),
        user_id=str(user_id),
        device_id=login.device_id,
        valid_until_ms=login.terms.valid_until_ms,
        refresh_until_ms=login.terms.refresh_until_ms,
        session_until_ms=login.terms.session_until_ms,
        replaces=replaces,
        made_with=None if login.made_with is None else login.made_with.reveal(),
    )


def lock_device(txn: Transaction, user_id: str, device_id: str) -> bool:
    """Lock the device's row, so that its refreshes, first uses, logins and logouts run one after
    the other; False if there is no such device."""
    row = txn.one(
        "SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?" + txn.dialect.for_update,
        (user_id, device_id),
    )
    return row is not None


_LOGIN = (
    "SELECT l.access_hash, l.user_id, l.device_id, l.valid_until_ms, l.refresh_until_ms,"
    " l.session_until_ms, l.replaces, l.spent_ms, l.refresh_hash, u.deactivated, u.admin"
    " FROM logins l JOIN users u ON u.user_id = l.user_id WHERE "
)


def stored_login(txn: Transaction, condition: str, value: str) -> Optional[StoredLogin]:
    row = txn.one(_LOGIN + condition, (value,))
    if row is None:
        return None
    return StoredLogin(
        access_hash=row[0],
        user_id=UserID.parse(row[1]),
        terms=LoginTerms(
            device_id=row[2],
            refreshable=row[8] is not None,
            valid_until_ms=row[3],
            refresh_until_ms=row[4],
            session_until_ms=row[5],
        ),
        replaces=row[6],
        spent=row[7] is not None,
        deactivated=bool(row[9]),
        admin=bool(row[10]),
    )


def confirm(txn: Transaction, access_hash: str, now_ms: int) -> None:
    row = txn.one(
        "SELECT user_id, device_id FROM logins WHERE access_hash = ? AND replaces IS NOT NULL",
        (access_hash,),
    )
    if row is None:
        return
    lock_device(txn, row[0], row[1])
    # Looked up again under the lock: another successor may have replaced this one.
    txn.run(
        "UPDATE logins SET spent_ms = ? WHERE spent_ms IS NULL AND access_hash ="
        " (SELECT replaces FROM logins WHERE access_hash = ?)",
        (now_ms, access_hash),
    )
    txn.run("UPDATE logins SET replaces = NULL WHERE access_hash = ?", (access_hash,))


def succeed(txn: Transaction, predecessor: str, user_id: UserID, login: Login) -> bool:
    lock_device(txn, str(user_id), login.device_id)
    row = txn.one("SELECT spent_ms FROM logins WHERE access_hash = ?", (predecessor,))
    if row is None or row[0] is not None:
        return False
    txn.run("DELETE FROM logins WHERE replaces = ?", (predecessor,))
    insert(txn, user_id, login, replaces=predecessor)
    return True


def delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    before_ms = (now_ms - SPENT_KEPT_MS,)
    spent = delete_some(txn, "logins", "access_hash", "spent_ms < ?", before_ms, at_most)
    ended = "session_until_ms < ?"
    return spent + delete_some(txn, "logins", "access_hash", ended, before_ms, at_most - spent)
