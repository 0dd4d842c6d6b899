"""The contract of IUserLookup: an account is found by its name, in whatever state it is."""

from __future__ import annotations

from regsys.interfaces import IUserLookup
from regsys.model import NewAccount, UserID
from regsys.testing.contracts.case import NEIGHBOUR, Contract, account, user
from regsys.testing.provides import provides


class UserLookupContract(Contract):
    """An IUserLookup, with the accounts beside it."""

    def make(self) -> IUserLookup:
        """One that finds no account yet."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account."""
        raise NotImplementedError()

    async def deactivate(self, user_id: UserID) -> None:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    async def beside_others(self) -> IUserLookup:
        """One beside whose accounts there is another, which must not be found in their place."""
        users = self.make()
        await self.create_account(account(NEIGHBOUR, NEIGHBOUR, password_hash="another hash"))
        return users

    def test_provides(self) -> None:
        """It has its method, with the argument that it will be called with."""
        provides(IUserLookup, self.make())

    async def test_found(self) -> None:
        """A user is found by the name in any case of letters, with the password's hash."""
        users = await self.beside_others()
        await self.create_account(account("key", "Alice", password_hash="a hash"))
        for name in ("Alice", "alice", "ALICE"):
            found = await users.find(name)
            assert found is not None, name
            self.assertEqual((found.user_id, found.password_hash), (user("Alice"), "a hash"))
            self.assertEqual((found.is_guest, found.deactivated), (False, False))

    async def test_withoutPassword(self) -> None:
        """A user without a password has no hash, and a guest is called one."""
        users = await self.beside_others()
        await self.create_account(account("user", "alice"))
        await self.create_account(account("guest", "1", is_guest=True))
        for name, is_guest in (("alice", False), ("1", True)):
            found = await users.find(name)
            assert found is not None, name
            self.assertEqual((found.password_hash, found.is_guest), (None, is_guest))

    async def test_notFound(self) -> None:
        """A name that no account has is None, however similar another one is."""
        users = await self.beside_others()
        for name in (NEIGHBOUR[:-1], f"{NEIGHBOUR}2", "", "%"):
            self.assertIsNone(await users.find(name), name)

    async def test_deactivated(self) -> None:
        """A deactivated account is found, and says that it is deactivated."""
        users = await self.beside_others()
        await self.create_account(account("key", "alice", password_hash="a hash"))
        await self.deactivate(user("alice"))
        found = await users.find("alice")
        assert found is not None
        self.assertTrue(found.deactivated)
        neighbour = await users.find(NEIGHBOUR)
        assert neighbour is not None
        self.assertFalse(neighbour.deactivated)
