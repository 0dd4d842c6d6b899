"""A follower of registrations."""

from __future__ import annotations

from typing import Optional

from twisted.internet.defer import Deferred
from zope.interface import implementer

from regsys.interfaces import IFollower
from regsys.model import AccountFacts, UserID


@implementer(IFollower)
class Ledger:
    """Keeps what it is told in ``told``, unless it is ``away``. ``slow`` delays it."""

    def __init__(self, name: str = "ledger") -> None:
        self.name = name
        self.told: list[tuple[UserID, AccountFacts]] = []
        self.calls = 0
        self.away = False
        self.slow: Optional[Deferred[None]] = None

    async def registered(self, user_id: UserID, facts: AccountFacts) -> None:
        self.calls += 1
        if self.slow is not None:
            await self.slow
        if self.away:
            raise ValueError("away")
        self.told.append((user_id, facts))
