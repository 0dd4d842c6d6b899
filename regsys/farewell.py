"""What is forgotten when an account is no more."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IFarewell, IForgetful, IThreepidChanges, IThreepidStore
from regsys.model import UserID


@implementer(IFarewell)
@attr.frozen(kw_only=True)
class Farewell:
    """``account`` comes first, so that nothing is added meanwhile; None: a homeserver keeps the
    accounts, and has seen to that. ``threepids`` None: nobody tells who has which address.
    ``traces`` are what else was kept of the account."""

    account: Optional[IForgetful]
    threepids: Optional[IThreepidStore]
    changes: IThreepidChanges
    traces: Sequence[IForgetful]

    async def deactivated(self, user_id: UserID) -> None:
        if self.account is not None:
            await self.account.forget(user_id)
        if self.threepids is not None:
            for item in await self.threepids.of_user(user_id):
                # Nobody can object (B10.4). Who is quicker tells of it.
                if await self.threepids.remove(user_id, item.medium, item.address):
                    self.changes.removed(user_id, item.medium, item.address)
        for trace in self.traces:
            await trace.forget(user_id)
