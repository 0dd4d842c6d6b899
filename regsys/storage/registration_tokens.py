"""Registration tokens, and who holds or has had a use of them.

``completed`` is a counter in the token's row. Uses under way are counted from their
reservations, each with an end of its own. Both change under a lock on the token's row, so
that rivals count one after the other.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import InvalidRegistrationToken
from regsys.interfaces import IExpiring, IRegistrationTokenStore
from regsys.model import NewAccount, RegistrationToken, TokenUse
from regsys.storage.database import Database, Row, Transaction

# How long a use is held for an account that is being made in somebody else's store.
HELD_MS = 3600 * 1000
CHANGEABLE = ("uses_allowed", "expiry_ms", "revoked", "note")


def use(txn: Transaction, new: NewAccount) -> None:
    """Count the use that makes this account; InvalidRegistrationToken if none is left.

    The session's own reservation makes room for it, even one that has run out meanwhile.
    """
    if new.registration_token is None:
        return
    token = _locked(txn, new.registration_token)
    if token is not None:
        _give_back(txn, _holder(new))
        token = _with_pending(txn, token, new.created_ms)
    if token is None or not token.is_valid(new.created_ms):
        raise InvalidRegistrationToken()
    _count(txn, token.token, new)


def hold(txn: Transaction, new: NewAccount) -> None:
    """Hold the use of an account about to be made elsewhere; errors as ``use``."""
    if new.registration_token is not None:
        until_ms = new.created_ms + HELD_MS
        if not _reserve(txn, new.registration_token, _holder(new), new.created_ms, until_ms):
            raise InvalidRegistrationToken()


def use_held(txn: Transaction, new: NewAccount) -> None:
    """The account of which a use was held exists now: count it, whatever became of the token."""
    row = txn.one(
        "SELECT token FROM registration_token_reservations WHERE session_id = ?", (_holder(new),)
    )
    if row is not None:
        _give_back(txn, _holder(new))
        _count(txn, row[0], new)


def _holder(new: NewAccount) -> str:
    return new.session_id or new.key


def _count(txn: Transaction, token: str, new: NewAccount) -> None:
    txn.run("UPDATE registration_tokens SET completed = completed + 1 WHERE token = ?", (token,))
    txn.insert(
        "registration_token_uses",
        user_id=str(new.user_id),
        token=token,
        used_ms=new.created_ms,
    )


@implementer(IRegistrationTokenStore, IExpiring)
@attr.frozen
class RegistrationTokenStore:
    db: Database

    async def create(self, token: RegistrationToken) -> bool:
        return await self.db.write("create_token", _create, token)

    async def get(self, token: str, now_ms: int) -> Optional[RegistrationToken]:
        return await self.db.read("get_token", _get, token, now_ms)

    async def list(self, now_ms: int) -> Sequence[RegistrationToken]:
        return await self.db.read("list_tokens", _list, now_ms)

    async def change(self, token: str, changes: Mapping[str, Any]) -> bool:
        return await self.db.write("change_token", _change, token, changes)

    async def delete(self, token: str) -> bool:
        return await self.db.write("delete_token", _delete, token)

    async def uses(self, token: str) -> Sequence[TokenUse]:
        return await self.db.read("token_uses", _uses, token)

    async def reserve(self, token: str, session_id: str, now_ms: int, until_ms: int) -> bool:
        return await self.db.write("reserve_token", _reserve, token, session_id, now_ms, until_ms)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.write("expire_reservations", _delete_expired, now_ms, at_most)


_SELECT = (
    "SELECT t.token, t.uses_allowed, {pending}, t.completed, t.expiry_ms, t.revoked, t.note,"
    " t.creator, t.created_ms FROM registration_tokens t"
)
_COUNTED = _SELECT.format(
    pending="(SELECT COUNT(*) FROM registration_token_reservations r"
    " WHERE r.token = t.token AND r.expires_ms > ?)"
)


def _from_row(row: Row) -> RegistrationToken:
    token, uses_allowed, pending, completed, expiry_ms, revoked, note, creator, created_ms = row
    return RegistrationToken(
        token=token,
        uses_allowed=uses_allowed,
        pending=pending,
        completed=completed,
        expiry_ms=expiry_ms,
        revoked=bool(revoked),
        note=note,
        creator=creator,
        created_ms=created_ms,
    )


def _create(txn: Transaction, token: RegistrationToken) -> bool:
    values = attr.asdict(token)
    del values["pending"]
    return txn.insert("registration_tokens", **values)


def _get(txn: Transaction, token: str, now_ms: int) -> Optional[RegistrationToken]:
    row = txn.one(f"{_COUNTED} WHERE t.token = ?", (now_ms, token))
    return None if row is None else _from_row(row)


def _list(txn: Transaction, now_ms: int) -> Sequence[RegistrationToken]:
    rows = txn.all(f"{_COUNTED} ORDER BY t.created_ms, t.token", (now_ms,))
    return [_from_row(row) for row in rows]


def _change(txn: Transaction, token: str, changes: Mapping[str, Any]) -> bool:
    columns = [name for name in CHANGEABLE if name in changes]
    if not columns:
        return _locked(txn, token) is not None
    settings = ", ".join(f"{name} = ?" for name in columns)
    values = (*(changes[name] for name in columns), token)
    return txn.run(f"UPDATE registration_tokens SET {settings} WHERE token = ?", values) == 1


def _delete(txn: Transaction, token: str) -> bool:
    return txn.run("DELETE FROM registration_tokens WHERE token = ?", (token,)) == 1


def _uses(txn: Transaction, token: str) -> Sequence[TokenUse]:
    rows = txn.all(
        "SELECT user_id, used_ms FROM registration_token_uses WHERE token = ?"
        " ORDER BY used_ms, user_id",
        (token,),
    )
    return [TokenUse(*row) for row in rows]


def _reserve(txn: Transaction, name: str, session_id: str, now_ms: int, until_ms: int) -> bool:
    token = _locked(txn, name)
    if token is None:
        return False
    _give_back(txn, session_id)
    if not _with_pending(txn, token, now_ms).is_valid(now_ms):
        return False
    return txn.insert(
        "registration_token_reservations", session_id=session_id, token=name, expires_ms=until_ms
    )


def _locked(txn: Transaction, token: str) -> Optional[RegistrationToken]:
    """The token, without its pending uses, locked for this transaction."""
    row = txn.one(
        f"{_SELECT.format(pending='0')} WHERE t.token = ?{txn.dialect.for_update}", (token,)
    )
    return None if row is None else _from_row(row)


def _with_pending(txn: Transaction, token: RegistrationToken, now_ms: int) -> RegistrationToken:
    # Counted after the lock was granted: a count within the locking statement could be older.
    row = txn.one(
        "SELECT COUNT(*) FROM registration_token_reservations WHERE token = ? AND expires_ms > ?",
        (token.token, now_ms),
    )
    assert row is not None
    return attr.evolve(token, pending=row[0])


def _give_back(txn: Transaction, session_id: str) -> None:
    txn.run("DELETE FROM registration_token_reservations WHERE session_id = ?", (session_id,))


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    return txn.run(
        "DELETE FROM registration_token_reservations WHERE session_id IN (SELECT session_id"
        " FROM registration_token_reservations WHERE expires_ms <= ? LIMIT ?)",
        (now_ms, at_most),
    )
