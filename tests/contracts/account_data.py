"""The contract of IAccountData: the data of one user is deleted, and no other user's."""

from __future__ import annotations

from typing import Sequence

from regsys.interfaces.internal import IAccountData
from regsys.model import UserID
from regsys.testing.contracts.case import Contract, user
from regsys.testing.provides import provides


class AccountDataContract(Contract):
    """An IAccountData."""

    def make(self) -> IAccountData:
        """One that keeps nothing yet."""
        raise NotImplementedError()

    async def keep(self, user_id: UserID) -> None:
        """Make it keep something of this user, who has no account yet."""
        raise NotImplementedError()

    async def kept(self, user_id: UserID) -> Sequence[object]:
        """All that it keeps for this user."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has its method, with the argument that it will be called with."""
        provides(IAccountData, self.make())

    async def test_forgotten(self) -> None:
        """The data of a deactivated user is deleted, and other users' data stays. Idempotent."""
        store, alice, bob = self.make(), user("alice"), user("bob")
        for user_id in (alice, bob):
            await self.keep(user_id)
        before = list(await self.kept(bob))
        for user_id in (alice, bob):
            self.assertNotEqual(list(await self.kept(user_id)), [], user_id)
        await store.delete_for(user("nobody"))
        self.assertNotEqual(list(await self.kept(alice)), [])
        for _ in range(2):
            await store.delete_for(alice)
            self.assertEqual(list(await self.kept(alice)), [])
            self.assertEqual(list(await self.kept(bob)), before)
