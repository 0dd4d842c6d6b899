"""The contract of IUserLookup: an account is found by its name, in whatever state it is."""

from __future__ import annotations

from regsys.interfaces import IUserLookup
from regsys.model import NewAccount, UserID
from regsys.testing.contracts.case import (
    NEIGHBOUR,
    Contract,
    MaybeAwaitable,
    account,
    part_of,
    upgrade,
    user,
    value_of,
    yours,
)

NEIGHBOURS_HASH = "another hash"


class UserLookupContract(Contract):
    """An IUserLookup, with the accounts beside it.

    If a test fails, a user cannot confirm a request by password, or somebody else's or a
    deactivated account's password confirms it.
    """

    @yours
    def make(self) -> MaybeAwaitable[IUserLookup]:
        """One that finds no account yet."""
        raise NotImplementedError()

    @yours
    def create_account(self, new: NewAccount) -> MaybeAwaitable[object]:
        """Create this account, or upgrade this guest."""
        raise NotImplementedError()

    @yours
    def deactivate(self, user_id: UserID) -> MaybeAwaitable[None]:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    async def beside_others(self) -> IUserLookup:
        """One beside whose accounts there is another, which must not be found in their place."""
        users = await part_of(IUserLookup, self.make())
        await self.create(account(NEIGHBOUR, NEIGHBOUR, password_hash=NEIGHBOURS_HASH))
        return users

    async def create(self, new: NewAccount) -> None:
        await value_of(self.create_account(new))

    async def found(self, users: IUserLookup, name: str, rule: str, **wanted: object) -> None:
        """Assert that the account of this name is found with these attributes."""
        user = await users.find(name)
        self.assertNotEqual(user, None, f"find({name!r}): {rule}, but it is None")
        found = {attribute: getattr(user, attribute) for attribute in wanted}
        self.assertEqual(found, wanted, f"find({name!r}): {rule}")

    async def test_provides(self) -> None:
        """It has its method, with the argument that it will be called with."""
        await part_of(IUserLookup, self.make())

    async def test_found(self) -> None:
        """A user is found by the name in any case of letters, with the password's hash."""
        users = await self.beside_others()
        await self.create(account("key", "Alice", password_hash="a hash"))
        for name in ("Alice", "alice", "ALICE"):
            await self.found(
                users,
                name,
                "a user is found by name in any case of letters, with the password's hash",
                user_id=user("Alice"),
                password_hash="a hash",
                is_guest=False,
                deactivated=False,
            )

    async def test_withoutPassword(self) -> None:
        """A user without a password has no hash, and a guest is called one."""
        users = await self.beside_others()
        await self.create(account("user", "alice"))
        await self.create(account("guest", "1", is_guest=True))
        for name, is_guest in (("alice", False), ("1", True)):
            rule = "password_hash is None without a password, and is_guest True for guests alone"
            await self.found(users, name, rule, password_hash=None, is_guest=is_guest)

    async def test_upgraded(self) -> None:
        """A guest that was upgraded is a user, with the new password's hash."""
        users = await self.beside_others()
        await self.create(account("guest", "1", is_guest=True))
        await self.create(upgrade("user", "1", password_hash="a hash"))
        rule = "an upgraded guest is a user, with the password of the upgrade"
        await self.found(users, "1", rule, is_guest=False, password_hash="a hash")

    async def test_notFound(self) -> None:
        """A name that no account has is None, however similar another one is."""
        users = await self.beside_others()
        for name in (
            NEIGHBOUR[:-1],
            f"{NEIGHBOUR}2",
            f"{NEIGHBOUR} ",
            "",
            "%",
            str(user(NEIGHBOUR)),
        ):
            rule = f"find({name!r}): None for a localpart that no account has"
            self.assertEqual(await users.find(name), None, rule)

    async def test_deactivated(self) -> None:
        """A deactivated account is found, and says that it is deactivated."""
        users = await self.beside_others()
        await self.create(account("key", "alice", password_hash="a hash"))
        await value_of(self.deactivate(user("alice")))
        rule = "an account is found in any state, and says whether it is deactivated"
        await self.found(users, "alice", rule, user_id=user("alice"), deactivated=True)
        await self.found(users, NEIGHBOUR, rule, password_hash=NEIGHBOURS_HASH, deactivated=False)
