"""What is forgotten when an account or a device is no more."""

from __future__ import annotations

from typing import Optional, Sequence

import attr

from regsys.interfaces import IAccountData
from regsys.model import UserID
from regsys.storage.sessions import SessionStore


@attr.frozen
class Deactivation:
    """``parts`` forget in their order. Where the accounts are ours, their store is the first: once
    it has deactivated the account, nothing is added to it while the others forget."""

    parts: Sequence[IAccountData]
    sessions: SessionStore

    async def deactivated(self, user_id: UserID) -> None:
        """Forget all that is kept of an account that is no more. Idempotent, so that who
        was interrupted simply asks again."""
        for part in self.parts:
            await part.delete_for(user_id)

    async def logged_out(self, user_id: UserID, device_id: Optional[str]) -> None:
        """This device is logged out, None: all of the user's. Idempotent."""
        await self.sessions.end_replays(user_id, device_id)
