"""Which account has which third-party identifier. No row is ever moved to another user."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import ThreepidInUse, UserNotFound
from regsys.interfaces.internal import IOwnThreepidStore
from regsys.model import AccountThreepid, NewAccount, Threepid, UserID
from regsys.model.jobs import NewJob
from regsys.storage import jobs as job_rows
from regsys.storage.database import Database, Transaction


def add(txn: Transaction, new: NewAccount) -> None:
    """Give the account its identifiers; ThreepidInUse if one belongs to another account."""
    # All transactions insert in the same order, so that there is no deadlock.
    for threepid in sorted(new.threepids, key=lambda item: (item.medium, item.address)):
        if not _insert(txn, new.user_id, threepid, new.created_ms):
            raise ThreepidInUse()


@implementer(IOwnThreepidStore)
@attr.frozen
class ThreepidStore:
    db: Database

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        return await self.db.autocommit("owner_of", _owner_of, medium, address)

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        return await self.db.autocommit("threepids_of_user", of_user, user_id)

    async def add(
        self, user_id: UserID, threepid: Threepid, now_ms: int, jobs: Sequence[NewJob] = ()
    ) -> bool:
        return await self.db.transaction("add_threepid", _add, user_id, threepid, now_ms, jobs)

    async def remove(
        self,
        user_id: UserID,
        medium: str,
        address: str,
        jobs: Sequence[NewJob] = (),
        now_ms: int = 0,
    ) -> bool:
        return await self.db.transaction(
            "remove_threepid", _remove, user_id, medium, address, jobs, now_ms
        )


def _insert(txn: Transaction, user_id: UserID, threepid: Threepid, now_ms: int) -> bool:
    return txn.insert(
        "threepids",
        medium=threepid.medium,
        address=threepid.address,
        user_id=str(user_id),
        validated_at_ms=threepid.validated_at_ms,
        added_ms=now_ms,
    )


def _owner_of(txn: Transaction, medium: str, address: str) -> Optional[UserID]:
    row = txn.one(
        "SELECT user_id FROM threepids WHERE medium = ? AND address = ?", (medium, address)
    )
    return None if row is None else UserID.parse(row[0])


def of_user(txn: Transaction, user_id: UserID) -> Sequence[AccountThreepid]:
    rows = txn.all(
        "SELECT medium, address, validated_at_ms, added_ms FROM threepids WHERE user_id = ?"
        " ORDER BY added_ms, medium, address",
        (str(user_id),),
    )
    return [AccountThreepid(*row) for row in rows]


def _add(
    txn: Transaction, user_id: UserID, threepid: Threepid, now_ms: int, jobs: Sequence[NewJob]
) -> bool:
    # The lock keeps a deactivation from running between the check and the insert.
    user = txn.one(
        "SELECT deactivated FROM users WHERE user_id = ?" + txn.dialect.for_update,
        (str(user_id),),
    )
    if user is None or user[0]:
        raise UserNotFound()
    if _insert(txn, user_id, threepid, now_ms):
        job_rows.insert_held(txn, jobs, now_ms)
        return True
    if _owner_of(txn, threepid.medium, threepid.address) != user_id:
        raise ThreepidInUse()
    return False


def _remove(
    txn: Transaction,
    user_id: UserID,
    medium: str,
    address: str,
    jobs: Sequence[NewJob],
    now_ms: int,
) -> bool:
    removed = txn.run(
        "DELETE FROM threepids WHERE medium = ? AND address = ? AND user_id = ?",
        (medium, address, str(user_id)),
    )
    if not removed:
        return False
    # The address may belong to another person later: it must not get this user's notifications.
    txn.run(
        "DELETE FROM pushers WHERE user_id = ? AND app_id = ? AND pushkey = ? AND kind = ?",
        (str(user_id), "m.email", address, medium),
    )
    job_rows.insert_held(txn, jobs, now_ms)
    return True
