"""Which account a user of another system, such as an LDAP directory, has."""

from __future__ import annotations

from typing import Optional, Sequence

import attr

from regsys.errors import ExternalIdInUse, UserNotFound
from regsys.model import UserID
from regsys.storage.database import Database, Transaction


def forget(txn: Transaction, user_id: UserID) -> None:
    """The account is deactivated: others may get what it had."""
    txn.run("DELETE FROM external_ids WHERE user_id = ?", (str(user_id),))


def of_user(txn: Transaction, user_id: UserID) -> Sequence[tuple[str, str]]:
    """The pairs of login provider and id there, in order."""
    rows = txn.all(
        "SELECT auth_provider_id, external_id FROM external_ids WHERE user_id = ?"
        " ORDER BY auth_provider_id, external_id",
        (str(user_id),),
    )
    return [(row[0], row[1]) for row in rows]


def replace(txn: Transaction, user_id: UserID, wanted: Sequence[tuple[str, str]]) -> None:
    """Give the user these, and no others. Raises as ``ExternalIdStore.record``."""
    for pair in of_user(txn, user_id):
        if pair not in wanted:
            txn.run("DELETE FROM external_ids WHERE auth_provider_id = ? AND external_id = ?", pair)
    for auth_provider_id, external_id in sorted({*wanted}):
        _record(txn, auth_provider_id, external_id, user_id)


@attr.frozen
class ExternalIdStore:
    db: Database

    async def of_user(self, user_id: UserID) -> Sequence[tuple[str, str]]:
        """The pairs of login provider and id there, in order."""
        return await self.db.autocommit("external_ids_of", of_user, user_id)

    async def owner_of(self, auth_provider_id: str, external_id: str) -> Optional[UserID]:
        """The user who has this id there; None if nobody has."""
        return await self.db.autocommit(
            "owner_of_external_id", _owner_of, auth_provider_id, external_id
        )

    async def record(self, auth_provider_id: str, external_id: str, user_id: UserID) -> None:
        """Idempotent. Raises UserNotFound for a user who does not exist or is deactivated,
        ExternalIdInUse if another account has it: it is never moved."""
        await self.db.transaction(
            "record_external_id", _record, auth_provider_id, external_id, user_id
        )


def _record(txn: Transaction, auth_provider_id: str, external_id: str, user_id: UserID) -> None:
    # The lock keeps a deactivation from running between the check and the insert.
    user = txn.one(
        "SELECT deactivated FROM users WHERE user_id = ?" + txn.dialect.for_update,
        (str(user_id),),
    )
    if user is None or user[0]:
        raise UserNotFound()
    added = txn.insert(
        "external_ids",
        auth_provider_id=auth_provider_id,
        external_id=external_id,
        user_id=str(user_id),
    )
    if added:
        return
    owner = _owner_of(txn, auth_provider_id, external_id)
    if owner is not None and owner != user_id:
        raise ExternalIdInUse()


def _owner_of(txn: Transaction, auth_provider_id: str, external_id: str) -> Optional[UserID]:
    row = txn.one(
        "SELECT user_id FROM external_ids WHERE auth_provider_id = ? AND external_id = ?",
        (auth_provider_id, external_id),
    )
    return None if row is None else UserID.parse(row[0])
