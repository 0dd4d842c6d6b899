"""Registration tokens, the uses that sessions hold, and the accounts that have used them.

``completed`` is a counter in the token's row. Uses under way are counted from their reservations,
each of which expires by itself. A use is taken under a lock on the token's row, so that concurrent
requests count one after the other.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import InvalidRegistrationToken
from regsys.interfaces.internal import IExpiring
from regsys.json_body import MAX_INTEGER
from regsys.model import NewAccount
from regsys.model.audit import AuditEntry
from regsys.model.registration_tokens import (
    RESERVED_MS,
    TOKENS_A_PAGE,
    USES_A_PAGE,
    RegistrationToken,
    TokenUse,
)
from regsys.storage import audit
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Row, Transaction

CHANGEABLE = ("uses_allowed", "expiry_ms", "revoked", "note")


def use(txn: Transaction, new: NewAccount) -> None:
    """Count the use by this account; InvalidRegistrationToken if none is left.

    A use that the account's session has reserved is available unless the reservation has expired
    and others have taken it.
    """
    token = new.registration_token
    if token is not None:
        if not _has_use_left(txn, token, _holder(new), new.created_ms):
            raise InvalidRegistrationToken()
        _count(txn, token, new)


# --- An account in an embedder's store: its use is held before, and counted afterwards ---


def hold(txn: Transaction, new: NewAccount) -> None:
    """Hold a use until ``use_held`` or ``release``, however long that takes; errors as ``use``."""
    token = new.registration_token
    if token is not None:
        if not _has_use_left(txn, token, _holder(new), new.created_ms):
            raise InvalidRegistrationToken()
        _write_reservation(txn, token, _holder(new), MAX_INTEGER)


def use_held(txn: Transaction, new: NewAccount) -> None:
    """The account exists: count its use, even if the token was revoked or has expired."""
    if new.registration_token is not None:
        _count(txn, new.registration_token, new)


def release(txn: Transaction, new: NewAccount) -> None:
    """The account was refused: its session holds the use again, as a reservation that expires."""
    if new.session_id is None:
        _delete_reservation(txn, new.key)
    else:
        txn.run(
            "UPDATE registration_token_reservations SET expires_ms = ? WHERE session_id = ?",
            (new.created_ms + RESERVED_MS, new.session_id),
        )


def undo(txn: Transaction, new: NewAccount, now_ms: int) -> None:
    """The account is removed as if it had never been made: its session holds the use again."""
    if new.registration_token is None:
        return
    counted = txn.run(
        "UPDATE registration_tokens SET completed = completed - 1 WHERE token = ?",
        (new.registration_token,),
    )
    txn.run("DELETE FROM registration_token_uses WHERE user_id = ?", (str(new.user_id),))
    if counted and new.session_id is not None:
        _write_reservation(txn, new.registration_token, new.session_id, now_ms + RESERVED_MS)


def _holder(new: NewAccount) -> str:
    return new.session_id or new.key


def _count(txn: Transaction, token: str, new: NewAccount) -> None:
    # The token's row is locked first everywhere, so that there is no deadlock.
    txn.run("UPDATE registration_tokens SET completed = completed + 1 WHERE token = ?", (token,))
    _delete_reservation(txn, _holder(new))
    txn.insert(
        "registration_token_uses",
        user_id=str(new.user_id),
        token=token,
        used_ms=new.created_ms,
    )


@implementer(IExpiring)
@attr.frozen
class RegistrationTokenStore:
    """Registration tokens, and the uses that sessions hold of them (contract B8.8). ``entries`` of
    the audit log are written with the change that they tell of."""

    db: Database

    async def create(self, token: RegistrationToken, entries: Sequence[AuditEntry] = ()) -> bool:
        """Store a new token; False if it exists already."""
        return await self.db.transaction("create_token", _create, token, entries)

    async def get(self, token: str, now_ms: int) -> Optional[RegistrationToken]:
        """The token with its current uses; None if there is no such token."""
        return await self.db.autocommit("get_token", _get, token, now_ms)

    async def list(
        self, now_ms: int, after: Optional[RegistrationToken] = None, at_most: int = TOKENS_A_PAGE
    ) -> Sequence[RegistrationToken]:
        """Up to ``at_most`` tokens, the oldest first, that follow ``after``; from the beginning if
        it is None."""
        return await self.db.autocommit("list_tokens", _list, now_ms, after, at_most)

    async def change(
        self, token: str, changes: Mapping[str, Any], entries: Sequence[AuditEntry] = ()
    ) -> bool:
        """Set ``uses_allowed``, ``expiry_ms``, ``revoked`` or ``note``; False if there is no such
        token."""
        return await self.db.transaction("change_token", _change, token, changes, entries)

    async def delete(self, token: str, entries: Sequence[AuditEntry] = ()) -> bool:
        """Delete the token and its reservations; False if there is no such token."""
        return await self.db.transaction("delete_token", _delete, token, entries)

    async def uses(
        self, token: str, after: Optional[TokenUse] = None, at_most: int = USES_A_PAGE
    ) -> Sequence[TokenUse]:
        """Up to ``at_most`` accounts that were registered with the token, the oldest first, that
        follow ``after``; from the beginning if it is None."""
        return await self.db.autocommit("token_uses", _uses, token, after, at_most)

    async def first_uses(
        self, tokens: Sequence[str], at_most: int
    ) -> Mapping[str, Sequence[TokenUse]]:
        """The first ``at_most`` uses of each of these tokens, by token; tokens without a use are
        left out."""
        return await self.db.autocommit("first_token_uses", _first_uses, tokens, at_most)

    async def reserve(self, token: str, session_id: str, now_ms: int) -> bool:
        """Reserve a use for this session, for RESERVED_MS; False if none is left.

        A session has at most one reservation: this one replaces an earlier one, of any token.
        The transaction that makes the account turns it into a use (NewAccount.registration_token).
        """
        return await self.db.transaction("reserve_token", _reserve, token, session_id, now_ms)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_reservations", _delete_expired, now_ms, at_most)


_SELECT = (
    "SELECT t.token, t.uses_allowed, {pending}, t.completed, t.expiry_ms, t.revoked, t.note,"
    " t.creator, t.created_ms FROM registration_tokens t"
)
_UNCOUNTED = _SELECT.format(pending="0")
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


def _create(txn: Transaction, token: RegistrationToken, entries: Sequence[AuditEntry]) -> bool:
    values = attr.asdict(token)
    del values["pending"]
    added = txn.insert("registration_tokens", **values)
    if added:
        audit.record(txn, entries)
    # An identical row was written by an earlier try of this call, whose reply was lost.
    return added or _get(txn, token.token, token.created_ms) == token


def _get(txn: Transaction, token: str, now_ms: int) -> Optional[RegistrationToken]:
    row = txn.one(f"{_COUNTED} WHERE t.token = ?", (now_ms, token))
    return None if row is None else _from_row(row)


def _list(
    txn: Transaction, now_ms: int, after: Optional[RegistrationToken], at_most: int
) -> Sequence[RegistrationToken]:
    place = (-1, "") if after is None else (after.created_ms, after.token)
    rows = txn.all(
        f"{_COUNTED} WHERE (t.created_ms, t.token) > (?, ?) ORDER BY t.created_ms, t.token LIMIT ?",
        (now_ms, *place, at_most),
    )
    return [_from_row(row) for row in rows]


def _change(
    txn: Transaction, token: str, changes: Mapping[str, Any], entries: Sequence[AuditEntry]
) -> bool:
    columns = [name for name in CHANGEABLE if name in changes]
    if not columns:
        return txn.one("SELECT 1 FROM registration_tokens WHERE token = ?", (token,)) is not None
    settings = ", ".join(f"{name} = ?" for name in columns)
    values = (*(changes[name] for name in columns), token)
    changed = txn.run(f"UPDATE registration_tokens SET {settings} WHERE token = ?", values) == 1
    if changed:
        audit.record(txn, entries)
    return changed


def _delete(txn: Transaction, token: str, entries: Sequence[AuditEntry]) -> bool:
    deleted = txn.run("DELETE FROM registration_tokens WHERE token = ?", (token,)) == 1
    if deleted:
        audit.record(txn, entries)
    return deleted


def _uses(
    txn: Transaction, token: str, after: Optional[TokenUse], at_most: int
) -> Sequence[TokenUse]:
    place = (-1, "") if after is None else (after.used_ms, after.user_id)
    rows = txn.all(
        "SELECT user_id, used_ms FROM registration_token_uses"
        " WHERE token = ? AND (used_ms, user_id) > (?, ?) ORDER BY used_ms, user_id LIMIT ?",
        (token, *place, at_most),
    )
    return [TokenUse(*row) for row in rows]


def _first_uses(
    txn: Transaction, tokens: Sequence[str], at_most: int
) -> Mapping[str, Sequence[TokenUse]]:
    if not tokens:
        return {}
    of_each = (
        "SELECT * FROM (SELECT token, user_id, used_ms FROM registration_token_uses WHERE token = ?"
        " ORDER BY used_ms, user_id LIMIT ?) AS part{}"
    )
    rows = txn.all(
        " UNION ALL ".join(of_each.format(number) for number in range(len(tokens))),
        [value for token in tokens for value in (token, at_most)],
    )
    uses: dict[str, list[TokenUse]] = {}
    for token, user_id, used_ms in rows:
        uses.setdefault(token, []).append(TokenUse(user_id, used_ms))
    return uses


def _reserve(txn: Transaction, token: str, session_id: str, now_ms: int) -> bool:
    if not _has_use_left(txn, token, session_id, now_ms):
        return False
    _write_reservation(txn, token, session_id, now_ms + RESERVED_MS)
    return True


def _has_use_left(txn: Transaction, name: str, holder: str, now_ms: int) -> bool:
    """Whether a use is left for ``holder``, apart from those that others hold; locks the token."""
    row = txn.one(f"{_UNCOUNTED} WHERE t.token = ?{txn.dialect.for_update}", (name,))
    if row is None:
        return False
    registration_token = _from_row(row)
    if registration_token.uses_allowed is None:
        # Without a limit the reservations, which may be very many, need not be counted.
        return registration_token.is_valid(now_ms)
    # Counted after the lock was granted: a count in the same statement could be older.
    others = txn.one(
        "SELECT COUNT(*) FROM registration_token_reservations"
        " WHERE token = ? AND expires_ms > ? AND session_id <> ?",
        (name, now_ms, holder),
    )
    assert others is not None
    return attr.evolve(registration_token, pending=others[0]).is_valid(now_ms)


def _write_reservation(txn: Transaction, token: str, holder: str, until_ms: int) -> None:
    txn.run(
        "INSERT INTO registration_token_reservations (session_id, token, expires_ms)"
        " VALUES (?, ?, ?) ON CONFLICT (session_id)"
        " DO UPDATE SET token = excluded.token, expires_ms = excluded.expires_ms",
        (holder, token, until_ms),
    )


def _delete_reservation(txn: Transaction, holder: str) -> None:
    txn.run("DELETE FROM registration_token_reservations WHERE session_id = ?", (holder,))


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    table = "registration_token_reservations"
    return delete_some(txn, table, "session_id", "expires_ms <= ?", (now_ms,), at_most)
