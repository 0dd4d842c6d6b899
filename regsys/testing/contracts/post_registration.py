"""The contracts of IPushers and IUserDirectory, which jobs call after a registration."""

from __future__ import annotations

from typing import Sequence

import attr

from regsys.interfaces import IPushers, IUserDirectory
from regsys.model import NewAccount, Pusher, UserID
from regsys.testing.contracts.case import (
    ELSEWHERE,
    NEIGHBOUR,
    Contract,
    MaybeAwaitable,
    account,
    device,
    part_of,
    user,
    value_of,
    yours,
)

MAIL = "alice@mail.example"


def pusher(localpart: str = "alice", device_id: str = "PHONE", pushkey: str = MAIL) -> Pusher:
    """The pusher that a registration with an email address creates."""
    return Pusher(
        user_id=user(localpart),
        device_id=device_id,
        kind="email",
        app_id="m.email",
        app_display_name="Email Notifications",
        device_display_name=pushkey,
        pushkey=pushkey,
    )


class PushersContract(Contract):
    """An IPushers, with the accounts and devices beside it."""

    @yours
    def make(self) -> MaybeAwaitable[IPushers]:
        """One without any pusher."""
        raise NotImplementedError()

    @yours
    def create_account(self, new: NewAccount) -> MaybeAwaitable[None]:
        """Create this account, with its device."""
        raise NotImplementedError()

    @yours
    def end_device(self, user_id: UserID, device_id: str) -> MaybeAwaitable[None]:
        """Delete this device."""
        raise NotImplementedError()

    @yours
    def of_user(self, user_id: UserID) -> MaybeAwaitable[Sequence[Pusher]]:
        """The pushers that this user has."""
        raise NotImplementedError()

    async def beside_others(self) -> IPushers:
        """Alice and Bob have a PHONE each. So has a neighbour, with a pusher that no call of the
        test may change."""
        pushers, neighbours = await part_of(IPushers, self.make()), pusher(NEIGHBOUR)
        for name in ("alice", "bob", NEIGHBOUR):
            await value_of(self.create_account(account(name, name, device=device(name))))
        await pushers.add(neighbours)
        self.addCleanup(self._unharmed, neighbours)
        return pushers

    async def _unharmed(self, neighbours: Pusher) -> None:
        await self.has(neighbours.user_id, [neighbours], "no other user's pushers change")

    async def has(self, user_id: UserID, wanted: Sequence[Pusher], rule: str) -> None:
        """Assert that the user has these pushers, in any order, by this rule of ``add``."""
        found = list(await value_of(self.of_user(user_id)))
        self.assertEqual(sorted(map(repr, found)), sorted(map(repr, wanted)), f"add: {rule}")

    async def test_provides(self) -> None:
        """It has its method, with the argument that regsys calls it with."""
        await part_of(IPushers, self.make())

    async def test_added(self) -> None:
        """A pusher is stored whole, for its user alone."""
        pushers = await self.beside_others()
        for added in (pusher(), attr.evolve(pusher("bob"), lang="de", data={"brand": "x"})):
            await pushers.add(added)
            await self.has(added.user_id, [added], "the pusher is stored whole, for its user")

    async def test_again(self) -> None:
        """Adding a pusher is idempotent. A new pusher of the same address replaces the user's old
        one, and no other user's."""
        pushers = await self.beside_others()
        other = attr.evolve(pusher(), device_display_name="another name")
        neighbours = attr.evolve(pusher("bob"), device_display_name="a neighbour's")
        await pushers.add(neighbours)
        for added in (pusher(), pusher(), other):
            await pushers.add(added)
            rule = "a pusher replaces that user's pusher of the same app_id and pushkey, no other"
            await self.has(user("alice"), [added], rule)
            await self.has(user("bob"), [neighbours], rule)

    async def test_several(self) -> None:
        """A user may have pushers for several addresses and apps."""
        pushers = await self.beside_others()
        added = [
            pusher(),
            pusher(pushkey="z@mail.example"),
            attr.evolve(pusher(), app_id="z.example"),
        ]
        for item in added:
            await pushers.add(item)
        rule = "pushers of another app_id or pushkey are further pushers"
        await self.has(user("alice"), added, rule)

    async def test_goneWithItsDevice(self) -> None:
        """A device's pushers are deleted with it; others stay."""
        pushers = await self.beside_others()
        for name in ("alice", "bob"):
            await pushers.add(pusher(name))
        await value_of(self.end_device(user("alice"), "PHONE"))
        rule = "a deleted device's pushers are deleted with it, and no others"
        await self.has(user("alice"), [], rule)
        await self.has(user("bob"), [pusher("bob")], rule)

    async def test_tooLate(self) -> None:
        """For a device that was deleted, or is another user's, nothing is stored."""
        pushers = await self.beside_others()
        await value_of(self.create_account(account("3", "carol", device=device("3", "TABLET"))))
        await value_of(self.end_device(user("alice"), "PHONE"))
        elsewhere = attr.evolve(pusher(), user_id=UserID("bob", ELSEWHERE))
        for late in (pusher(), pusher("bob", "TABLET"), pusher("nobody"), elsewhere):
            await pushers.add(late)
            rule = f"nothing is stored for a device that the user does not have: {late}"
            await self.has(late.user_id, [], rule)
            await self.has(user("bob"), [], rule)


