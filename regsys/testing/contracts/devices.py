"""The contracts of IDevices and IAuth: a registered token is valid, and no other is."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.errors import InvalidParam, UnknownToken, UserNotFound
from regsys.interfaces import IAuth, IDevices
from regsys.model import GUEST_DEVICE_ID, Login, Requester, Secret, UserID
from regsys.testing.contracts.case import (
    ELSEWHERE,
    NEIGHBOUR,
    Contract,
    MaybeAwaitable,
    checked,
    device,
    login,
    part_of,
    value_of,
    yours,
)

# Texts that are no token, and that a careless comparison or query might take for one.
STRANGE = ("", "x", "%", "_%", "ü", "'", "syt_", "a" * 5000)


async def token_owner(auth: IAuth, token: Secret) -> Optional[tuple[UserID, Optional[str]]]:
    """The user and device of a token; None if it is not valid."""
    try:
        requester = await auth.whose(token)
    except UnknownToken:
        return None
    return None if requester is None else (requester.user_id, requester.device_id)


class DevicesContract(Contract):
    """An IDevices, with the IAuth that knows its tokens.

    If a test fails, users lose logins that they should keep, keep some that they should lose, or
    get another user's.
    """

    @yours
    def make(self) -> MaybeAwaitable[tuple[IDevices, IAuth]]:
        """Without any device, and the IAuth that finds the owners of its tokens."""
        raise NotImplementedError()

    @yours
    def add_user(self, localpart: str) -> MaybeAwaitable[UserID]:
        """Create an account, as your homeserver does."""
        raise NotImplementedError()

    @yours
    def deactivate(self, user_id: UserID) -> MaybeAwaitable[None]:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    async def pair(self) -> tuple[IDevices, IAuth]:
        """What ``make`` has returned."""
        pair: object = await value_of(self.make())
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise TypeError(
                "DevicesContract: make() returns a pair, the IDevices and the IAuth that knows its"
                f" tokens, and has returned a {type(pair).__name__}"
            )
        return checked(IDevices, pair[0]), checked(IAuth, pair[1])

    async def beside_others(self) -> tuple[IDevices, IAuth]:
        """Devices, one of which no call of the test may log out."""
        devices, auth = await self.pair()
        neighbour = await value_of(self.add_user(NEIGHBOUR))
        made = await devices.register(neighbour, device(NEIGHBOUR))
        self.addCleanup(
            self.owned, auth, made, neighbour, "register: no call ends another user's login"
        )
        return devices, auth

    async def owned(self, auth: IAuth, made: Login, owner: Optional[UserID], rule: str) -> None:
        """Assert that the token is this user's, of the login's device; nobody's if None."""
        found = await token_owner(auth, made.access_token)
        wanted = None if owner is None else (owner, made.device_id)
        self.assertEqual(found, wanted, f"whose, after {rule}")

    async def test_provides(self) -> None:
        """Both have all methods, with the arguments that regsys calls them with."""
        await self.pair()

    async def test_registered(self) -> None:
        """A registered device's token is valid, for its user and device."""
        devices, auth = await self.beside_others()
        alice = await value_of(self.add_user("alice"))
        made = await devices.register(alice, device("token"))
        self.assertEqual(made.device_id, "PHONE", "register: the login is the device's")
        await self.owned(auth, made, alice, "register: the token is the user's and the device's")

    async def test_sameLoginAgain(self) -> None:
        """The same login again returns the same tokens, and they stay valid."""
        devices, auth = await self.beside_others()
        alice = await value_of(self.add_user("alice"))
        first = await devices.register(alice, device("token"))
        rule = "register: the same device.login returns the same tokens, which stay valid"
        again = await self.answer(devices.register(alice, device("token")), rule)
        self.assertEqual(again, first, rule)
        await self.owned(auth, first, alice, rule)

    async def test_knownDeviceLosesItsEarlierTokens(self) -> None:
        """A device that logs in again has its new token only; other devices keep theirs."""
        devices, auth = await self.beside_others()
        alice = await value_of(self.add_user("alice"))
        old = await devices.register(alice, device("old"))
        other = await devices.register(alice, device("other", "LAPTOP"))
        similar = await devices.register(alice, device("similar", "phone"))
        new = await devices.register(alice, device("new"))
        await self.owned(auth, old, None, "register: a known device loses its earlier tokens")
        await self.owned(auth, new, alice, "register: a known device's new token is valid")
        for kept in (other, similar):
            await self.owned(auth, kept, alice, f"register: {kept.device_id} is another device")

    async def test_expiredDevice(self) -> None:
        """A device whose login has expired gets a valid token when it logs in again."""
        devices, auth = await self.beside_others()
        alice = await value_of(self.add_user("alice"))
        await devices.register(alice, device("old", valid_until_ms=1))
        made = await devices.register(alice, device("new"))
        await self.owned(auth, made, alice, "register: a new login has its own valid_until_ms")

    async def test_devicesOfTwoUsers(self) -> None:
        """Two users may have devices of the same id."""
        devices, auth = await self.beside_others()
        rule = "register: a device id belongs to its user, and another user may have the same"
        made = []
        for name in ("alice", "bob"):
            owner = await value_of(self.add_user(name))
            made.append((owner, await devices.register(owner, device(name))))
        for owner, login_made in made:
            await self.owned(auth, login_made, owner, rule)

    async def test_nobody(self) -> None:
        """A user who does not exist, here or on another server, gets no device."""
        devices, auth = await self.beside_others()
        somebody = await value_of(self.add_user("somebody"))
        for nobody in (UserID("nobody", somebody.server), UserID("somebody", ELSEWHERE)):
            rule = f"register: UserNotFound for {nobody}, who does not exist, and no device"
            await self.refusal(UserNotFound, devices.register(nobody, device("token")), rule)
            await self.owned(auth, login("token"), None, rule)

    async def test_deactivated(self) -> None:
        """A deactivated user gets no device."""
        devices, auth = await self.beside_others()
        gone = await value_of(self.add_user("gone"))
        await value_of(self.deactivate(gone))
        rule = "register: UserNotFound for a deactivated user, and no device"
        await self.refusal(UserNotFound, devices.register(gone, device("token")), rule)
        await self.owned(auth, login("token"), None, rule)

    async def test_guestsLoginOfAUser(self) -> None:
        """A guest's login is refused for a user's account, and its token is nobody's."""
        devices, auth = await self.beside_others()
        alice = await value_of(self.add_user("alice"))
        guests = device("guest", GUEST_DEVICE_ID, is_guest=True)
        rule = "register: InvalidParam for a guest's login of a user's account, and no device"
        await self.refusal(InvalidParam, devices.register(alice, guests), rule)
        await self.owned(auth, login("guest"), None, rule)


