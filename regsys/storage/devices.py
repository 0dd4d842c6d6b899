"""Devices and the token pairs of their logins."""

from __future__ import annotations

from typing import Optional

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.errors import AwaitingApproval, InvalidParam, UserNotFound
from regsys.interfaces import IDevices
from regsys.interfaces.internal import IExpiring
from regsys.model import Login, LoginTerms, NewDevice, UserID
from regsys.model.devices import StoredLogin
from regsys.model.token_text import token_hash
from regsys.storage import replication_calls, sessions
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction

# How long a spent pair, or one whose session has ended, is kept. A client that presents a spent
# token is answered with a soft logout, since its device still exists. A pair that has only expired
# is kept as long as its device.
SPENT_KEPT_MS = 24 * 3600 * 1000


def put(txn: Transaction, user_id: UserID, device: NewDevice) -> None:
    """Write the device and its login; an existing device loses its earlier tokens (contract
    B4.1)."""
    login = device.login
    fresh = _add_orlock(txn, str(user_id), device)
    if login.terms.is_guest:
        return
    added = _insert_login(txn, user_id, login, replaces=None)
    # If the same login is written again after a lost reply, its successors must stay.
    if added and not fresh:
        txn.run(
            "DELETE FROM logins WHERE user_id = ? AND device_id = ? AND access_hash <> ?",
            (str(user_id), login.device_id, token_hash(login.access_token.reveal())),
        )


def _add_orlock(txn: Transaction, user_id: str, device: NewDevice) -> bool:
    """True if the device is new; an existing one is locked."""
    while not txn.insert(
        "devices",
        user_id=user_id,
        device_id=device.login.device_id,
        display_name=device.display_name,
        auth_provider_id=device.auth_provider_id,
        auth_provider_session_id=device.auth_provider_session_id,
    ):
        if lock(txn, user_id, device.login.device_id):
            return False
        # The device was logged out just now: insert it again.
    return True


def remove(txn: Transaction, user_id: UserID, device_id: Optional[str]) -> None:
    """Log the device out, or all of the user's devices if ``device_id`` is None. Their tokens are
    deleted too, and so are the sessions that registered them, which would repeat the tokens
    (contract B8.4)."""
    one = "" if device_id is None else " AND device_id = ?"
    values = (str(user_id),) if device_id is None else (str(user_id), device_id)
    txn.run(f"DELETE FROM devices WHERE user_id = ?{one}", values)
    sessions.end_replays(txn, user_id, device_id)


def lock(txn: Transaction, user_id: str, device_id: str) -> bool:
    """Lock the device's row, so that its refreshes, first uses, logins and logouts run one after
    the other; False if there is no such device."""
    row = txn.one(
        "SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?" + txn.dialect.for_update,
        (user_id, device_id),
    )
    return row is not None


def _insert_login(txn: Transaction, user_id: UserID, login: Login, replaces: Optional[str]) -> bool:
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


def check_guest(asked: bool, is_guest: bool) -> None:
    """Raise InvalidParam if a guest's login is asked for a user's account, or the other way round
    (contract B2.4). ``is_guest``: what the account says."""
    if asked and not is_guest:
        raise InvalidParam("This account is a user's: its devices get no guest's access token.")
    if is_guest and not asked:
        raise InvalidParam("This account is a guest's: its device gets a guest's access token.")


