"""Third-party identifiers: whose they are. No row is ever moved to another user."""

from __future__ import annotations

from typing import Optional

import attr
from zope.interface import implementer

from regsys.errors import ThreepidInUse
from regsys.interfaces import IThreepidStore
from regsys.model import NewAccount, UserID
from regsys.storage.database import Database, Transaction


def add(txn: Transaction, new: NewAccount) -> None:
    """Give the account its identifiers; ThreepidInUse if one is somebody's."""
    # In one order for all, lest two wait for each other.
    for threepid in sorted(new.threepids, key=lambda item: (item.medium, item.address)):
        added = txn.insert(
            "threepids",
            medium=threepid.medium,
            address=threepid.address,
            user_id=str(new.user_id),
            validated_at_ms=threepid.validated_at_ms,
            added_ms=new.created_ms,
        )
        if not added:
            raise ThreepidInUse()


@implementer(IThreepidStore)
@attr.frozen
class ThreepidStore:
    db: Database

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        return await self.db.read("owner_of", _owner_of, medium, address)


def _owner_of(txn: Transaction, medium: str, address: str) -> Optional[UserID]:
    row = txn.one(
        "SELECT user_id FROM threepids WHERE medium = ? AND address = ?", (medium, address)
    )
    return None if row is None else UserID.parse(row[0])
