"""Events that happen once on a server; the primary key decides which transaction was first."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.model import NewAccount, UserID
from regsys.storage.database import Database, Transaction

FIRST_REAL_USER = "first_real_user"


def note_real_user(txn: Transaction, new: NewAccount) -> None:
    """Record this user as the first real one, unless there is one already."""
    txn.insert(
        "milestones", name=FIRST_REAL_USER, user_id=str(new.user_id), reached_ms=new.created_ms
    )


def undo(txn: Transaction, user_id: UserID) -> None:
    """The user is removed as if it had never been made: another becomes the first."""
    txn.run("DELETE FROM milestones WHERE user_id = ?", (str(user_id),))


def handed_back_ms(txn: Transaction) -> Optional[int]:
    """When the accounts were last handed back; None if they are not, as far as is known."""
    row = txn.one("SELECT MAX(written_ms) FROM hand_backs")
    return None if row is None else row[0]


def note_hand_back(txn: Transaction, now_ms: int) -> None:
    """The homeserver may have its accounts back from now on."""
    txn.insert("hand_backs", written_ms=now_ms)


def forget_hand_backs(txn: Transaction) -> None:
    """It has not got them back."""
    txn.run("DELETE FROM hand_backs")


@attr.frozen
class ServerStateStore:
    """Events that happen once on a server."""

    db: Database

    async def first_real_user(self) -> Optional[UserID]:
        """The first real user of this server (contract B5.2), recorded by the transaction that
        made the account and never changed; None if there is none yet."""
        return await self.db.autocommit("first_real_user", _first_real_user)


def _first_real_user(txn: Transaction) -> Optional[UserID]:
    row = txn.one("SELECT user_id FROM milestones WHERE name = ?", (FIRST_REAL_USER,))
    return None if row is None else UserID.parse(row[0])
