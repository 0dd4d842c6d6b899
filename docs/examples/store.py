"""A homeserver's own tables, and over them the parts that regsys asks for.

docs/embedding.md walks through it; embedding.py is the rest of the homeserver.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Protocol, Sequence, TypeVar

import attr
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys.errors import (
    InvalidParam,
    ThreepidInUse,
    UnknownToken,
    UsernameTaken,
    UserNotFound,
)
from regsys.interfaces import (
    IAccountStoreWithDevices,
    IAuth,
    IDevices,
    IThreepidStore,
    IUserLookup,
)
from regsys.model import (
    AccountThreepid,
    Login,
    NewAccount,
    NewDevice,
    Requester,
    Secret,
    Threepid,
    User,
    UserID,
)

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY,  -- lower-cased: this key decides who gets a name
    user_id TEXT NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    password_hash TEXT,
    display_name TEXT,
    is_guest BOOLEAN NOT NULL,
    admin BOOLEAN NOT NULL,
    user_type TEXT,
    approved BOOLEAN NOT NULL,
    shadow_banned BOOLEAN NOT NULL,
    appservice_id TEXT,
    extra TEXT NOT NULL,  -- JSON
    deactivated BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE TABLE IF NOT EXISTS registrations (  -- what each of regsys's keys has made
    key TEXT PRIMARY KEY,
    user_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    token_hash TEXT NOT NULL UNIQUE,
    valid_until_ms BIGINT,
    PRIMARY KEY (user_id, device_id)
);
CREATE TABLE IF NOT EXISTS threepids (
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    user_id TEXT NOT NULL,
    validated_ms BIGINT NOT NULL,
    added_ms BIGINT NOT NULL,
    PRIMARY KEY (medium, address)  -- an address has one owner
);
CREATE TABLE IF NOT EXISTS welcomes (user_id TEXT PRIMARY KEY);  -- messages still to be sent
CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY AUTOINCREMENT);
"""


def open_database(path: Path) -> ConnectionPool:
    """The homeserver's own database; one thread, because SQLite has one writer."""
    sqlite3.connect(path).executescript(SCHEMA).connection.close()
    return ConnectionPool("sqlite3", str(path), check_same_thread=False, cp_min=1, cp_max=1)


class Pool(Protocol):
    """What we use of a ConnectionPool, with its types."""

    def runInteraction(self, interaction: Callable[..., T], *args: Any) -> Deferred[T]: ...
    def runQuery(self, query: str, values: Sequence[Any]) -> Deferred[list[Any]]: ...


def hash_of(token: Secret) -> str:
    """What is stored of a token: nobody who reads our tables can log in with it."""
    return hashlib.sha256(token.reveal().encode("utf-8")).hexdigest()


