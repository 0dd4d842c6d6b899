"""A homeserver's parts in memory: what an embedder brings, for tests that need it.

They pass the suites of ``regsys.testing.contracts``.
"""

from __future__ import annotations

from itertools import count
from typing import Collection, Iterator, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.errors import ThreepidInUse, UnknownToken, UsernameTaken, UserNotFound
from regsys.interfaces import (
    IAccountStore,
    IAppservices,
    IAuth,
    IDevices,
    IMonthlyActiveUsers,
    IPushers,
    IThreepidStore,
    IUserDirectory,
    IValidationMails,
)
from regsys.model import (
    GUEST_DEVICE_ID,
    AccountThreepid,
    Appservice,
    Login,
    NewAccount,
    NewDevice,
    Pusher,
    Requester,
    Secret,
    Threepid,
    UserID,
    ValidationMail,
)
from regsys.model.accounts import ACTIVE_MS


@implementer(IAccountStore)
@attr.define(eq=False)
class MemoryAccounts:
    """Accounts without devices. ``by_name`` maps each lower-cased localpart to its account,
    ``threepids`` each (medium, address) to its owner."""

    by_name: dict[str, NewAccount] = attr.field(factory=dict)
    threepids: dict[tuple[str, str], tuple[UserID, AccountThreepid]] = attr.field(factory=dict)
    deactivated: set[UserID] = attr.field(factory=set)
    _made: dict[str, UserID] = attr.field(factory=dict)
    _numbers: Iterator[int] = attr.field(factory=lambda: count(1))

    async def is_taken(self, localpart: str) -> bool:
        return localpart.lower() in self.by_name

    async def next_number(self) -> int:
        return next(self._numbers)

    async def create_account(self, new: NewAccount) -> UserID:
        earlier = await self.made_by(new.key)
        if earlier is not None:
            return earlier
        name = new.user_id.name_key
        if new.upgrades_guest:
            guest = self.active(new.user_id)
            if guest is None or not guest.is_guest:
                raise UnknownToken()
            new = attr.evolve(new, display_name=guest.display_name)
        elif name in self.by_name:
            raise UsernameTaken()
        if any((item.medium, item.address) in self.threepids for item in new.threepids):
            raise ThreepidInUse()
        self.by_name[name] = new
        for item in new.threepids:
            self.put(new.user_id, item, new.created_ms)
        self._made[new.key] = new.user_id
        return new.user_id

    async def made_by(self, key: str) -> Optional[UserID]:
        return self._made.get(key)

    def put(self, user_id: UserID, item: Threepid, now_ms: int) -> None:
        """Give the user this 3PID."""
        held = AccountThreepid(item.medium, item.address, item.validated_at_ms, now_ms)
        self.threepids[item.medium, item.address] = user_id, held

    def active(self, user_id: UserID) -> Optional[NewAccount]:
        """The account of exactly this user; None if there is none or it is deactivated."""
        new = self.by_name.get(user_id.name_key)
        if new is None or new.user_id != user_id or user_id in self.deactivated:
            return None
        return new


@implementer(IThreepidStore)
@attr.frozen
class MemoryThreepids:
    """The 3PIDs of these accounts."""

    accounts: MemoryAccounts

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        found = self.accounts.threepids.get((medium, address))
        return None if found is None else found[0]

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        return [held for owner, held in self.accounts.threepids.values() if owner == user_id]

    async def add(self, user_id: UserID, threepid: Threepid, now_ms: int) -> bool:
        if self.accounts.active(user_id) is None:
            raise UserNotFound()
        owner = await self.owner_of(threepid.medium, threepid.address)
        if owner not in (None, user_id):
            raise ThreepidInUse()
        if owner is None:
            self.accounts.put(user_id, threepid, now_ms)
        return owner is None

    async def remove(self, user_id: UserID, medium: str, address: str) -> bool:
        if await self.owner_of(medium, address) != user_id:
            return False
        del self.accounts.threepids[medium, address]
        return True


