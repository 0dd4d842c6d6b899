"""The contract of a homeserver's parts together: what spans its store, its devices and its auth."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import SkipTest

from regsys.errors import (
    RegistrationError,
    ThreepidInUse,
    UnknownToken,
    UsernameTaken,
    UserNotFound,
)
from regsys.model import NewAccount, Threepid
from regsys.testing.contracts.case import (
    NOW_MS,
    account,
    device,
    together,
    upgrade,
    user,
    value_of,
)
from regsys.testing.contracts.homeserver_case import HomeserverParts
from regsys.testing.contracts.homeserver_fields import KeptFields

MAIL = Threepid("email", "alice@mail.example", NOW_MS)
PHONE = Threepid("msisdn", "4915112345678", NOW_MS)


class HomeserverContract(KeptFields):
    """A homeserver's parts together.

    If a test fails though the suites of the single parts pass, the parts do not look at the same
    account: one of them forgets that it is a guest's, an administrator's or deactivated, or a
    field that a client or an administrator has given is lost.
    """

    # --- Who somebody is -----------------------------------------------------------------

    async def test_kindsAreTold(self) -> None:
        """A guest's token says so, and an administrator's; a user's says neither."""
        parts = await self.beside_others()
        rule = "is_guest and is_admin are those of the account"
        alice = await self.registered(parts, "alice")
        await self.requester(parts, alice, user("alice"), rule)
        guest = await self.registered(parts, "1", is_guest=True)
        await self.requester(parts, guest, user("1"), rule, is_guest=True)
        root = await self.registered(parts, "root", admin=True)
        is_admin = "admin" not in self.not_kept
        await self.requester(parts, root, user("root"), rule, is_admin=is_admin)

    async def test_upgrade(self) -> None:
        """An upgraded guest's old token ends, and its new one is a user's."""
        parts = await self.beside_others()
        old = await self.registered(parts, "1", is_guest=True)
        await self.requester(parts, old, user("1"), "a guest's token is valid", is_guest=True)
        new = await parts.register(upgrade("user", "1", device=device("new")))
        await self.requester(parts, old, None, "an upgrade ends the guest's tokens")
        await self.requester(parts, new, user("1"), "an upgraded guest's new token is a user's")
        await parts.register(upgrade("user", "1", device=device("new")))
        rule = "an upgrade that is repeated with its key ends no token of the user's"
        await self.requester(parts, new, user("1"), rule)

    async def test_guestsLoginAgain(self) -> None:
        """A guest's login that is registered once more after the upgrade, as by a client that
        repeats its request late, stays nobody's, and ends no token of the user's."""
        parts = await self.beside_others()
        old = self.guest_device(user("1"), "1")
        await self.registered(parts, "1", is_guest=True, device=old)
        new = await parts.register(upgrade("user", "1", device=device("new")))
        with contextlib.suppress(RegistrationError):  # it may be refused, too
            await parts.devices.register(user("1"), old)
        rule = "register: a guest's login is nobody's once the guest has become a user"
        await self.requester(parts, old.login, None, rule)
        await self.requester(parts, new, user("1"), rule)

    async def test_refusedUpgrade(self) -> None:
        """A refused upgrade ends no token, and begins none."""
        parts = await self.beside_others()
        made = await self.registered(parts, "alice")
        new = device("new")
        rule = "create_account: only a guest is upgraded"
        upgraded = parts.store.create_account(upgrade("user", "alice", device=new))
        await self.refusal(UnknownToken, upgraded, rule)
        rule = "a refused upgrade ends no token, and begins none"
        await self.requester(parts, made, user("alice"), rule)
        await self.requester(parts, new.login, None, rule)

    # --- Devices -------------------------------------------------------------------------

    async def test_knownDevice(self) -> None:
        """A device that logs in again keeps its display name, and loses its earlier token; another
        user's device of the same id does not."""
        parts = await self.beside_others()
        his = await self.registered(parts, "bob", device=device("his", display_name="his"))
        old = await self.registered(parts, "alice", device=device("old", display_name="first"))
        other = await parts.devices.register(user("alice"), device("other", "LAPTOP", "other"))
        new = await parts.devices.register(user("alice"), device("new", display_name="second"))
        await self.requester(parts, old, None, "register: a known device loses its earlier token")
        for made, owner in ((new, "alice"), (other, "alice"), (his, "bob")):
            rule = "register: ends the tokens of this user's device of this id, and no others"
            await self.requester(parts, made, user(owner), rule)
        for name, device_id, display_name in (
            ("alice", "PHONE", "first"),
            ("alice", "LAPTOP", "other"),
            ("bob", "PHONE", "his"),
        ):
            found = await value_of(self.device_name(user(name), device_id))
            rule = "register: a new device has the display name that it brings, a known one its own"
            self.assertEqual(found, display_name, rule)

    async def test_deactivated(self) -> None:
        """A deactivated user has no valid token, and gets no new one; other users keep theirs."""
        parts = await self.beside_others()
        made = [await self.registered(parts, "alice", password_hash="a hash")]
        made.append(await parts.devices.register(user("alice"), device("other", "LAPTOP")))
        his = await self.registered(parts, "bob")
        await value_of(self.deactivate(user("alice")))
        late = device("late")
        rule = "register: UserNotFound for a deactivated user"
        await self.refusal(UserNotFound, parts.devices.register(user("alice"), late), rule)
        for login in (*made, late.login):
            await self.requester(parts, login, None, "a deactivated user has no valid token")
        await self.requester(parts, his, user("bob"), "deactivation ends one user's tokens alone")
        if parts.users is not None:
            found = [await parts.users.find(name) for name in ("alice", "bob")]
            deactivated = [item and item.deactivated for item in found]
            self.assertEqual(deactivated, [True, False], "find: tells who is deactivated")

    async def test_deactivatedGuest(self) -> None:
        """A deactivated guest's token ends, and an upgrade does not bring the account back."""
        parts = await self.beside_others()
        made = await self.registered(parts, "1", is_guest=True)
        await value_of(self.deactivate(user("1")))
        new = device("new")
        rule = "create_account: a deactivated guest is not upgraded"
        upgraded = parts.store.create_account(upgrade("user", "1", device=new))
        await self.refusal(UnknownToken, upgraded, rule)
        for login in (made, new.login):
            await self.requester(parts, login, None, "a deactivated guest has no valid token")

    async def test_deactivatedMeanwhile(self) -> None:
        """A login that happens during a deactivation leaves no valid token."""
        parts = await self.beside_others()
        names = [f"user{number}" for number in range(4)]
        for name in names:
            await self.registered(parts, name)

        async def ended(name: str) -> None:
            await value_of(self.deactivate(user(name)))

        new = {name: device(f"new {name}", "LAPTOP") for name in names}
        asked: list[Any] = []
        for name in names:
            both = [parts.devices.register(user(name), new[name]), ended(name)]
            asked += both if len(asked) % 4 else reversed(both)
        await together(asked)
        for name in names:
            rule = "register: checks and writes in one transaction that a deactivation waits for"
            await self.requester(parts, new[name].login, None, rule)

    # --- Repeated and refused registrations ----------------------------------------------

    async def test_answerLost(self) -> None:
        """The same key after a lost answer gets the same user, whose token is valid; it ends no
        token that the user has had since, and begins none of another device."""
        parts = await self.beside_others()
        first = await self.registered(parts, "alice")
        since = await parts.devices.register(user("alice"), device("since", "LAPTOP"))
        rule = "create_account: the same key returns the same user, and a valid token"
        again = await self.answer(self.registered(parts, "alice"), rule)
        self.assertEqual(again, first, rule)
        for login in (again, since):
            await self.requester(parts, login, user("alice"), rule)
        late = device("late", "TABLET")
        made = await parts.store.create_account(account("alice", "alice", device=late))
        self.assertEqual(made, user("alice"), rule)
        rule = "create_account: the same key writes nothing, not even another device"
        await self.requester(parts, late.login, None, rule)

    async def test_refused(self) -> None:
        """Of a refused account there is nothing: no key, no name, no token, no address."""
        parts = await self.beside_others()
        made = await self.registered(parts, "alice", threepids=(MAIL,) if parts.threepids else ())
        await self.refused(parts, UsernameTaken, account("refused", "ALICE", device=device("new")))
        if parts.threepids is not None:
            new = account("refused", "bob", device=device("new"), threepids=(PHONE, MAIL))
            await self.refused(parts, ThreepidInUse, new)
            taken = await parts.store.is_taken("bob")
            self.assertEqual(taken, False, "is_taken: a refused account leaves nothing behind")
            for item, owner in ((MAIL, user("alice")), (PHONE, None)):
                found = await parts.threepids.owner_of(item.medium, item.address)
                self.assertEqual(found, owner, "owner_of: a refused account leaves nothing behind")
        await self.requester(parts, made, user("alice"), "a refused account changes no other")

    async def refused(
        self, parts: HomeserverParts, error: type[Exception], new: NewAccount
    ) -> None:
        """Assert that the account is refused, and leaves neither its key nor its token."""
        rule = "a refused account leaves nothing behind"
        await self.refusal(error, parts.store.create_account(new), f"create_account: {rule}")
        self.assertEqual(await parts.store.made_by(new.key), None, f"made_by: {rule}")
        assert new.device is not None
        await self.requester(parts, new.device.login, None, rule)

    async def test_deviceOfANewAccount(self) -> None:
        """A new account's device has its name and a valid token. A store that has the devices
        writes both in the account's transaction: IDevices is not asked."""
        parts = await self.beside_others()
        new = device("new", display_name="the first")
        made = await parts.register(account("key", device=new))
        rule = "create_account: an IAccountStoreWithDevices writes new.device, else register does"
        await self.requester(parts, made, user("alice"), rule)
        found = await value_of(self.device_name(user("alice"), "PHONE"))
        self.assertEqual(found, "the first", f"{rule}, with its display name")

    async def test_deactivatedGetsNoAddress(self) -> None:
        """A deactivated user gets no address."""
        parts = await self.beside_others()
        if parts.threepids is None:
            raise SkipTest("the homeserver brings no IThreepidStore")
        await self.registered(parts, "alice")
        await value_of(self.deactivate(user("alice")))
        adding = parts.threepids.add(user("alice"), MAIL, NOW_MS)
        await self.refusal(UserNotFound, adding, "add: UserNotFound for a deactivated user")
        found = await parts.threepids.owner_of(MAIL.medium, MAIL.address)
        self.assertEqual(found, None, "owner_of: a refused address is nobody's")
