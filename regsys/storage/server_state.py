"""Moments that come once; the key of each row decides whose it was."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.model import NewAccount, UserID
from regsys.storage.database import Database, Transaction

FIRST_REAL_USER = "first_real_user"


def note_real_user(txn: Transaction, new: NewAccount) -> None:
    """This user is the first real one, unless there has been one."""
    txn.insert(
        "milestones", name=FIRST_REAL_USER, user_id=str(new.user_id), reached_ms=new.created_ms
    )


@attr.frozen
class ServerStateStore:
    """Moments that come once."""

    db: Database

    async def first_real_user(self) -> Optional[UserID]:
        """Who was the first person with an account here (contract B5.2): decided by the
        transaction that made it, and never again. None: nobody yet."""
        return await self.db.autocommit("first_real_user", _first_real_user)


def _first_real_user(txn: Transaction) -> Optional[UserID]:
    row = txn.one("SELECT user_id FROM milestones WHERE name = ?", (FIRST_REAL_USER,))
    return None if row is None else UserID.parse(row[0])
