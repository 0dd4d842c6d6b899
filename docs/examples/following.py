"""What a homeserver does after each registration: docs/embedding.md quotes it."""

from __future__ import annotations

from typing import Any

import attr
from store import Pool
from zope.interface import implementer

from regsys.interfaces import IFollower
from regsys.model import AccountFacts, UserID


@implementer(IFollower)
@attr.frozen
class Welcome:
    """Each new user, but no guest, is to get a message: a row until it is sent."""

    pool: Pool
    name = "welcome"

    async def registered(self, user_id: UserID, facts: AccountFacts) -> None:
        if not facts.is_guest:
            await self.pool.runInteraction(_welcome, user_id)


def _welcome(txn: Any, user_id: UserID) -> None:
    # The key makes it one message for each user, however often we are told.
    txn.execute("INSERT INTO welcomes (user_id) VALUES (?) ON CONFLICT DO NOTHING", (str(user_id),))
