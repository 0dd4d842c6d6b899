"""Users' profiles, where no homeserver keeps them."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.errors import UserNotFound
from regsys.model import UserID
from regsys.storage.database import Database, Transaction


@attr.frozen
class ProfileStore:
    db: Database

    async def find(self, user_id: UserID) -> Optional[tuple[Optional[str], Optional[str]]]:
        """Display name and address of the avatar, of which we keep none; None if there is no such
        user."""
        row = await self.db.autocommit("find_profile", _find, user_id)
        return None if row is None else (row[0], None)

    async def set_display_name(self, user_id: UserID, name: Optional[str]) -> None:
        """None: the user has none. Raises UserNotFound."""
        await self.db.transaction("set_display_name", _set_display_name, user_id, name)


def display_name_of(txn: Transaction, user_id: UserID) -> Optional[str]:
    row = txn.one("SELECT display_name FROM profiles WHERE user_id = ?", (str(user_id),))
    return None if row is None else row[0]


def put_display_name(txn: Transaction, user_id: UserID, name: Optional[str]) -> None:
    """For a user who exists."""
    txn.run(
        "INSERT INTO profiles (user_id, display_name) VALUES (?, ?)"
        " ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name",
        (str(user_id), name),
    )


def erase(txn: Transaction, user_id: UserID) -> None:
    """The user, who is deactivated, is not named any more by more than the user ID."""
    txn.run("UPDATE profiles SET display_name = NULL WHERE user_id = ?", (str(user_id),))


def _find(txn: Transaction, user_id: UserID) -> Optional[tuple[Optional[str]]]:
    row = txn.one(
        "SELECT profiles.display_name FROM users LEFT JOIN profiles"
        " ON profiles.user_id = users.user_id WHERE users.user_id = ?",
        (str(user_id),),
    )
    return None if row is None else (row[0],)


def _set_display_name(txn: Transaction, user_id: UserID, name: Optional[str]) -> None:
    sql = "SELECT 1 FROM users WHERE user_id = ?" + txn.dialect.for_update
    if txn.one(sql, (str(user_id),)) is None:
        raise UserNotFound()
    put_display_name(txn, user_id, name)