@implementer(IAppservices)
@attr.frozen
class MemoryAppservices:
    """Services without namespaces: ``reserved`` maps each localpart to the services that it is
    reserved for; a localpart in ``shared`` may be used by any service and any user."""

    reserved: Mapping[str, Collection[str]] = attr.field(factory=dict)
    services: Collection[Appservice] = ()
    shared: Collection[str] = ()

    def by_token(self, as_token: Secret) -> Optional[Appservice]:
        return next((item for item in self.services if item.as_token == as_token), None)

    def may_use(self, appservice_id: str, user_id: UserID) -> bool:
        name = user_id.localpart
        own = (item.sender_localpart for item in self.services if item.id == appservice_id)
        return name in (*self.shared, *own) or appservice_id in self.reserved.get(name, ())

    def reserved_for(self, user_id: UserID) -> Collection[str]:
        for service in self.services:
            if service.sender_localpart.lower() == user_id.name_key:
                return (service.id,)
        return self.reserved.get(user_id.localpart, ())


@implementer(IDevices)
@attr.define(eq=False)
class MemoryDevices:
    """The devices of these accounts, guests included, in ``by_id`` by user and device id."""

    accounts: MemoryAccounts
    by_id: dict[tuple[UserID, str], NewDevice] = attr.field(factory=dict)

    async def register(self, user_id: UserID, device: NewDevice) -> Login:
        if self.accounts.active(user_id) is None:
            raise UserNotFound()
        place = (user_id, device.login.device_id)
        known = self.by_id.get(place)
        if known is not None:
            device = attr.evolve(device, display_name=known.display_name)
        self.by_id[place] = device
        return device.login


@implementer(IPushers)
@attr.define(eq=False)
class MemoryPushers:
    """The pushers of these devices, in ``by_key`` by user, app id and pushkey."""

    devices: MemoryDevices
    by_key: dict[tuple[UserID, str, str], Pusher] = attr.field(factory=dict)

    async def add(self, pusher: Pusher) -> None:
        self.by_key[pusher.user_id, pusher.app_id, pusher.pushkey] = pusher

    def of_user(self, user_id: UserID) -> Sequence[Pusher]:
        """The user's pushers whose devices exist."""
        return [
            pusher
            for pusher in self.by_key.values()
            if pusher.user_id == user_id and (user_id, pusher.device_id) in self.devices.by_id
        ]


@implementer(IUserDirectory)
@attr.define(eq=False)
class MemoryDirectory:
    """The users who are ``shown``, with their names, and who are ``hidden``. If ``trouble`` is set,
    it is raised instead."""

    shown: dict[UserID, Optional[str]] = attr.field(factory=dict)
    hidden: set[UserID] = attr.field(factory=set)
    trouble: Optional[Exception] = None

    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        if self.trouble is not None:
            raise self.trouble
        if hidden:
            self.hidden.add(user_id)
        else:
            self.shown[user_id] = display_name


@implementer(IAuth)
@attr.define(eq=False)
class MemoryAuth:
    """The owners of these devices' tokens, which never expire."""

    devices: MemoryDevices

    async def whose(self, token: Secret) -> Optional[Requester]:
        for (user_id, device_id), device in self.devices.by_id.items():
            if device.login.access_token == token:
                return self._requester(user_id, device_id)
        return None

    def _requester(self, user_id: UserID, device_id: str) -> Optional[Requester]:
        account = self.devices.accounts.active(user_id)
        # A guest's token is invalid once the guest has become a user.
        is_guest = device_id == GUEST_DEVICE_ID
        if account is None or account.is_guest != is_guest:
            return None
        return Requester(
            user_id=user_id, device_id=device_id, is_guest=is_guest, is_admin=account.admin
        )


@implementer(IMonthlyActiveUsers)
@attr.define(eq=False)
class MemoryActiveUsers:
    """The active users. ``seen_ms`` maps each user to when it was last active; tests set it."""

    clock: IReactorTime
    seen_ms: dict[UserID, int] = attr.field(factory=dict)

    async def count(self, at_most: int) -> int:
        return min(sum(map(self._is_active, self.seen_ms)), at_most)

    async def is_active(self, user_id: UserID) -> bool:
        return self._is_active(user_id)

    async def add(self, user_id: UserID) -> None:
        self.seen_ms[user_id] = clock.now_ms(self.clock)

    def _is_active(self, user_id: UserID) -> bool:
        return self.seen_ms.get(user_id, 0) > clock.now_ms(self.clock) - ACTIVE_MS


@implementer(IValidationMails)
@attr.define(eq=False)
class MemoryMails:
    """Keeps the mails in ``sent``. If ``trouble`` is set, it is raised instead."""

    sent: list[ValidationMail] = attr.field(factory=list)
    trouble: Optional[Exception] = None

    async def send(self, mail: ValidationMail) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.sent.append(mail)
