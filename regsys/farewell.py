"""What is forgotten when an account is no more."""

from __future__ import annotations

from typing import Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IFarewell, IForgetful
from regsys.model import UserID


@implementer(IFarewell)
@attr.frozen
class Farewell:
    """``parts`` forget in their order. Where the accounts are ours, their store is the first: once
    it has deactivated the account, nothing is added to it while the others forget."""

    parts: Sequence[IForgetful]

    async def deactivated(self, user_id: UserID) -> None:
        for part in self.parts:
            await part.forget(user_id)
