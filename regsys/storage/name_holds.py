"""User names that are held for the UIA session that has named them (docs/names.md).

A hold is in the session's own row: it ends with it. The unique key on ``held_name`` decides which
session holds a name. A hold whose time is over counts no more, and stays until another session
wants the name: so the session that had it gets no second one by naming it again.
"""

from __future__ import annotations

from typing import Optional

from regsys.errors import UsernameHeld
from regsys.model import NewAccount
from regsys.model.networks import WHOLE_SITE
from regsys.model.uia import MOST_HELD, NameHold, UIASession
from regsys.storage.database import Transaction

Held = tuple[Optional[str], Optional[int]]
NOTHING: Held = (None, None)

_OF_ADDRESS, _OF_SITE = (
    "(SELECT COUNT(*) FROM (SELECT 1 FROM uia_sessions"
    f" WHERE {column} = ? AND expires_ms > ? AND NOT finished AND held_until_ms > ? LIMIT ?)"
    f" AS held_by_{column}) < ?"
    for column in ("address", "site")
)
# A row of the name and its end if the address may hold one more, else of two NULLs.
JOIN = (
    " FROM (SELECT 1 AS one) AS always LEFT JOIN (SELECT CAST(? AS TEXT) AS name,"
    f" CAST(? AS BIGINT) AS until_ms WHERE {_OF_ADDRESS} AND {_OF_SITE}) AS hold ON TRUE"
)


def check(txn: Transaction, new: NewAccount) -> None:
    """Raise UsernameHeld if a session other than that of ``new`` holds the name, and ``new`` is not
    an administrator's or a service's, whom holds do not concern."""
    if new.yields_to_holds:
        holder = holder_of(txn, new.user_id.localpart, new.created_ms)
        if holder not in (None, new.key):
            raise UsernameHeld()


def holder_of(txn: Transaction, name: str, now_ms: int) -> Optional[str]:
    """The id of the session that holds this name; None if none does."""
    row = txn.one(
        "SELECT session_id FROM uia_sessions WHERE held_name = ? AND held_until_ms > ?",
        (name, now_ms),
    )
    return None if row is None else str(row[0])


def join_values(session: UIASession) -> tuple[object, ...]:
    """The values of JOIN for a new session."""
    return (
        session.held_name,
        session.held_until_ms,
        *_caps(session.address, session.site, session.created_ms),
    )


def end_expired(txn: Transaction, name: str, now_ms: int) -> None:
    """Let another session have a name whose hold is over."""
    txn.run(
        "UPDATE uia_sessions SET held_name = NULL, held_until_ms = NULL"
        " WHERE held_name = ? AND held_until_ms <= ?",
        (name, now_ms),
    )


def moved(
    txn: Transaction, address: str, site: Optional[str], before: Held, hold: NameHold
) -> tuple[Held, bool]:
    """What a session holds that holds ``before`` and now asks for ``hold.name``; and whether that
    name is free for it. ``hold.name`` is None if it asks for no name any more."""
    if hold.name == before[0] or hold.name is None:
        return (NOTHING if hold.name is None else before), True
    end_expired(txn, hold.name, hold.now_ms)
    if holder_of(txn, hold.name, hold.now_ms) is not None:
        return NOTHING, False
    # If another session gets the name before this transaction ends, the unique key has it repeated.
    sql = f"SELECT 1 WHERE {_OF_ADDRESS} AND {_OF_SITE}"
    may_hold = txn.one(sql, _caps(address, site, hold.now_ms)) is not None
    return ((hold.name, hold.until_ms) if may_hold else NOTHING), True


def _caps(address: str, site: Optional[str], now_ms: int) -> tuple[object, ...]:
    values: list[object] = []
    for key, most in ((address, MOST_HELD), (site, MOST_HELD * WHOLE_SITE)):
        values += (key, now_ms, now_ms, most, most)
    return tuple(values)
