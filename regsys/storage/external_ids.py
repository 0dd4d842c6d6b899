"""Which account a user of another system, such as an LDAP directory, has."""

from __future__ import annotations

import attr

from regsys.errors import ExternalIdInUse, UserNotFound
from regsys.model import UserID
from regsys.storage.database import Database, Transaction


def forget(txn: Transaction, user_id: UserID) -> None:
    """The account is deactivated: others may get what it had."""
    txn.run("DELETE FROM external_ids WHERE user_id = ?", (str(user_id),))


@attr.frozen
class ExternalIdStore:
    db: Database

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
    owner = txn.one(
        "SELECT user_id FROM external_ids WHERE auth_provider_id = ? AND external_id = ?",
        (auth_provider_id, external_id),
    )
    if owner is not None and owner[0] != str(user_id):
        raise ExternalIdInUse()
