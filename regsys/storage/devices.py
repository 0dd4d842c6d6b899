"""Devices, and the store of their logins, whose tokens are in storage/logins.py."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.errors import AwaitingApproval, InvalidParam, LoginFailed, UserNotFound
from regsys.interfaces import IDevices
from regsys.interfaces.internal import IExpiring
from regsys.model import Login, LoginTerms, NewDevice, Secret, UserID
from regsys.model.accounts import password_fingerprint
from regsys.model.devices import Device, StoredLogin, WhichDevices
from regsys.model.jobs import NewJob
from regsys.model.token_text import token_hash
from regsys.storage import jobs, logins, replication_calls, sessions
from regsys.storage.database import Database, Transaction
from regsys.storage.ended_logins import EndedLogins, LoggedOut, Removed, nobody_told, remove, tell

# Makes the job that tells a homeserver of a device; whether it is new is the argument.
JobOfDevice = Callable[[bool], NewJob]


def put(txn: Transaction, user_id: UserID, device: NewDevice) -> bool:
    """Write the device and its login; an existing device loses its earlier tokens (contract
    B4.1). True if the device is new."""
    login = device.login
    fresh = _add_orlock(txn, str(user_id), device)
    if login.terms.is_guest:
        return fresh
    added = logins.insert(txn, user_id, login, replaces=None)
    # If the same login is written again after a lost reply, its successors must stay.
    if added and not fresh:
        txn.run(
            "DELETE FROM logins WHERE user_id = ? AND device_id = ? AND access_hash <> ?",
            (str(user_id), login.device_id, token_hash(login.access_token.reveal())),
        )
    return fresh


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
        if logins.lock_device(txn, user_id, device.login.device_id):
            return False
        # The device was logged out just now: insert it again.
    return True


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
    """Pairs of access and refresh tokens, by their hashes (``token_hash``). ``ended``: who is told
    of the devices that are logged out, before the client is answered; None if nobody is.
    ``logged_out``: who is told of them, too, and awaited by nobody."""

    db: Database
    clock: IReactorTime
    ended: Optional[EndedLogins] = None
    logged_out: LoggedOut = nobody_told

    async def register(self, user_id: UserID, device: NewDevice) -> Login:
        return (await self.register_with(user_id, device, None))[0]

    async def register_with(
        self, user_id: UserID, device: NewDevice, job_of: Optional[JobOfDevice]
    ) -> tuple[Login, Optional[NewJob]]:
        """As ``register``. If ``job_of`` is not None, the homeserver does not know the login yet:
        the job that tells it is written with the login, and returned."""
        now_ms = clock.now_ms(self.clock)
        terms, job = await self.db.transaction(
            "register_device", _register, user_id, device, now_ms, job_of
        )
        return attr.evolve(device.login, terms=terms), job

    async def by_access(self, access_hash: str) -> Optional[StoredLogin]:
        """The pair with this access token, even if spent or expired; None without the device."""
        return await self.db.autocommit("login_by_access", _by_access, access_hash)

    async def by_refresh(self, refresh_hash: str) -> Optional[StoredLogin]:
        """The pair with this refresh token, as ``by_access``."""
        return await self.db.autocommit("login_by_refresh", _by_refresh, refresh_hash)

    async def confirm(self, access_hash: str) -> None:
        """A token of this new pair has been used: mark the pair that it replaces as spent
        (contract B4.6)."""
        await self.db.transaction(
            "confirm_login", logins.confirm, access_hash, clock.now_ms(self.clock)
        )

    async def succeed(self, predecessor: str, user_id: UserID, login: Login) -> bool:
        """Add the pair that replaces ``predecessor`` (an access hash), in place of an earlier
        successor that is unused; False if a successor is in use or the device is gone."""
        return await self.db.transaction(
            "succeed_login", logins.succeed, predecessor, user_id, login
        )

    async def has_device(self, user_id: UserID, device_id: str) -> bool:
        """Whether the user has this device."""
        return await self.db.autocommit("has_device", _has_device, user_id, device_id)

    async def log_out(
        self, user_id: UserID, device_id: Optional[str], token: Optional[Secret] = None
    ) -> None:
        """Delete this device and its tokens, or all of the user's devices if ``device_id`` is
        None; the sessions that registered them no longer repeat their answers. ``token``: the
        device's access token, for ``logged_out``."""
        await self.end(user_id, WhichDevices.one_or_all(device_id), token)

    async def end(
        self, user_id: UserID, which: WhichDevices, token: Optional[Secret] = None
    ) -> Sequence[str]:
        """As ``log_out``, for any of the user's devices; returns those that there were."""
        removed = await self.db.transaction("log_out", remove, user_id, which, self.ended)
        await tell(removed, self.ended, self.logged_out, token)
        return removed.device_ids

    async def delete(
        self, user_id: UserID, which: WhichDevices, session_id: Optional[str], until_ms: int
    ) -> None:
        """As ``log_out``, as this UIA session confirms (None if none had to be stored). The session
        is finished in the same transaction, and kept until ``until_ms``; one that is finished
        already has deleted them, and deletes nothing again. Raises UnknownSession."""
        removed = await self.db.transaction(
            "delete_devices", _delete, user_id, which, session_id, until_ms, self.ended
        )
        await tell(removed, self.ended, self.logged_out)

    async def of_user(self, user_id: UserID) -> Sequence[Device]:
        """All devices of this user, ordered by their ids."""
        return await self.db.autocommit("devices_of_user", _of_user, user_id)

    async def find(self, user_id: UserID, device_id: str) -> Optional[Device]:
        """The user's device with this id; None if there is none."""
        return await self.db.autocommit("find_device", _find, user_id, device_id)

    async def rename(self, user_id: UserID, device_id: str, display_name: Optional[str]) -> bool:
        """Give the device this name; False if the user has no such device."""
        return await self.db.autocommit("rename_device", _rename, user_id, device_id, display_name)

    async def add(self, user_id: UserID, device: Device) -> bool:
        """Add a device that has no token; False if the user has one with this id. Raises
        UserNotFound for a user who does not exist or is deactivated."""
        return await self.db.transaction("add_device", _add, user_id, device)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_logins", logins.delete_expired, now_ms, at_most)


