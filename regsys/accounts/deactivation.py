"""Asks each part in turn to delete what it keeps of a deactivated account; ``wiring/foundation.py``
has the list."""

from __future__ import annotations

from typing import Sequence

import attr

from regsys.interfaces.internal import IAccountData
from regsys.model import UserID


@attr.frozen
class Deactivation:
    """Each of ``parts`` deletes what it keeps, in this order. Where the accounts are ours, their
    store is the first: from then on nothing is added to the account."""

    parts: Sequence[IAccountData]

    async def deactivate(self, user_id: UserID) -> None:
        """As IRegistrationWriter.deactivate."""
        for part in self.parts:
            await part.delete_for(user_id)