class AuthContract(Contract):
    """An IAuth. If a test fails, a text that is no token may open an account, or a client cannot
    tell that it only has to log in again."""

    @yours
    def make(self) -> MaybeAwaitable[IAuth]:
        """One that knows the tokens of ``live`` and ``expired``."""
        raise NotImplementedError()

    @yours
    def live(self) -> MaybeAwaitable[tuple[Secret, Requester]]:
        """A valid token, and its owner."""
        raise NotImplementedError()

    @yours
    def expired(self) -> MaybeAwaitable[Optional[Secret]]:
        """An expired token whose device still exists; None if your tokens never expire."""
        raise NotImplementedError()

    async def test_provides(self) -> None:
        """It has its method, with the argument that regsys calls it with."""
        await part_of(IAuth, self.make())

    async def test_live(self) -> None:
        """The owner of a valid token is found, each time."""
        auth = await part_of(IAuth, self.make())
        token, owner = await value_of(self.live())
        for _ in range(2):
            requester = await auth.whose(token)
            found = requester and attr.evolve(requester, valid_until_ms=None)
            rule = "whose: the user and device of a valid token, and whether it is a guest's"
            self.assertEqual(found, attr.evolve(owner, valid_until_ms=None), rule)

    async def test_unknown(self) -> None:
        """A text that was never a token has no owner, however similar to one it is."""
        auth = await part_of(IAuth, self.make())
        token, _ = await value_of(self.live())
        known = token.reveal()
        similar = (known[:-1], known[1:], known + "x", known + " ", known.swapcase(), known * 2)
        for text in (*STRANGE, *similar):
            rule = f"whose: None for a text that was never a token: {text[:99]!r}"
            self.assertEqual(await auth.whose(Secret(text)), None, rule)

    async def test_expired(self) -> None:
        """An expired token is refused, with the hint that its device still exists."""
        auth = await part_of(IAuth, self.make())
        token = await value_of(self.expired())
        if token is not None:
            rule = "whose: UnknownToken(soft_logout=True) for an expired token of a known device"
            refusal = await self.refusal(UnknownToken, auth.whose(token), rule)
            self.assertEqual(refusal.extra, {"soft_logout": True}, rule)
