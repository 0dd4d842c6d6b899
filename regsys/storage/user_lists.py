"""Lists of accounts, for administrators.

Lists by name and by age follow an index, as far as their page is from the beginning. All others,
and searches for a part of a name, read the whole table, which takes a second for a million
accounts (docs/operation.md)."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr

from regsys.model import UserID
from regsys.model.administration import UserEntry, UserFilter, UserOrder
from regsys.storage.database import Database, Row, Transaction

_COLUMNS = (
    "u.user_id, u.created_ms, u.is_guest, u.admin, u.approved, u.deactivated, u.erased,"
    " u.shadow_banned, u.user_type, u.appservice_id, p.display_name,"
    " COALESCE(a.seen_ms, u.seen_ms)"
)
_JOINED = (
    " LEFT JOIN profiles p ON p.user_id = u.user_id"
    " LEFT JOIN active_users a ON a.user_id = u.user_id"
)
_DISPLAY_NAME = "(SELECT display_name FROM profiles WHERE profiles.user_id = users.user_id)"
_NAMED = "SELECT user_id FROM profiles WHERE LOWER(display_name) LIKE ? ESCAPE '!'"
_SEEN = (
    "COALESCE((SELECT seen_ms FROM active_users WHERE active_users.user_id = users.user_id),"
    " users.seen_ms, 0)"
)
_ORDERS = {
    UserOrder.NAME: "user_id",
    UserOrder.CREATED: "created_ms",
    UserOrder.SEEN: _SEEN,
    UserOrder.DISPLAY_NAME: f"COALESCE({_DISPLAY_NAME}, '')",
    UserOrder.GUEST: "is_guest",
    UserOrder.ADMIN: "admin",
    UserOrder.DEACTIVATED: "deactivated",
    UserOrder.SHADOW_BANNED: "shadow_banned",
    UserOrder.USER_TYPE: "COALESCE(user_type, '')",
}


@attr.frozen
class UserListStore:
    db: Database

    async def page(
        self,
        chosen: UserFilter,
        *,
        order: UserOrder = UserOrder.CREATED,
        backwards: bool = False,
        skip: int = 0,
        most: int = 100,
    ) -> Sequence[UserEntry]:
        """At most ``most`` of the chosen accounts, after the first ``skip``."""
        return await self.db.autocommit("list_users", _page, chosen, order, backwards, skip, most)

    async def count(self, chosen: UserFilter) -> int:
        """How many these are; the table is read for it."""
        return await self.db.autocommit("count_users", _count, chosen)

    async def find(self, user_id: UserID) -> Optional[UserEntry]:
        """The account of exactly this user ID; None if there is none."""
        return await self.db.autocommit("find_user_entry", find, user_id)


def _page(
    txn: Transaction,
    chosen: UserFilter,
    order: UserOrder,
    backwards: bool,
    skip: int,
    most: int,
) -> Sequence[UserEntry]:
    where, values = _condition(chosen)
    direction = " DESC" if backwards else ""
    # The page is cut out first, so that only its accounts are joined with the other tables.
    names = "user_id" if order is UserOrder.NAME else f"{_ORDERS[order]}{direction}, user_id"
    names += direction if order is UserOrder.NAME else ""
    page = f"SELECT user_id FROM users{where} ORDER BY {names} LIMIT ? OFFSET ?"
    ids = [row[0] for row in txn.all(page, (*values, most, skip))]
    if not ids:
        return []
    marks = ", ".join("?" * len(ids))
    rows = txn.all(f"SELECT {_COLUMNS} FROM users u{_JOINED} WHERE u.user_id IN ({marks})", ids)
    found = {row[0]: _entry(row) for row in rows}
    return [found[user_id] for user_id in ids if user_id in found]


def _count(txn: Transaction, chosen: UserFilter) -> int:
    where, values = _condition(chosen)
    row = txn.one(f"SELECT COUNT(*) FROM users{where}", values)
    assert row is not None
    return int(row[0])


def find(txn: Transaction, user_id: UserID) -> Optional[UserEntry]:
    """As ``UserListStore.find``."""
    sql = f"SELECT {_COLUMNS} FROM users u{_JOINED} WHERE u.user_id = ?"
    row = txn.one(sql, (str(user_id),))
    return None if row is None else _entry(row)


def _entry(row: Row) -> UserEntry:
    return UserEntry(
        user_id=UserID.parse(row[0]),
        created_ms=row[1],
        is_guest=bool(row[2]),
        admin=bool(row[3]),
        approved=bool(row[4]),
        deactivated=bool(row[5]),
        erased=bool(row[6]),
        shadow_banned=bool(row[7]),
        user_type=row[8],
        appservice_id=row[9],
        display_name=row[10],
        seen_ms=row[11] or None,
    )


def _condition(chosen: UserFilter) -> tuple[str, Sequence[Any]]:
    """A WHERE, or nothing, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    for column in ("is_guest", "admin", "approved", "deactivated"):
        wanted = getattr(chosen, column)
        if wanted is not None:
            parts.append(column if wanted else f"NOT {column}")
    if chosen.name is not None:
        parts.append(f"(name_key LIKE ? ESCAPE '!' OR user_id IN ({_NAMED}))")
        values += [_containing(chosen.name)] * 2
    if chosen.user_id is not None:
        parts.append("LOWER(user_id) LIKE ? ESCAPE '!'")
        values.append(_containing(chosen.user_id))
    if chosen.address is not None:
        of_address, more = _of_address(*chosen.address)
        parts.append(f"user_id IN (SELECT user_id FROM threepids WHERE {of_address})")
        values += more
    types = [name for name in chosen.without_types if name is not None]
    if types:
        marks = ", ".join("?" * len(types))
        parts.append(f"(user_type IS NULL OR user_type NOT IN ({marks}))")
        values += types
    if None in chosen.without_types:
        parts.append("user_type IS NOT NULL")
    return f" WHERE {' AND '.join(parts)}" if parts else "", values


def _of_address(medium: str, address: str) -> tuple[str, Sequence[str]]:
    if address.startswith("@"):
        return "medium = ? AND address LIKE ? ESCAPE '!'", (medium, f"%{_escaped(address)}")
    return "medium = ? AND address = ?", (medium, address)


def _containing(part: str) -> str:
    return f"%{_escaped(part.lower())}%"


def _escaped(text: str) -> str:
    """For LIKE, with ``!`` as its escape."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
