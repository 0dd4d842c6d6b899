"""Accounts, and the one transaction that creates them."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import (
    InvalidParam,
    UnknownToken,
    UsernameTaken,
    UserNotFound,
)
from regsys.interfaces import IAccountStore, IUserLookup
from regsys.interfaces.internal import IAccountData
from regsys.model import GUEST_DEVICE_ID, NewAccount, User, UserID
from regsys.model.accounts import NewPassword, Outcome
from regsys.model.jobs import NewJob
from regsys.model.provisioning import Attempt
from regsys.storage import (
    approvals,
    audit,
    consents,
    deactivation,
    devices,
    ended_logins,
    idempotency_keys,
    jobs,
    name_holds,
    newcomers,
    passwords,
    provisioning,
    registration_tokens,
    replication_calls,
    server_state,
    sessions,
    threepids,
    validations,
)
from regsys.storage.database import Database, Transaction

# Writes rows of a homeserver's own, which has tables in the same database: called with the
# driver's cursor, between BEGIN and COMMIT, and with the account.
Also = Callable[[Any, NewAccount], None]


@implementer(IAccountStore, IUserLookup, IAccountData)
@attr.define(eq=False)
class UserStore:
    """``ended``, ``logged_out``: who is told of the devices that a deactivation or a new password
    removes, as in DeviceStore."""

    db: Database
    ended: Optional[ended_logins.EndedLogins] = None
    logged_out: ended_logins.LoggedOut = ended_logins.nobody_told
    # True once this process has created a real user: a later one is not the first.
    _has_real_users: bool = attr.field(init=False, default=False)

    async def find(self, localpart: str) -> Optional[User]:
        return await self.db.autocommit("find_user", _find, localpart)

    async def is_taken(self, localpart: str) -> bool:
        return await self.db.autocommit("is_taken", _is_taken, localpart)

    async def next_number(self) -> int:
        return await self.db.autocommit("next_number", _next_number)

    async def create_account(self, new: NewAccount) -> UserID:
        return (await self.write(new)).user_id

    async def write(self, new: NewAccount, also: Optional[Also] = None) -> Outcome:
        """As ``create_account``, with the device and the jobs. ``also`` is called last in the
        account's transaction, unless the key has created an account before."""
        may_be_first = new.is_real and not self._has_real_users
        outcome = await self.db.transaction("create_account", _create, new, may_be_first, also)
        self._has_real_users |= may_be_first
        return outcome

    async def made_by(self, key: str) -> Optional[UserID]:
        return await self.db.autocommit("made_by", _made_by, key)

    async def change_password(self, new: NewPassword) -> bool:
        """Give the account its new password, and end its logins if ``new`` says so, in one
        transaction. False if ``new`` has done this before: then nothing is written.

        What the user has begun to confirm by the old password, and other resets, end with it.
        Raises UserNotFound, UserDeactivated, LoginFailed if the password that was checked is not
        the account's any more, UnknownToken if the requesting device is gone, UnknownSession, and
        ThreepidNotValidated if the account does not have the validated address any more.
        """
        changed, removed = await self.db.transaction(
            "change_password", passwords.change, new, self.ended
        )
        await ended_logins.tell(removed, self.ended, self.logged_out)
        return changed

    async def deactivate(
        self, user_id: UserID, erase: bool, jobs: Sequence[NewJob], now_ms: int
    ) -> None:
        """Deactivate the account: it loses its password and devices, and its name stays taken.
        ``erase`` is remembered once it was given, and removes the display name. ``jobs`` are
        written with it, with a lease of this process. Idempotent; nothing is written for a user who
        does not exist."""
        removed = await self.db.transaction(
            "deactivate_user", deactivation.deactivate, user_id, erase, jobs, now_ms, self.ended
        )
        await ended_logins.tell(removed, self.ended, self.logged_out)

    async def delete_for(self, user_id: UserID) -> None:
        await self.deactivate(user_id, False, (), 0)

    async def undo(self, new: NewAccount, attempt: Attempt, now_ms: int) -> bool:
        """Remove an account that is not provisioned yet, and never can be, as if it had never been
        made; False if it is no longer waiting, or another attempt has it."""
        undone = await self.db.transaction("undo_account", provisioning.undo, new, attempt, now_ms)
        if undone:
            # It may have been the first.
            self._has_real_users = False
        return undone

    async def approve(self, localpart: str) -> bool:
        """Let an account that waits for approval log in; False if there is no such account."""
        return await self.db.autocommit("approve_user", _approve, localpart)

    async def set_admin(self, user_id: UserID, admin: bool) -> None:
        """Make the user a server administrator, or an ordinary user. Raises UserNotFound, and
        InvalidParam for a guest."""
        await self.db.transaction("set_admin", _set_admin, user_id, admin)


