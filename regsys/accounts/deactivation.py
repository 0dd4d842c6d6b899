"""What is forgotten when an account or a device is no more."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IAccountData, IDeactivation, ISessionStore
from regsys.model import UserID


@implementer(IDeactivation)
@attr.frozen
class Deactivation:
    """``parts`` forget in their order. Where the accounts are ours, their store is the first: once
    it has deactivated the account, nothing is added to it while the others forget."""

    parts: Sequence[IAccountData]
    sessions: ISessionStore

    async def deactivated(self, user_id: UserID) -> None:
        for part in self.parts:
            await part.delete_for(user_id)

    async def logged_out(self, user_id: UserID, device_id: Optional[str]) -> None:
        await self.sessions.end_replays(user_id, device_id)
