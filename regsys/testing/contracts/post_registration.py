"""The contracts of IPushers and IUserDirectory, which jobs call after a registration."""

from __future__ import annotations

from typing import Sequence

import attr

from regsys.interfaces import IPushers, IUserDirectory
from regsys.model import NewAccount, Pusher, UserID
from regsys.testing.contracts.case import NEIGHBOUR, Contract, account, device, user
from regsys.testing.provides import provides

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

    def make(self) -> IPushers:
        """One without any pusher."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, with its device."""
        raise NotImplementedError()

    async def end_device(self, user_id: UserID, device_id: str) -> None:
        """Delete this device."""
        raise NotImplementedError()

    async def of_user(self, user_id: UserID) -> Sequence[Pusher]:
        """The pushers that this user has."""
        raise NotImplementedError()

    async def beside_others(self) -> IPushers:
        """Alice and Bob have a PHONE each. So has a neighbour, with a pusher that no call of the
        test may change."""
        pushers, neighbours = self.make(), pusher(NEIGHBOUR)
        for name in ("alice", "bob", NEIGHBOUR):
            await self.create_account(account(name, name, device=device(name)))
        await pushers.add(neighbours)
        self.addCleanup(self._unharmed, neighbours)
        return pushers

    async def _unharmed(self, neighbours: Pusher) -> None:
        self.assertEqual(list(await self.of_user(neighbours.user_id)), [neighbours])

    def test_provides(self) -> None:
        """It has its method, with the argument that regsys calls it with."""
        provides(IPushers, self.make())

    async def test_added(self) -> None:
        """A pusher is stored whole, for its user alone."""
        pushers = await self.beside_others()
        for added in (pusher(), attr.evolve(pusher("bob"), lang="de", data={"brand": "x"})):
            await pushers.add(added)
            self.assertEqual(list(await self.of_user(added.user_id)), [added])

    async def test_again(self) -> None:
        """Adding a pusher is idempotent. A new pusher of the same address replaces the user's old
        one, and no other user's."""
        pushers = await self.beside_others()
        other = attr.evolve(pusher(), device_display_name="another name")
        neighbours = attr.evolve(pusher("bob"), device_display_name="a neighbour's")
        await pushers.add(neighbours)
        for added in (pusher(), pusher(), other):
            await pushers.add(added)
            self.assertEqual(list(await self.of_user(user("alice"))), [added])
            self.assertEqual(list(await self.of_user(user("bob"))), [neighbours])

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
        found = await self.of_user(user("alice"))
        self.assertEqual(sorted(map(repr, found)), sorted(map(repr, added)))

    async def test_goneWithItsDevice(self) -> None:
        """A device's pushers are deleted with it; others stay."""
        pushers = await self.beside_others()
        for name in ("alice", "bob"):
            await pushers.add(pusher(name))
        await self.end_device(user("alice"), "PHONE")
        self.assertEqual(list(await self.of_user(user("alice"))), [])
        self.assertEqual(list(await self.of_user(user("bob"))), [pusher("bob")])

    async def test_tooLate(self) -> None:
        """For a device that was deleted, or is another user's, nothing is stored."""
        pushers = await self.beside_others()
        await self.create_account(account("3", "carol", device=device("3", "TABLET")))
        await self.end_device(user("alice"), "PHONE")
        for late in (pusher(), pusher("bob", "TABLET"), pusher("nobody")):
            await pushers.add(late)
            self.assertEqual(list(await self.of_user(late.user_id)), [], late)


class UserDirectoryContract(Contract):
    """An IUserDirectory."""

    def make(self) -> IUserDirectory:
        """A directory without users."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, with its profile."""
        raise NotImplementedError()

    async def finds(self, user_id: UserID) -> bool:
        """Whether a search by another user finds this one."""
        raise NotImplementedError()

    async def beside_others(self) -> IUserDirectory:
        """A directory with a user who is found and one who is hidden, whatever the test does."""
        directory, found, hidden = self.make(), NEIGHBOUR, f"{NEIGHBOUR}-hidden"
        for name in (found, hidden):
            await self.create_account(account(name, name))
            await directory.profile_created(user(name), name, name == hidden)
        self.addCleanup(self._unharmed, found, hidden)
        return directory

    async def _unharmed(self, found: str, hidden: str) -> None:
        self.assertTrue(await self.finds(user(found)))
        self.assertFalse(await self.finds(user(hidden)))

    def test_provides(self) -> None:
        """It has its method, with the arguments that regsys calls it with."""
        provides(IUserDirectory, self.make())

    async def test_told(self) -> None:
        """A user is found once the directory has been told of the profile. Idempotent."""
        directory = await self.beside_others()
        for key, name in (("1", "alice"), ("2", "bob")):
            await self.create_account(account(key, name))
        for _ in range(2):
            await directory.profile_created(user("alice"), "Alice", False)
            self.assertTrue(await self.finds(user("alice")))

    async def test_hidden(self) -> None:
        """A hidden user is not found. Idempotent."""
        directory = await self.beside_others()
        await self.create_account(account("1", "alice"))
        for _ in range(2):
            await directory.profile_created(user("alice"), "Alice", True)
            self.assertFalse(await self.finds(user("alice")))

    async def test_withoutName(self) -> None:
        """A profile may have no name."""
        directory = await self.beside_others()
        await self.create_account(account("1", "alice", display_name=None))
        await directory.profile_created(user("alice"), None, False)
