"""One account with what belongs to it, for administrators."""

from __future__ import annotations

from typing import Optional, Sequence

import attr

from regsys.model import AccountThreepid, UserID
from regsys.model.accounts import Consent
from regsys.model.administration import UserEntry
from regsys.storage import consents, external_ids, threepids, user_lists
from regsys.storage.database import Database, Transaction


@attr.frozen(kw_only=True)
class UserDetails:
    """``external_ids``: pairs of login provider and id there. ``consents``: the oldest first."""

    entry: UserEntry
    threepids: Sequence[AccountThreepid]
    external_ids: Sequence[tuple[str, str]]
    consents: Sequence[Consent]


@attr.frozen
class UserDetailsStore:
    db: Database

    async def find(self, user_id: UserID) -> Optional[UserDetails]:
        """The account of exactly this user ID; None if there is none."""
        return await self.db.autocommit("user_details", _find, user_id)


def _find(txn: Transaction, user_id: UserID) -> Optional[UserDetails]:
    entry = user_lists.find(txn, user_id)
    if entry is None:
        return None
    return UserDetails(
        entry=entry,
        threepids=threepids.of_user(txn, user_id),
        external_ids=external_ids.of_user(txn, user_id),
        consents=consents.given_by(txn, user_id),
    )
