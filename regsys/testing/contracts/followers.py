"""The contract of IFollower: an account has one effect, however often it is told of."""

from __future__ import annotations

import re

from regsys.interfaces import IFollower
from regsys.model import AccountFacts, UserID
from regsys.testing.contracts.case import (
    NOW_MS,
    Contract,
    MaybeAwaitable,
    part_of,
    user,
    value_of,
    yours,
)


class FollowerContract(Contract):
    """An IFollower. If a test fails, a crash of a process at the wrong moment leaves its effect
    twice, or with another user."""

    @yours
    def make(self) -> MaybeAwaitable[IFollower]:
        """One that knows of no account."""
        raise NotImplementedError()

    @yours
    def effects(self, user_id: UserID) -> MaybeAwaitable[int]:
        """How many effects it has left for this user: rows, messages, and so on."""
        raise NotImplementedError()

    async def test_provides(self) -> None:
        """It has its method, with the arguments that it will be called with, and a name that
        ``regsys.hooks`` accepts."""
        follower = await part_of(IFollower, self.make())
        self.assertTrue(re.fullmatch("[0-9A-Za-z._-]{1,64}", follower.name), follower.name)

    async def test_again(self) -> None:
        """What it was told of before has no second effect; each user has effects of their own."""
        follower = await part_of(IFollower, self.make())
        for name in ("alice", "bob", "alice"):
            rule = "registered: it may be called again after a crash, and must not raise then"
            facts = AccountFacts(created_ms=NOW_MS)
            await self.answer(follower.registered(user(name), facts), rule)
            rule = "registered: one effect for each user_id"
            self.assertEqual(await value_of(self.effects(user(name))), 1, rule)
        self.assertEqual(await value_of(self.effects(user("carol"))), 0)
