"""Registration tokens, and who holds or has had a use of them.

``completed`` is a counter in the token's row. Uses under way are counted from their
reservations, each with an end of its own. What takes a use does so under a lock on the
token's row, so that rivals count one after the other.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import InvalidRegistrationToken
from regsys.interfaces import IExpiring
from regsys.json_body import MAX_INTEGER
from regsys.model import (
    RESERVED_MS,
    TOKENS_A_PAGE,
    USES_A_PAGE,
    NewAccount,
    RegistrationToken,
    TokenUse,
)
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Row, Transaction

CHANGEABLE = ("uses_allowed", "expiry_ms", "revoked", "note")


def use(txn: Transaction, new: NewAccount) -> None:
    """Count the use that makes this account; InvalidRegistrationToken if none is left.

    One that its session holds is left for it; one that it held too long ago may not be.
    """
    token = new.registration_token
    if token is not None:
        if not _has_room(txn, token, _holder(new), new.created_ms):
            raise InvalidRegistrationToken()
        _count(txn, token, new)


# --- An account that is made in somebody else's store: held before, counted after --------


def hold(txn: Transaction, new: NewAccount) -> None:
    """Hold the use until the matter has ended, however long that takes; errors as ``use``."""
    token = new.registration_token
    if token is not None:
        if not _has_room(txn, token, _holder(new), new.created_ms):
            raise InvalidRegistrationToken()
        _put(txn, token, _holder(new), MAX_INTEGER)


def use_held(txn: Transaction, new: NewAccount) -> None:
    """The account exists: count its use, whatever has become of the token meanwhile."""
    if new.registration_token is not None:
        _count(txn, new.registration_token, new)


def let_go(txn: Transaction, new: NewAccount) -> None:
    """There will be no such account: its session holds the use as it did before."""
    if new.session_id is None:
        _give_back(txn, new.key)
    else:
        txn.run(
            "UPDATE registration_token_reservations SET expires_ms = ? WHERE session_id = ?",
            (new.created_ms + RESERVED_MS, new.session_id),
        )


def _holder(new: NewAccount) -> str:
    return new.session_id or new.key


def _count(txn: Transaction, token: str, new: NewAccount) -> None:
    # The token first, which is locked first everywhere: so nobody waits in a circle.
    txn.run("UPDATE registration_tokens SET completed = completed + 1 WHERE token = ?", (token,))
    _give_back(txn, _holder(new))
    txn.insert(
        "registration_token_uses",
        user_id=str(new.user_id),
        token=token,
        used_ms=new.created_ms,
    )


@implementer(IExpiring)
@attr.frozen
class RegistrationTokenStore:
    """Registration tokens, and the uses that sessions hold of them (contract B8.8)."""

    db: Database

    async def create(self, token: RegistrationToken) -> bool:
        """Store a new token; False if there is one of this name."""
        return await self.db.transaction("create_token", _create, token)

    async def get(self, token: str, now_ms: int) -> Optional[RegistrationToken]:
        """The token with its uses as they stand now; None: there is none."""
        return await self.db.autocommit("get_token", _get, token, now_ms)

    async def list(
        self, now_ms: int, after: Optional[RegistrationToken] = None, at_most: int = TOKENS_A_PAGE
    ) -> Sequence[RegistrationToken]:
        """Up to ``at_most`` tokens, the oldest first, that follow ``after`` (None: from the
        beginning)."""
        return await self.db.autocommit("list_tokens", _list, now_ms, after, at_most)

    async def change(self, token: str, changes: Mapping[str, Any]) -> bool:
        """Set ``uses_allowed``, ``expiry_ms``, ``revoked`` or ``note``; False: no such token."""
        return await self.db.transaction("change_token", _change, token, changes)

    async def delete(self, token: str) -> bool:
        """Forget it, and the uses that are held; False: no such token."""
        return await self.db.transaction("delete_token", _delete, token)

    async def uses(
        self, token: str, after: Optional[TokenUse] = None, at_most: int = USES_A_PAGE
    ) -> Sequence[TokenUse]:
        """Up to ``at_most`` accounts that it has let in, the oldest first, that follow ``after``
        (None: from the beginning)."""
        return await self.db.autocommit("token_uses", _uses, token, after, at_most)

    async def first_uses(
        self, tokens: Sequence[str], at_most: int
    ) -> Mapping[str, Sequence[TokenUse]]:
        """The first ``at_most`` uses of each of these tokens; nothing of one that has none."""
        return await self.db.autocommit("first_token_uses", _first_uses, tokens, at_most)

    async def reserve(self, token: str, session_id: str, now_ms: int) -> bool:
        """Hold a use for this session, for RESERVED_MS; False if none is left.

        A session holds one use at most: this one replaces what it held, of whatever token.
        The transaction that makes the account uses it up (NewAccount.registration_token).
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


def _create(txn: Transaction, token: RegistrationToken) -> bool:
    values = attr.asdict(token)
    del values["pending"]
    added = txn.insert("registration_tokens", **values)
    # The very same one is ours, from a try whose answer was lost.
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


def _change(txn: Transaction, token: str, changes: Mapping[str, Any]) -> bool:
    columns = [name for name in CHANGEABLE if name in changes]
    if not columns:
        return txn.one("SELECT 1 FROM registration_tokens WHERE token = ?", (token,)) is not None
    settings = ", ".join(f"{name} = ?" for name in columns)
    values = (*(changes[name] for name in columns), token)
    return txn.run(f"UPDATE registration_tokens SET {settings} WHERE token = ?", values) == 1


def _delete(txn: Transaction, token: str) -> bool:
    return txn.run("DELETE FROM registration_tokens WHERE token = ?", (token,)) == 1


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
    found: dict[str, list[TokenUse]] = {}
    for token, user_id, used_ms in rows:
        found.setdefault(token, []).append(TokenUse(user_id, used_ms))
    return found


def _reserve(txn: Transaction, token: str, session_id: str, now_ms: int) -> bool:
    if not _has_room(txn, token, session_id, now_ms):
        return False
    _put(txn, token, session_id, now_ms + RESERVED_MS)
    return True


def _has_room(txn: Transaction, name: str, holder: str, now_ms: int) -> bool:
    """Whether ``holder`` may have a use, beside those that others hold; locks the token."""
    row = txn.one(f"{_UNCOUNTED} WHERE t.token = ?{txn.dialect.for_update}", (name,))
    if row is None:
        return False
    found = _from_row(row)
    if found.uses_allowed is None:
        # Whoever holds it takes nothing from others: very many may.
        return found.is_valid(now_ms)
    # Counted after the lock was granted: a count within that statement could be older.
    others = txn.one(
        "SELECT COUNT(*) FROM registration_token_reservations"
        " WHERE token = ? AND expires_ms > ? AND session_id <> ?",
        (name, now_ms, holder),
    )
    assert others is not None
    return attr.evolve(found, pending=others[0]).is_valid(now_ms)


def _put(txn: Transaction, token: str, holder: str, until_ms: int) -> None:
    txn.run(
        "INSERT INTO registration_token_reservations (session_id, token, expires_ms)"
        " VALUES (?, ?, ?) ON CONFLICT (session_id)"
        " DO UPDATE SET token = excluded.token, expires_ms = excluded.expires_ms",
        (holder, token, until_ms),
    )


def _give_back(txn: Transaction, holder: str) -> None:
    txn.run("DELETE FROM registration_token_reservations WHERE session_id = ?", (holder,))


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    table = "registration_token_reservations"
    return delete_some(txn, table, "session_id", "expires_ms <= ?", (now_ms,), at_most)