@implementer(IAccountStoreWithDevices, IDevices, IAuth, IUserLookup, IThreepidStore)
@attr.frozen
class Store:
    """Accounts, devices, tokens and addresses. Five objects would do as well."""

    pool: Pool
    clock: IReactorTime

    # --- IAccountStoreWithDevices --------------------------------------------------------

    async def is_taken(self, localpart: str) -> bool:
        query = "SELECT 1 FROM accounts WHERE name = ?"
        return bool(await self.pool.runQuery(query, (localpart.lower(),)))

    def next_number(self) -> Deferred[int]:
        return self.pool.runInteraction(_next_number)

    def create_account(self, new: NewAccount) -> Deferred[UserID]:
        return self.pool.runInteraction(_create_account, new)

    def made_by(self, key: str) -> Deferred[Optional[UserID]]:
        return self.pool.runInteraction(_made_by, key)

    # --- IDevices and IAuth --------------------------------------------------------------

    async def register(self, user_id: UserID, device: NewDevice) -> Login:
        await self.pool.runInteraction(_put_device, user_id, device)
        return device.login

    async def whose(self, token: Secret) -> Optional[Requester]:
        rows = await self.pool.runQuery(
            "SELECT user_id, device_id, is_guest, admin, valid_until_ms"
            " FROM devices JOIN accounts USING (user_id) WHERE token_hash = ?",
            (hash_of(token),),
        )
        if not rows:
            return None
        user_id, device_id, is_guest, admin, valid_until_ms = rows[0]
        if valid_until_ms is not None and valid_until_ms <= self.clock.seconds() * 1000:
            raise UnknownToken(soft_logout=True)
        return Requester(
            user_id=UserID.parse(user_id),
            device_id=device_id,
            is_guest=bool(is_guest),
            is_admin=bool(admin),
            valid_until_ms=valid_until_ms,
        )

    # --- IUserLookup ---------------------------------------------------------------------

    async def find(self, localpart: str) -> Optional[User]:
        rows = await self.pool.runQuery(
            "SELECT user_id, created_ms, password_hash, user_type, appservice_id, is_guest, admin,"
            " approved, shadow_banned, deactivated FROM accounts WHERE name = ?",
            (localpart.lower(),),
        )
        if not rows:
            return None
        user_id, created_ms, password_hash, user_type, appservice_id, *flags = rows[0]
        is_guest, admin, approved, shadow_banned, deactivated = map(bool, flags)
        return User(
            user_id=UserID.parse(user_id),
            created_ms=created_ms,
            password_hash=password_hash,
            user_type=user_type,
            appservice_id=appservice_id,
            is_guest=is_guest,
            admin=admin,
            approved=approved,
            shadow_banned=shadow_banned,
            deactivated=deactivated,
        )

    # --- IThreepidStore ------------------------------------------------------------------

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        query = "SELECT user_id FROM threepids WHERE medium = ? AND address = ?"
        rows = await self.pool.runQuery(query, (medium, address))
        return UserID.parse(rows[0][0]) if rows else None

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        rows = await self.pool.runQuery(
            "SELECT medium, address, validated_ms, added_ms FROM threepids"
            " WHERE user_id = ? ORDER BY added_ms",
            (str(user_id),),
        )
        return [AccountThreepid(*row) for row in rows]

    def add(self, user_id: UserID, threepid: Threepid, now_ms: int) -> Deferred[bool]:
        return self.pool.runInteraction(_add_threepid, user_id, threepid, now_ms)

    def remove(self, user_id: UserID, medium: str, address: str) -> Deferred[bool]:
        return self.pool.runInteraction(_remove_threepid, user_id, medium, address)

    # --- What our own endpoints need -----------------------------------------------------

    async def profile_of(self, user_id: UserID) -> tuple[Optional[str], Mapping[str, Any]]:
        """The display name, and what the account began with beside regsys's fields."""
        query = "SELECT display_name, extra FROM accounts WHERE user_id = ?"
        ((display_name, extra),) = await self.pool.runQuery(query, (str(user_id),))
        return display_name, json.loads(extra)

    async def devices_of(self, user_id: UserID) -> Mapping[str, Optional[str]]:
        """The display names of the user's devices, by device id."""
        query = "SELECT device_id, display_name FROM devices WHERE user_id = ?"
        return dict(await self.pool.runQuery(query, (str(user_id),)))

    async def change_password(
        self, user_id: UserID, password_hash: str, logout_devices: bool, device_id: str
    ) -> None:
        """``logout_devices``: all devices but this one are logged out."""
        await self.pool.runInteraction(
            _change_password, user_id, password_hash, logout_devices, device_id
        )

    async def log_out(self, user_id: UserID, device_id: str) -> None:
        await self.pool.runInteraction(_log_out, user_id, device_id)

    async def deactivate(self, user_id: UserID) -> None:
        """The account stays, and so does its name."""
        await self.pool.runInteraction(_deactivate, user_id)


# --- Transactions: what raises in one leaves nothing behind ------------------------------


def _create_account(txn: Any, new: NewAccount) -> UserID:
    user_id = str(new.user_id)
    # The key first: of several calls with one key, all but one find what that one has made.
    txn.execute(
        "INSERT INTO registrations VALUES (?, ?) ON CONFLICT DO NOTHING", (new.key, user_id)
    )
    if not txn.rowcount:
        made = _made_by(txn, new.key)
        assert made is not None
        return made
    if new.upgrades_guest:
        _upgrade_guest(txn, new)
    else:
        _add_account(txn, new)
    for threepid in new.threepids:
        _give(txn, new.user_id, threepid, new.created_ms)
    if new.device is not None:
        _put_device(txn, new.user_id, new.device)
    return new.user_id


def _add_account(txn: Any, new: NewAccount) -> None:
    txn.execute(
        "INSERT INTO accounts VALUES (:name, :user_id, :created_ms, :password_hash, :display_name,"
        " :is_guest, :admin, :user_type, :approved, :shadow_banned, :appservice_id, :extra, FALSE)"
        " ON CONFLICT DO NOTHING",
        _columns(new),
    )
    if not txn.rowcount:
        raise UsernameTaken()


