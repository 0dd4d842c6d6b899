"""The classes beside our stores that fulfil the contracts: fakes, limits, tokens."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from regsys.credentials.access_tokens import GuestTokens, TokenAuth
from regsys.errors import RoomRefused
from regsys.interfaces import (
    IAccountStore,
    IAppservices,
    IAuth,
    IDevices,
    IFollower,
    IPushers,
    IRequestSigner,
    IRooms,
    IThreepidStore,
    IUserDirectory,
)
from regsys.interfaces.internal import ILimiter
from regsys.limits.rate import LeakyBuckets
from regsys.model import (
    AccountFacts,
    FoundRoom,
    NewAccount,
    NewRoom,
    Pusher,
    Requester,
    Secret,
    UserID,
)
from regsys.storage.devices import DeviceStore
from regsys.storage.users import UserStore
from regsys.testing import (
    MemoryAccounts,
    MemoryAppservices,
    MemoryAuth,
    MemoryDevices,
    MemoryDirectory,
    MemoryPushers,
    MemoryRoom,
    MemoryRooms,
    MemoryThreepids,
)
from regsys.testing.contracts import (
    AccountStoreContract,
    AppservicesContract,
    AuthContract,
    DevicesContract,
    FollowerContract,
    HomeserverContract,
    HomeserverParts,
    PushersContract,
    RequestSignerContract,
    RoomsContract,
    ThreepidStoreContract,
    UserDirectoryContract,
)
from regsys.testing.contracts.appservices import BRIDGE, CONTESTED, ITS_NAME, OTHER, SHARED
from regsys.testing.contracts.case import NOW_MS, SERVER, account, device, login, user
from regsys.testing.contracts.homeserver_fields import NOT_OF_AN_ACCOUNT, some_value
from regsys.testing.database import memory_database
from tests.contracts.limits import BURST_COUNT, PER_SECOND, LimiterContract
from tests.support.bindings import Signer


class MemoryAccountsTests(AccountStoreContract, TestCase):
    def make(self) -> IAccountStore:
        self.store = MemoryAccounts()
        return self.store

    async def deactivate(self, user_id: UserID) -> None:
        self.store.deactivated.add(user_id)


class MemoryThreepidsTests(ThreepidStoreContract, TestCase):
    def make(self) -> IThreepidStore:
        self.accounts = MemoryAccounts()
        return MemoryThreepids(self.accounts)

    async def create_account(self, new: NewAccount) -> None:
        await self.accounts.create_account(new)


class MemoryAppservicesTests(AppservicesContract, TestCase):
    def make(self) -> IAppservices:
        reserved = {ITS_NAME: {BRIDGE.id}, CONTESTED: {BRIDGE.id, OTHER.id}}
        return MemoryAppservices(reserved, (BRIDGE, OTHER), {SHARED})


class MemoryDevicesTests(DevicesContract, TestCase):
    def make(self) -> tuple[IDevices, IAuth]:
        self.accounts = MemoryAccounts()
        devices = MemoryDevices(self.accounts)
        return devices, MemoryAuth(devices)

    async def add_user(self, localpart: str) -> UserID:
        return await self.accounts.create_account(account(localpart, localpart))

    async def deactivate(self, user_id: UserID) -> None:
        self.accounts.deactivated.add(user_id)

    async def test_displayName(self) -> None:
        """A known device keeps its display name."""
        devices, _ = self.make()
        alice = await self.add_user("alice")
        for name in ("old", "new"):
            await devices.register(alice, device(name, display_name=f"the {name} one"))
        (kept,) = devices.by_id.values()
        self.assertEqual((kept.login, kept.display_name), (login("new"), "the old one"))


class MemoryHomeserverTests(HomeserverContract, TestCase):
    def make(self) -> HomeserverParts:
        self.accounts = MemoryAccounts()
        self.devices = MemoryDevices(self.accounts)
        return HomeserverParts(
            store=self.accounts,
            devices=self.devices,
            auth=MemoryAuth(self.devices),
            threepids=MemoryThreepids(self.accounts),
        )

    def deactivate(self, user_id: UserID) -> None:
        self.accounts.deactivated.add(user_id)

    def device_name(self, user_id: UserID, device_id: str) -> Optional[str]:
        return self.devices.by_id[user_id, device_id].display_name

    def stored(self, user_id: UserID) -> Mapping[str, Any]:
        return attr.asdict(self.accounts.by_name[user_id.name_key], recurse=False)


class FieldTests(SynchronousTestCase):
    def test_eachHasAValue(self) -> None:
        """HomeserverContract tries each field that an account may have, with a value that is not
        the field's default."""
        plain = account("key", "alice")
        for field in {item.name for item in attr.fields(NewAccount)} - NOT_OF_AN_ACCOUNT:
            tried = account("key", "Bob", **some_value(field, "bob"))
            self.assertNotEqual(getattr(tried, field), getattr(plain, field), field)