class UserDirectoryContract(Contract):
    """An IUserDirectory."""

    @yours
    def make(self) -> MaybeAwaitable[IUserDirectory]:
        """A directory without users."""
        raise NotImplementedError()

    @yours
    def create_account(self, new: NewAccount) -> MaybeAwaitable[None]:
        """Create this account, with its profile."""
        raise NotImplementedError()

    @yours
    def finds(self, user_id: UserID) -> MaybeAwaitable[bool]:
        """Whether a search by another user finds this one."""
        raise NotImplementedError()

    async def beside_others(self) -> IUserDirectory:
        """A directory with a user who is found and one who is hidden, whatever the test does."""
        directory = await part_of(IUserDirectory, self.make())
        found, hidden = NEIGHBOUR, f"{NEIGHBOUR}-hidden"
        for name in (found, hidden):
            await value_of(self.create_account(account(name, name)))
            await directory.profile_created(user(name), name, name == hidden)
        self.addCleanup(self._unharmed, found, hidden)
        return directory

    async def _unharmed(self, found: str, hidden: str) -> None:
        rule = "profile_created: changes nothing for other users"
        found_again = [await value_of(self.finds(user(name))) for name in (found, hidden)]
        self.assertEqual(found_again, [True, False], rule)

    async def test_provides(self) -> None:
        """It has its method, with the arguments that regsys calls it with."""
        await part_of(IUserDirectory, self.make())

    async def test_told(self) -> None:
        """A user is found once the directory has been told of the profile. Idempotent."""
        directory = await self.beside_others()
        for key, name in (("1", "alice"), ("2", "bob")):
            await value_of(self.create_account(account(key, name)))
        for _ in range(2):
            await directory.profile_created(user("alice"), "Alice", False)
            rule = "profile_created: searches find the user from then on"
            self.assertTrue(await value_of(self.finds(user("alice"))), rule)

    async def test_hidden(self) -> None:
        """A hidden user is not found. Idempotent."""
        directory = await self.beside_others()
        await value_of(self.create_account(account("1", "alice")))
        for _ in range(2):
            await directory.profile_created(user("alice"), "Alice", True)
            rule = "profile_created: no search finds a hidden user"
            self.assertFalse(await value_of(self.finds(user("alice"))), rule)

    async def test_withoutName(self) -> None:
        """A profile may have no name."""
        directory = await self.beside_others()
        await value_of(self.create_account(account("1", "alice", display_name=None)))
        await directory.profile_created(user("alice"), None, False)
