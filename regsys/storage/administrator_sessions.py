"""Who is logged in at the administrators' page."""

from __future__ import annotations

from typing import Optional

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.model import User, UserID
from regsys.model.accounts import password_fingerprint
from regsys.model.token_text import token_hash
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction


@implementer(IAccountData, IExpiring)
@attr.frozen
class AdministratorSessionStore:
    """Sessions by the digest of their secret: the rows alone let nobody in."""

    db: Database

    async def begin(self, secret: str, user: User, until_ms: int) -> None:
        await self.db.autocommit("begin_administrator_session", _begin, secret, user, until_ms)

    async def user_of(self, secret: str, now_ms: int) -> Optional[UserID]:
        """Who has begun it; None if there is no such session, or it has ended: the user is no
        administrator any more, is deactivated, or has another password."""
        return await self.db.autocommit("administrator_session", _user_of, secret, now_ms)

    async def end(self, secret: str) -> None:
        await self.db.autocommit("end_administrator_session", _end, secret)

    async def delete_for(self, user_id: UserID) -> None:
        await self.db.autocommit("forget_administrator_sessions", _delete_for, user_id)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction(
            "expire_administrator_sessions", _delete_expired, now_ms, at_most
        )


def _begin(txn: Transaction, secret: str, user: User, until_ms: int) -> None:
    txn.insert(
        "administrator_sessions",
        session_hash=token_hash(secret),
        user_id=str(user.user_id),
        password_fingerprint=user.password_fingerprint,
        expires_ms=until_ms,
    )


def _user_of(txn: Transaction, secret: str, now_ms: int) -> Optional[UserID]:
    row = txn.one(
        "SELECT u.user_id, u.password_hash, s.password_fingerprint"
        " FROM administrator_sessions s JOIN users u ON u.user_id = s.user_id"
        " WHERE s.session_hash = ? AND s.expires_ms > ? AND u.admin AND u.approved"
        " AND NOT u.deactivated",
        (token_hash(secret), now_ms),
    )
    if row is None or password_fingerprint(row[1]) != row[2]:
        return None
    return UserID.parse(row[0])


def _end(txn: Transaction, secret: str) -> None:
    txn.run("DELETE FROM administrator_sessions WHERE session_hash = ?", (token_hash(secret),))


def _delete_for(txn: Transaction, user_id: UserID) -> None:
    txn.run("DELETE FROM administrator_sessions WHERE user_id = ?", (str(user_id),))


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    table, key = "administrator_sessions", "session_hash"
    return delete_some(txn, table, key, "expires_ms <= ?", (now_ms,), at_most)
