"""What the tests of HomeserverContract share: the parts of a homeserver, and its helpers."""

from __future__ import annotations

from typing import Any, ClassVar, Collection, Mapping, Optional

import attr
from zope.interface import Interface

from regsys.interfaces import (
    IAccountStore,
    IAccountStoreWithDevices,
    IAuth,
    IDevices,
    IThreepidStore,
    IUserLookup,
)
from regsys.model import GUEST_DEVICE_ID, Login, NewAccount, NewDevice, UserID
from regsys.testing.contracts.case import (
    NEIGHBOUR,
    Contract,
    MaybeAwaitable,
    account,
    checked,
    device,
    user,
    value_of,
    yours,
)
from regsys.testing.contracts.devices import token_owner


@attr.frozen(kw_only=True)
class HomeserverParts:
    """What a homeserver passes to ``regsys.embedded``; None for a part that it does not bring."""

    store: IAccountStore
    devices: IDevices
    auth: IAuth
    users: Optional[IUserLookup] = None
    threepids: Optional[IThreepidStore] = None

    async def register(self, new: NewAccount) -> Login:
        """Create the account and its device, as regsys does."""
        assert new.device is not None
        made = await self.store.create_account(new)
        if IAccountStoreWithDevices.providedBy(self.store):
            return new.device.login
        return await self.devices.register(made, new.device)


INTERFACES: Mapping[str, type[Interface]] = {
    "store": IAccountStore,
    "devices": IDevices,
    "auth": IAuth,
    "users": IUserLookup,
    "threepids": IThreepidStore,
}


class HomeserverCase(Contract):
    """What the tests of HomeserverContract share, and what is for you to write."""

    # The fields of NewAccount that your homeserver knowingly does not keep.
    not_kept: ClassVar[Collection[str]] = ()

    @yours
    def make(self) -> MaybeAwaitable[HomeserverParts]:
        """The parts of a homeserver without accounts."""
        raise NotImplementedError()

    @yours
    def deactivate(self, user_id: UserID) -> MaybeAwaitable[object]:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    @yours
    def device_name(self, user_id: UserID, device_id: str) -> MaybeAwaitable[Optional[str]]:
        """The display name that this device of the user has."""
        raise NotImplementedError()

    @yours
    def stored(self, user_id: UserID) -> MaybeAwaitable[Mapping[str, Any]]:
        """What the homeserver keeps of the account, by the names of NewAccount's fields. A key for
        each field that is not in ``not_kept``; further keys are ignored."""
        raise NotImplementedError()

    def guest_device(self, user_id: UserID, name: str) -> NewDevice:
        """A device as regsys makes it for a guest. Nothing to override, unless only you can make
        the tokens of guests."""
        return device(name, GUEST_DEVICE_ID, is_guest=True)

    async def parts(self) -> HomeserverParts:
        """What ``make`` has returned."""
        parts: object = await value_of(self.make())
        if not isinstance(parts, HomeserverParts):
            raise TypeError(
                "HomeserverContract: make() returns HomeserverParts(store=…, devices=…, auth=…),"
                f" and has returned a {type(parts).__name__}"
            )
        given = attr.asdict(parts, recurse=False, filter=lambda _, part: part is not None)
        named = {name: checked(INTERFACES[name], part) for name, part in given.items()}
        return attr.evolve(parts, **named)

    async def test_provides(self) -> None:
        """The parts have all methods, with the arguments that regsys calls them with."""
        await self.parts()

    async def beside_others(self) -> HomeserverParts:
        """Parts with a user and a guest, whose logins no call of the test may end."""
        parts = await self.parts()
        for name, is_guest in ((NEIGHBOUR, False), (f"{NEIGHBOUR}-guest", True)):
            made = await self.registered(parts, name, is_guest=is_guest)
            rule = "no call ends another user's login, or changes whose it is"
            self.addCleanup(self.requester, parts, made, user(name), rule, is_guest=is_guest)
        return parts

    async def registered(self, parts: HomeserverParts, name: str, **more: Any) -> Login:
        """Register a user of this name with a device; the key is the name."""
        new = device(name)
        if more.get("is_guest"):
            new = self.guest_device(user(name), name)
        return await parts.register(account(name, name, **{"device": new, **more}))

    async def requester(
        self,
        parts: HomeserverParts,
        login: Login,
        owner: Optional[UserID],
        rule: str,
        *,
        is_guest: bool = False,
        is_admin: bool = False,
    ) -> None:
        """Assert what IAuth.whose says of this login's token; None if it is not valid."""
        if owner is None:
            found = await token_owner(parts.auth, login.access_token)
            self.assertEqual(found, None, f"whose: {rule}")
            return
        requester = await parts.auth.whose(login.access_token)
        seen = requester and (
            requester.user_id,
            requester.device_id,
            requester.is_guest,
            requester.is_admin,
        )
        wanted = (owner, login.device_id, is_guest, is_admin)
        self.assertEqual(seen, wanted, f"whose (user, device, is_guest, is_admin): {rule}")