@implementer(IDevices, IExpiring)
@attr.frozen
class DeviceStore:
    """Pairs of access and refresh tokens, by their hashes (``token_hash``)."""

    db: Database
    clock: IReactorTime

    async def register(self, user_id: UserID, device: NewDevice) -> Login:
        now_ms = clock.now_ms(self.clock)
        terms = await self.db.transaction("register_device", _register, user_id, device, now_ms)
        return attr.evolve(device.login, terms=terms)

    async def by_access(self, access_hash: str) -> Optional[StoredLogin]:
        """The pair with this access token, even if spent or expired; None without the device."""
        return await self.db.autocommit("login_by_access", _by_access, access_hash)

    async def by_refresh(self, refresh_hash: str) -> Optional[StoredLogin]:
        """The pair with this refresh token, as ``by_access``."""
        return await self.db.autocommit("login_by_refresh", _by_refresh, refresh_hash)

    async def confirm(self, access_hash: str) -> None:
        """A token of this new pair has been used: mark the pair that it replaces as spent
        (contract B4.6)."""
        await self.db.transaction("confirm_login", _confirm, access_hash, clock.now_ms(self.clock))

    async def succeed(self, predecessor: str, user_id: UserID, login: Login) -> bool:
        """Add the pair that replaces ``predecessor`` (an access hash), in place of an earlier
        successor that is unused; False if a successor is in use or the device is gone."""
        return await self.db.transaction("succeed_login", _succeed, predecessor, user_id, login)

    async def has_device(self, user_id: UserID, device_id: str) -> bool:
        """Whether the user has this device."""
        return await self.db.autocommit("has_device", _has_device, user_id, device_id)

    async def log_out(self, user_id: UserID, device_id: Optional[str]) -> None:
        """Delete this device and its tokens, or all of the user's devices if ``device_id`` is
        None; the sessions that registered them no longer repeat their answers."""
        await self.db.transaction("log_out", remove, user_id, device_id)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_logins", _delete_expired, now_ms, at_most)


def _register(txn: Transaction, user_id: UserID, device: NewDevice, now_ms: int) -> LoginTerms:
    """The terms of the login; those of the first time if the call was sent before."""
    terms = device.login.terms
    if device.call is not None:
        earlier = replication_calls.claim(txn, device.call, now_ms, terms)
        if earlier is not None:
            return earlier.terms or terms
    # The lock keeps a deactivation or a guest's upgrade from running between the checks and the
    # login.
    user = txn.one(
        "SELECT deactivated, approved, is_guest FROM users WHERE user_id = ?"
        + txn.dialect.for_update,
        (str(user_id),),
    )
    if user is None or user[0]:
        raise UserNotFound()
    if not user[1]:
        raise AwaitingApproval()
    check_guest(terms.is_guest, bool(user[2]))
    put(txn, user_id, device)
    return terms


_LOGIN = (
    "SELECT l.access_hash, l.user_id, l.device_id, l.valid_until_ms, l.refresh_until_ms,"
    " l.session_until_ms, l.replaces, l.spent_ms, l.refresh_hash, u.deactivated, u.admin"
    " FROM logins l JOIN users u ON u.user_id = l.user_id WHERE "
)


def _stored_login(txn: Transaction, condition: str, value: str) -> Optional[StoredLogin]:
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


def _by_access(txn: Transaction, access_hash: str) -> Optional[StoredLogin]:
    return _stored_login(txn, "l.access_hash = ?", access_hash)


def _by_refresh(txn: Transaction, refresh_hash: str) -> Optional[StoredLogin]:
    return _stored_login(txn, "l.refresh_hash = ?", refresh_hash)


def _confirm(txn: Transaction, access_hash: str, now_ms: int) -> None:
    row = txn.one(
        "SELECT user_id, device_id FROM logins WHERE access_hash = ? AND replaces IS NOT NULL",
        (access_hash,),
    )
    if row is None:
        return
    lock(txn, row[0], row[1])
    # Looked up again under the lock: another successor may have replaced this one.
    txn.run(
        "UPDATE logins SET spent_ms = ? WHERE spent_ms IS NULL AND access_hash ="
        " (SELECT replaces FROM logins WHERE access_hash = ?)",
        (now_ms, access_hash),
    )
    txn.run("UPDATE logins SET replaces = NULL WHERE access_hash = ?", (access_hash,))


def _succeed(txn: Transaction, predecessor: str, user_id: UserID, login: Login) -> bool:
    lock(txn, str(user_id), login.device_id)
    row = txn.one("SELECT spent_ms FROM logins WHERE access_hash = ?", (predecessor,))
    if row is None or row[0] is not None:
        return False
    txn.run("DELETE FROM logins WHERE replaces = ?", (predecessor,))
    _insert_login(txn, user_id, login, replaces=predecessor)
    return True


def _has_device(txn: Transaction, user_id: UserID, device_id: str) -> bool:
    sql = "SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?"
    return txn.one(sql, (str(user_id), device_id)) is not None


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    before_ms = (now_ms - SPENT_KEPT_MS,)
    spent = delete_some(txn, "logins", "access_hash", "spent_ms < ?", before_ms, at_most)
    ended = "session_until_ms < ?"
    return spent + delete_some(txn, "logins", "access_hash", ended, before_ms, at_most - spent)