def _upgrade_guest(txn: Any, new: NewAccount) -> None:
    """The guest keeps its name and profile; what it was logged in with is no longer valid."""
    txn.execute(
        "UPDATE accounts SET password_hash = :password_hash, is_guest = FALSE, admin = :admin,"
        " user_type = :user_type, approved = :approved, shadow_banned = :shadow_banned,"
        " extra = :extra WHERE user_id = :user_id AND is_guest AND NOT deactivated",
        _columns(new),
    )
    if not txn.rowcount:
        raise UnknownToken()
    txn.execute("DELETE FROM devices WHERE user_id = ?", (str(new.user_id),))


def _columns(new: NewAccount) -> Mapping[str, Any]:
    return {
        "name": new.user_id.name_key,
        "user_id": str(new.user_id),
        "created_ms": new.created_ms,
        "password_hash": new.password_hash,
        "display_name": new.display_name,
        "is_guest": new.is_guest,
        "admin": new.admin,
        "user_type": new.user_type,
        "approved": new.approved,
        "shadow_banned": new.shadow_banned,
        "appservice_id": new.appservice_id,
        "extra": json.dumps(new.extra),
    }


def _made_by(txn: Any, key: str) -> Optional[UserID]:
    txn.execute("SELECT user_id FROM registrations WHERE key = ?", (key,))
    row = txn.fetchone()
    return None if row is None else UserID.parse(row[0])


def _next_number(txn: Any) -> int:
    txn.execute("INSERT INTO numbers DEFAULT VALUES")
    return int(txn.lastrowid)


def _lock(txn: Any, user_id: UserID) -> bool:
    """Whether this is a guest. Until the transaction ends nobody else changes the account. (A
    SELECT alone would lock nothing on PostgreSQL.)"""
    txn.execute(
        "UPDATE accounts SET deactivated = FALSE WHERE user_id = ? AND NOT deactivated",
        (str(user_id),),
    )
    if not txn.rowcount:
        raise UserNotFound()
    txn.execute("SELECT is_guest FROM accounts WHERE user_id = ?", (str(user_id),))
    return bool(txn.fetchone()[0])


def _put_device(txn: Any, user_id: UserID, device: NewDevice) -> None:
    login = device.login
    if _lock(txn, user_id) != login.terms.is_guest:
        raise InvalidParam("A guest has a guest's token, and a user has a user's.")
    # A device has one token here. A known one keeps its name and gets the new token.
    txn.execute(
        "INSERT INTO devices VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id, device_id) DO UPDATE"
        " SET token_hash = excluded.token_hash, valid_until_ms = excluded.valid_until_ms",
        (
            str(user_id),
            login.device_id,
            device.display_name,
            hash_of(login.access_token),
            login.terms.valid_until_ms,
        ),
    )


def _add_threepid(txn: Any, user_id: UserID, threepid: Threepid, now_ms: int) -> bool:
    _lock(txn, user_id)
    return _give(txn, user_id, threepid, now_ms)


def _give(txn: Any, user_id: UserID, threepid: Threepid, now_ms: int) -> bool:
    place = (threepid.medium, threepid.address)
    txn.execute(
        "INSERT INTO threepids VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*place, str(user_id), threepid.validated_at_ms, now_ms),
    )
    if txn.rowcount:
        return True
    txn.execute("SELECT user_id FROM threepids WHERE medium = ? AND address = ?", place)
    if txn.fetchone() != (str(user_id),):
        raise ThreepidInUse()
    return False


def _remove_threepid(txn: Any, user_id: UserID, medium: str, address: str) -> bool:
    txn.execute(
        "DELETE FROM threepids WHERE user_id = ? AND medium = ? AND address = ?",
        (str(user_id), medium, address),
    )
    return bool(txn.rowcount)


def _change_password(
    txn: Any, user_id: UserID, password_hash: str, logout_devices: bool, device_id: str
) -> None:
    _lock(txn, user_id)
    txn.execute(
        "UPDATE accounts SET password_hash = ? WHERE user_id = ?", (password_hash, str(user_id))
    )
    if logout_devices:
        txn.execute(
            "DELETE FROM devices WHERE user_id = ? AND device_id <> ?", (str(user_id), device_id)
        )


def _log_out(txn: Any, user_id: UserID, device_id: str) -> None:
    txn.execute(
        "DELETE FROM devices WHERE user_id = ? AND device_id = ?", (str(user_id), device_id)
    )


def _deactivate(txn: Any, user_id: UserID) -> None:
    txn.execute(
        "UPDATE accounts SET deactivated = TRUE, password_hash = NULL WHERE user_id = ?",
        (str(user_id),),
    )
    txn.execute("DELETE FROM devices WHERE user_id = ?", (str(user_id),))
