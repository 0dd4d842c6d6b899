"""The contract of IMonthlyActiveUsers: a user who was active counts for thirty days."""

from __future__ import annotations

from regsys.interfaces import IMonthlyActiveUsers
from regsys.model import NewAccount, UserID
from regsys.model.accounts import ACTIVE_MS
from regsys.testing.contracts.case import (
    ELSEWHERE,
    Contract,
    MaybeAwaitable,
    account,
    part_of,
    user,
    value_of,
    yours,
)

DAY_MS = 24 * 3600 * 1000


class MonthlyActiveUsersContract(Contract):
    """An IMonthlyActiveUsers, the accounts beside it, and its clock."""

    @yours
    def make(self) -> MaybeAwaitable[IMonthlyActiveUsers]:
        """One without active users, that counts a user from the first moment on."""
        raise NotImplementedError()

    @yours
    def create_account(self, new: NewAccount) -> MaybeAwaitable[None]:
        """Create this account, without making it active."""
        raise NotImplementedError()

    @yours
    def use(self, user_id: UserID) -> MaybeAwaitable[None]:
        """Make the user active, such as by the use of a token."""
        raise NotImplementedError()

    @yours
    def advance(self, ms: int) -> MaybeAwaitable[None]:
        """Advance its clock."""
        raise NotImplementedError()

    async def add_user(self, localpart: str) -> UserID:
        await value_of(self.create_account(account(localpart, localpart)))
        return user(localpart)

    async def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        await part_of(IMonthlyActiveUsers, self.make())

    async def test_counted(self) -> None:
        """An active user is counted once; the count stops at ``at_most``."""
        users = await part_of(IMonthlyActiveUsers, self.make())
        self.assertEqual(await users.count(10), 0, "count: without active users it is 0")
        alice, bob, carol = [await self.add_user(name) for name in ("alice", "bob", "carol")]
        for user_id in (alice, bob, alice):
            await value_of(self.use(user_id))
        await value_of(self.advance(DAY_MS))
        rule = "count: each active user once, and at_most at most"
        self.assertEqual([await users.count(most) for most in (1, 2, 3)], [1, 2, 2], rule)
        active = [await users.is_active(user_id) for user_id in (alice, bob, carol)]
        rule = "is_active: True for a user who was active, else False"
        self.assertEqual(active, [True, True, False], rule)
        self.assertEqual(await users.is_active(user("nobody")), False, rule)

    async def test_aMonth(self) -> None:
        """A user stops counting thirty days after the last activity, and counts again after another
        one."""
        users = await part_of(IMonthlyActiveUsers, self.make())
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        await value_of(self.use(alice))
        await value_of(self.use(bob))
        await value_of(self.advance(ACTIVE_MS - DAY_MS))
        await value_of(self.use(bob))
        rule = "count and is_active: a user counts for thirty days after the last activity"
        self.assertEqual(await users.count(10), 2, rule)
        await value_of(self.advance(2 * DAY_MS))
        self.assertEqual(await users.count(10), 1, rule)
        self.assertEqual([await users.is_active(one) for one in (alice, bob)], [False, True], rule)
        await value_of(self.use(alice))
        await value_of(self.advance(DAY_MS))
        self.assertEqual(await users.count(10), 2, rule)

    async def test_added(self) -> None:
        """A user who is added counts from that moment on. Adding is idempotent."""
        users = await part_of(IMonthlyActiveUsers, self.make())
        alice = await self.add_user("alice")
        for _ in range(2):
            await users.add(alice)
            rule = "add: the user is active from then on, without a trial, and counts once"
            self.assertEqual(await users.is_active(alice), True, rule)
        await value_of(self.advance(DAY_MS))
        self.assertEqual(await users.count(10), 1, rule)

    async def test_nobodyAdded(self) -> None:
        """Adding a user who does not exist, here or on another server, is no error, and makes
        nobody else active."""
        users = await part_of(IMonthlyActiveUsers, self.make())
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        for nobody in (user("nobody"), UserID("alice", ELSEWHERE)):
            rule = f"add: no error for {nobody}, who does not exist"
            await self.answer(users.add(nobody), rule)
        await users.add(bob)
        for other in (alice, UserID("bob", ELSEWHERE)):
            rule = f"is_active: False for {other}, as only the same localpart on another server is"
            self.assertEqual(await users.is_active(other), False, rule)