def _register(
    txn: Transaction,
    user_id: UserID,
    device: NewDevice,
    now_ms: int,
    job_of: Optional[JobOfDevice],
) -> tuple[LoginTerms, Optional[NewJob]]:
    """The terms of the login, and the job that follows; those of the first time, and none, if the
    call was sent before."""
    terms = device.login.terms
    if device.call is not None:
        earlier = replication_calls.claim(txn, device.call, now_ms, terms)
        if earlier is not None:
            return earlier.terms or terms, None
    # The lock keeps a deactivation or a guest's upgrade from running between the checks and the
    # login.
    user = txn.one(
        "SELECT deactivated, approved, is_guest, password_hash FROM users WHERE user_id = ?"
        + txn.dialect.for_update,
        (str(user_id),),
    )
    if user is None or user[0]:
        raise UserNotFound()
    if not user[1]:
        raise AwaitingApproval()
    # The password was changed while this login was under way.
    if device.password_fingerprint not in (None, password_fingerprint(user[3])):
        raise LoginFailed()
    check_guest(terms.is_guest, bool(user[2]))
    fresh = put(txn, user_id, device)
    if job_of is None:
        return terms, None
    job = job_of(fresh)
    mark_unknown(txn, user_id, terms.device_id, job.job_id)
    jobs.insert_held(txn, (job,), now_ms)
    return terms, job


def mark_unknown(txn: Transaction, user_id: UserID, device_id: str, job_id: str) -> None:
    """The homeserver does not know this device yet: its tokens are not valid there (see
    ``storage/provisioning.py``)."""
    txn.run(
        "INSERT INTO provisioning (user_id, device_id, job_id) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id, device_id) DO UPDATE SET job_id = excluded.job_id",
        (str(user_id), device_id, job_id),
    )


def _by_access(txn: Transaction, access_hash: str) -> Optional[StoredLogin]:
    return logins.stored_login(txn, "l.access_hash = ?", access_hash)


def _by_refresh(txn: Transaction, refresh_hash: str) -> Optional[StoredLogin]:
    return logins.stored_login(txn, "l.refresh_hash = ?", refresh_hash)


def _delete(
    txn: Transaction,
    user_id: UserID,
    which: WhichDevices,
    session_id: Optional[str],
    until_ms: int,
    ended: Optional[EndedLogins],
) -> Removed:
    if not sessions.finish_confirmed(txn, session_id, until_ms):
        return Removed(user_id)
    return remove(txn, user_id, which, ended)


def _of_user(txn: Transaction, user_id: UserID) -> Sequence[Device]:
    rows = txn.all(
        "SELECT device_id, display_name FROM devices WHERE user_id = ? ORDER BY device_id",
        (str(user_id),),
    )
    return [Device(device_id=row[0], display_name=row[1]) for row in rows]


def _find(txn: Transaction, user_id: UserID, device_id: str) -> Optional[Device]:
    row = txn.one(
        "SELECT display_name FROM devices WHERE user_id = ? AND device_id = ?",
        (str(user_id), device_id),
    )
    return None if row is None else Device(device_id=device_id, display_name=row[0])


def _rename(txn: Transaction, user_id: UserID, device_id: str, display_name: Optional[str]) -> bool:
    renamed = txn.run(
        "UPDATE devices SET display_name = ? WHERE user_id = ? AND device_id = ?",
        (display_name, str(user_id), device_id),
    )
    return renamed == 1


def _add(txn: Transaction, user_id: UserID, device: Device) -> bool:
    # The lock keeps a deactivation from running between the check and the insert.
    user = txn.one(
        "SELECT deactivated FROM users WHERE user_id = ?" + txn.dialect.for_update,
        (str(user_id),),
    )
    if user is None or user[0]:
        raise UserNotFound()
    return txn.insert(
        "devices",
        user_id=str(user_id),
        device_id=device.device_id,
        display_name=device.display_name,
    )


def _has_device(txn: Transaction, user_id: UserID, device_id: str) -> bool:
    sql = "SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?"
    return txn.one(sql, (str(user_id), device_id)) is not None
