"""The contracts of IDevices and IAuth: a registered token is valid, and no other is."""

from __future__ import annotations

from typing import Optional

from regsys.errors import InvalidParam, UnknownToken, UserNotFound
from regsys.interfaces import IAuth, IDevices
from regsys.model import GUEST_DEVICE_ID, Requester, Secret, UserID
from regsys.testing.contracts.case import NEIGHBOUR, Contract, device, login
from regsys.testing.provides import provides


class DevicesContract(Contract):
    """An IDevices, with the IAuth that knows its tokens."""

    def make(self) -> tuple[IDevices, IAuth]:
        """Without any device, and the IAuth that finds the owners of its tokens."""
        raise NotImplementedError()

    async def add_user(self, localpart: str) -> UserID:
        """Create an account, as your homeserver does."""
        raise NotImplementedError()

    async def deactivate(self, user_id: UserID) -> None:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    async def owner(self, auth: IAuth, token: Secret) -> Optional[tuple[UserID, Optional[str]]]:
        """The user and device of a token; None if it is not valid."""
        try:
            requester = await auth.whose(token)
        except UnknownToken:
            return None
        return None if requester is None else (requester.user_id, requester.device_id)

    async def beside_others(self) -> tuple[IDevices, IAuth]:
        """Devices, one of which no call of the test may log out."""
        devices, auth = self.make()
        neighbour = await self.add_user(NEIGHBOUR)
        made = await devices.register(neighbour, device(NEIGHBOUR))
        self.addCleanup(self._unharmed, auth, made.access_token, neighbour)
        return devices, auth

    async def _unharmed(self, auth: IAuth, token: Secret, neighbour: UserID) -> None:
        self.assertEqual(await self.owner(auth, token), (neighbour, "PHONE"))

    def test_provides(self) -> None:
        """Both have all methods, with the arguments that regsys calls them with."""
        devices, auth = self.make()
        provides(IDevices, devices)
        provides(IAuth, auth)

    async def test_registered(self) -> None:
        """A registered device's token is valid, for its user and device."""
        devices, auth = await self.beside_others()
        alice = await self.add_user("alice")
        made = await devices.register(alice, device("token"))
        self.assertEqual(made.device_id, "PHONE")
        self.assertEqual(await self.owner(auth, made.access_token), (alice, "PHONE"))

    async def test_sameLoginAgain(self) -> None:
        """The same login again returns the same tokens, and they stay valid."""
        devices, auth = await self.beside_others()
        alice = await self.add_user("alice")
        first = await devices.register(alice, device("token"))
        again = await devices.register(alice, device("token"))
        self.assertEqual(again, first)
        self.assertEqual(await self.owner(auth, first.access_token), (alice, "PHONE"))

    async def test_knownDeviceLosesItsEarlierTokens(self) -> None:
        """A device that logs in again has its new token only; other devices keep theirs."""
        devices, auth = await self.beside_others()
        alice = await self.add_user("alice")
        old = await devices.register(alice, device("old"))
        other = await devices.register(alice, device("other", "LAPTOP"))
        new = await devices.register(alice, device("new"))
        self.assertIsNone(await self.owner(auth, old.access_token))
        self.assertEqual(await self.owner(auth, new.access_token), (alice, "PHONE"))
        self.assertEqual(await self.owner(auth, other.access_token), (alice, "LAPTOP"))

    async def test_devicesOfTwoUsers(self) -> None:
        """Two users may have devices of the same id."""
        devices, auth = await self.beside_others()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        hers = await devices.register(alice, device("hers"))
        his = await devices.register(bob, device("his"))
        self.assertEqual(await self.owner(auth, hers.access_token), (alice, "PHONE"))
        self.assertEqual(await self.owner(auth, his.access_token), (bob, "PHONE"))

    async def test_nobody(self) -> None:
        """A user who does not exist gets no device."""
        devices, auth = await self.beside_others()
        nobody = UserID("nobody", (await self.add_user("somebody")).server)
        await self.refusal(UserNotFound, devices.register(nobody, device("token")))
        self.assertIsNone(await self.owner(auth, login("token").access_token))

    async def test_deactivated(self) -> None:
        """A deactivated user gets no device."""
        devices, auth = await self.beside_others()
        gone = await self.add_user("gone")
        await self.deactivate(gone)
        await self.refusal(UserNotFound, devices.register(gone, device("token")))
        self.assertIsNone(await self.owner(auth, login("token").access_token))

    async def test_guestsLoginOfAUser(self) -> None:
        """A guest's login is refused for a user's account, and its token is nobody's."""
        devices, auth = await self.beside_others()
        alice = await self.add_user("alice")
        guests = device("guest", GUEST_DEVICE_ID, is_guest=True)
        await self.refusal(InvalidParam, devices.register(alice, guests))
        self.assertIsNone(await self.owner(auth, login("guest").access_token))


class AuthContract(Contract):
    """An IAuth."""

    def make(self) -> IAuth:
        """One that knows the tokens of ``live`` and ``expired``."""
        raise NotImplementedError()

    async def live(self) -> tuple[Secret, Requester]:
        """A valid token, and its owner."""
        raise NotImplementedError()

    async def expired(self) -> Optional[Secret]:
        """An expired token whose device still exists; None if your tokens never expire."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has its method, with the argument that regsys calls it with."""
        provides(IAuth, self.make())

    async def test_live(self) -> None:
        """The owner of a valid token is found, each time."""
        auth = self.make()
        token, owner = await self.live()
        for _ in range(2):
            requester = await auth.whose(token)
            assert requester is not None
            self.assertEqual(requester.user_id, owner.user_id)
            self.assertEqual(requester.device_id, owner.device_id)
            self.assertEqual(requester.is_guest, owner.is_guest)

    async def test_unknown(self) -> None:
        """A text that was never a token has no owner, however similar to one it is."""
        auth = self.make()
        token, _ = await self.live()
        known = token.reveal()
        for text in ("", "x", known[:-1], known + "x", known.swapcase()):
            self.assertIsNone(await auth.whose(Secret(text)), repr(text))

    async def test_expired(self) -> None:
        """An expired token is refused, with the hint that its device still exists."""
        auth = self.make()
        token = await self.expired()
        if token is not None:
            refusal = await self.refusal(UnknownToken, auth.whose(token))
            self.assertEqual(refusal.extra, {"soft_logout": True})