class MemoryPushersTests(PushersContract, TestCase):
    def make(self) -> IPushers:
        self.devices = MemoryDevices(MemoryAccounts())
        self.pushers = MemoryPushers(self.devices)
        return self.pushers

    async def create_account(self, new: NewAccount) -> None:
        assert new.device is not None
        await self.devices.accounts.create_account(new)
        await self.devices.register(new.user_id, new.device)

    async def end_device(self, user_id: UserID, device_id: str) -> None:
        del self.devices.by_id[user_id, device_id]

    async def of_user(self, user_id: UserID) -> Sequence[Pusher]:
        return self.pushers.of_user(user_id)


class MemoryDirectoryTests(UserDirectoryContract, TestCase):
    def make(self) -> IUserDirectory:
        self.directory = MemoryDirectory()
        return self.directory

    async def create_account(self, new: NewAccount) -> None:
        """It has no accounts."""

    async def finds(self, user_id: UserID) -> bool:
        return user_id in self.directory.shown


class MemoryAuthTests(AuthContract, TestCase):
    def make(self) -> IAuth:
        self.devices = MemoryDevices(MemoryAccounts())
        return MemoryAuth(self.devices)

    async def live(self) -> tuple[Secret, Requester]:
        await self.devices.accounts.create_account(account("key"))
        made = await self.devices.register(user("alice"), device("token"))
        return made.access_token, Requester(user_id=user("alice"), device_id="PHONE")

    async def expired(self) -> Optional[Secret]:
        return None


class MemoryRoomsTests(RoomsContract, TestCase):
    def make(self) -> IRooms:
        self.rooms = MemoryRooms()
        return self.rooms

    async def add_user(self, localpart: str) -> UserID:
        return user(localpart)

    async def add_remote_room(self, localpart: str) -> str:
        alias = f"#{localpart}:remote.example"
        room = MemoryRoom(room_id="!far:remote.example", public=True, servers=("remote.example",))
        self.rooms.add(alias, room)
        return alias

    async def members(self, room: FoundRoom) -> set[UserID]:
        return self.rooms.by_id[room.room_id].members

    async def invited(self, room: FoundRoom) -> set[UserID]:
        return self.rooms.by_id[room.room_id].invited

    async def is_federated(self, room: FoundRoom) -> bool:
        return self.rooms.by_id[room.room_id].federated

    async def test_unknown(self) -> None:
        """A user without an account there can do nothing, and nothing can be done for them."""
        rooms = self.make()
        made = await rooms.create(user("alice"), NewRoom(alias="#a:b", preset="public_chat"))
        self.rooms.unknown.add(user("bob"))
        for asked in (
            rooms.create(user("bob"), NewRoom(alias="#c:b", preset="public_chat")),
            rooms.invite(user("alice"), user("bob"), made),
            rooms.join(user("bob"), made),
        ):
            await self.refusal(RoomRefused, asked)

    async def test_trouble(self) -> None:
        """Every call about a failing room fails; calls about another do not."""
        rooms = self.make()
        self.rooms.troubles["#broken:b"] = OSError("no")
        await self.refusal(OSError, rooms.find("#broken:b"))
        self.assertIsNone(await rooms.find("#other:b"))


class TokenAuthTests(AuthContract, TestCase):
    """The IAuth of our own store's tokens."""

    def make(self) -> IAuth:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        database = memory_database(self, self.clock)
        self.users, self.devices = UserStore(database), DeviceStore(database, self.clock)
        return TokenAuth(
            logins=self.devices,
            accounts=self.users,
            guests=GuestTokens(server_name=SERVER, secret=b"a secret"),
            clock=self.clock,
        )

    async def token(self, name: str, valid_until_ms: Optional[int]) -> Secret:
        await self.users.create_account(account(name, name))
        made = device(f"of {name}", valid_until_ms=valid_until_ms)
        return (await self.devices.register(user(name), made)).access_token

    async def live(self) -> tuple[Secret, Requester]:
        token = await self.token("alice", NOW_MS + 1)
        return token, Requester(user_id=user("alice"), device_id="PHONE")

    async def expired(self) -> Optional[Secret]:
        return await self.token("bob", NOW_MS)


class BucketsTests(LimiterContract, TestCase):
    def make(self) -> ILimiter:
        self.clock = Clock()
        return LeakyBuckets(
            per_second=PER_SECOND, burst_count=BURST_COUNT, seconds=self.clock.seconds
        )

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class SignerTests(RequestSignerContract, TestCase):
    def make(self) -> IRequestSigner:
        return Signer()


@implementer(IFollower)
class Once:
    """Welcomes each user once."""

    name = "once"

    def __init__(self) -> None:
        self.welcomed: list[UserID] = []

    async def registered(self, user_id: UserID, facts: AccountFacts) -> None:
        if user_id not in self.welcomed:
            self.welcomed.append(user_id)


class FollowerTests(FollowerContract, TestCase):
    def make(self) -> IFollower:
        self.follower = Once()
        return self.follower

    def effects(self, user_id: UserID) -> int:
        return self.follower.welcomed.count(user_id)
