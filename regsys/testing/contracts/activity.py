"""The contract of IMonthlyActiveUsers: a user who was active counts for thirty days."""

from __future__ import annotations

from regsys.interfaces import IMonthlyActiveUsers
from regsys.model import NewAccount, UserID
from regsys.model.accounts import ACTIVE_MS
from regsys.testing.contracts.case import Contract, account, user
from regsys.testing.provides import provides

DAY_MS = 24 * 3600 * 1000


class MonthlyActiveUsersContract(Contract):
    """An IMonthlyActiveUsers, the accounts beside it, and its clock."""

    def make(self) -> IMonthlyActiveUsers:
        """One without active users, that counts a user from the first moment on."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, without making it active."""
        raise NotImplementedError()

    async def use(self, user_id: UserID) -> None:
        """Make the user active, such as by the use of a token."""
        raise NotImplementedError()

    def advance(self, ms: int) -> None:
        """Advance its clock."""
        raise NotImplementedError()

    async def add_user(self, localpart: str) -> UserID:
        await self.create_account(account(localpart, localpart))
        return user(localpart)

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IMonthlyActiveUsers, self.make())

    async def test_counted(self) -> None:
        """An active user is counted once; the count stops at ``at_most``."""
        users = self.make()
        self.assertEqual(await users.count(10), 0)
        alice, bob, carol = [await self.add_user(name) for name in ("alice", "bob", "carol")]
        for user_id in (alice, bob, alice):
            await self.use(user_id)
        self.advance(DAY_MS)
        self.assertEqual([await users.count(most) for most in (1, 2, 3)], [1, 2, 2])
        active = [await users.is_active(user_id) for user_id in (alice, bob, carol)]
        self.assertEqual(active, [True, True, False])
        self.assertFalse(await users.is_active(user("nobody")))

    async def test_aMonth(self) -> None:
        """A user stops counting thirty days after the last activity, and counts again after another
        one."""
        users = self.make()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        await self.use(alice)
        await self.use(bob)
        self.advance(ACTIVE_MS - DAY_MS)
        await self.use(bob)
        self.assertEqual(await users.count(10), 2)
        self.advance(2 * DAY_MS)
        self.assertEqual(await users.count(10), 1)
        self.assertEqual([await users.is_active(one) for one in (alice, bob)], [False, True])
        await self.use(alice)
        self.advance(DAY_MS)
        self.assertEqual(await users.count(10), 2)

    async def test_added(self) -> None:
        """A user who is added counts from that moment on. Adding is idempotent."""
        users = self.make()
        alice = await self.add_user("alice")
        for _ in range(2):
            await users.add(alice)
            self.assertTrue(await users.is_active(alice))
        self.advance(DAY_MS)
        self.assertEqual(await users.count(10), 1)

    async def test_nobodyAdded(self) -> None:
        """Adding a user who does not exist is no error."""
        await self.make().add(user("nobody"))