def _create(txn: Transaction, new: NewAccount, may_be_first: bool, also: Optional[Also]) -> Outcome:
    """Write everything that belongs to the account; after an exception nothing is written.

    ``may_be_first``: this process knows of no real user yet, so this one may be the first.
    The key is claimed first: of several calls with one key all but one wait here and then find
    its outcome. The statements that may refuse the account come next, the cheapest first.
    """
    earlier = idempotency_keys.claim(txn, new)
    if new.call is not None:
        replication_calls.keep_maker(
            txn, new.call, new.created_ms, made_earlier=earlier is not None
        )
    if earlier is not None:
        return earlier
    if new.upgrades_guest:
        _upgrade_guest(txn, new)
    else:
        name_holds.check(txn, new)
        _add_user(txn, new)
    registration_tokens.use(txn, new)
    if new.threepids:
        threepids.add(txn, new)
        validations.use(txn, new)
    consents.record(txn, new.user_id, new.consents, new.created_ms)
    if may_be_first:
        server_state.note_real_user(txn, new)
    if new.device is not None:
        devices.put(txn, new.user_id, new.device)
    approvals.record(txn, new)
    sessions.finish(txn, new)
    provisioning.mark_account(txn, new)
    audit.record_account(txn, new)
    newcomers.add(txn, new)
    written = jobs.insert_held(txn, new.jobs, new.created_ms)
    if also is not None:
        also(txn.cursor, new)
    return Outcome(
        key=new.key,
        user_id=new.user_id,
        created_ms=new.created_ms,
        terms=new.device.login.terms if new.device else None,
        jobs=written,
    )


def _add_user(txn: Transaction, new: NewAccount) -> None:
    added = txn.insert(
        "users",
        user_id=str(new.user_id),
        name_key=new.user_id.name_key,
        password_hash=new.password_hash,
        is_guest=new.is_guest,
        admin=new.admin,
        user_type=new.user_type,
        approved=new.approved,
        shadow_banned=new.shadow_banned,
        deactivated=False,
        appservice_id=new.appservice_id,
        created_ms=new.created_ms,
        at_homeserver=provisioning.is_at_homeserver(new),
    )
    if not added:
        raise UsernameTaken()
    if new.display_name is not None:
        txn.insert("profiles", user_id=str(new.user_id), display_name=new.display_name)


def _made_by(txn: Transaction, key: str) -> Optional[UserID]:
    found = idempotency_keys.find(txn, key)
    return None if found is None else found.user_id


def _upgrade_guest(txn: Transaction, new: NewAccount) -> None:
    upgraded = txn.run(
        "UPDATE users SET is_guest = FALSE, password_hash = ?, admin = ?, user_type = ?,"
        " approved = ?, shadow_banned = ?, upgraded_ms = ?"
        " WHERE user_id = ? AND is_guest AND NOT deactivated",
        (
            new.password_hash,
            new.admin,
            new.user_type,
            new.approved,
            new.shadow_banned,
            new.created_ms,
            str(new.user_id),
        ),
    )
    if not upgraded:
        # The guest was upgraded or deactivated meanwhile, which has ended its access token.
        raise UnknownToken()
    txn.run(
        "DELETE FROM devices WHERE user_id = ? AND device_id = ?",
        (str(new.user_id), GUEST_DEVICE_ID),
    )


def _find(txn: Transaction, localpart: str) -> Optional[User]:
    # Of two adopted users whose names differ by the case of letters alone, one has its own spelling
    # as its key: whoever spells it exactly means that one.
    row = txn.one(
        "SELECT user_id, password_hash, is_guest, admin, user_type, approved, shadow_banned,"
        " deactivated, appservice_id, created_ms FROM users WHERE name_key IN (?, ?)"
        " ORDER BY CASE name_key WHEN ? THEN 0 ELSE 1 END",
        (localpart, localpart.lower(), localpart),
    )
    if row is None:
        return None
    return User(
        user_id=UserID.parse(row[0]),
        password_hash=row[1],
        is_guest=bool(row[2]),
        admin=bool(row[3]),
        user_type=row[4],
        approved=bool(row[5]),
        shadow_banned=bool(row[6]),
        deactivated=bool(row[7]),
        appservice_id=row[8],
        created_ms=row[9],
    )


def _is_taken(txn: Transaction, localpart: str) -> bool:
    return txn.one("SELECT 1 FROM users WHERE name_key = ?", (localpart.lower(),)) is not None


def _next_number(txn: Transaction) -> int:
    row = txn.one(txn.dialect.next_number)
    assert row is not None
    return int(row[0])


def _approve(txn: Transaction, localpart: str) -> bool:
    user = _find(txn, localpart)
    if user is None:
        return False
    sql = "UPDATE users SET approved = TRUE WHERE user_id = ?"
    return txn.run(sql, (str(user.user_id),)) == 1


def _set_admin(txn: Transaction, user_id: UserID, admin: bool) -> None:
    sql = "UPDATE users SET admin = ? WHERE user_id = ? AND NOT deactivated"
    if admin:
        sql += " AND NOT is_guest"
    if txn.run(sql, (admin, str(user_id))):
        return
    row = txn.one("SELECT is_guest, deactivated FROM users WHERE user_id = ?", (str(user_id),))
    if row is None or row[1]:
        raise UserNotFound()
    raise InvalidParam("A guest cannot be a server administrator.")
