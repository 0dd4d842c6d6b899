"""The parts of this homeserver keep the contracts of regsys. Run this in docs/examples with

python -m twisted.trial test_store
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional

import attr
from embedding import DoorCode
from following import Welcome
from store import Store, open_database
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from regsys.model import NewAccount, Requester, Secret, UserID
from regsys.testing.contracts import (
    AccountStoreContract,
    AuthContract,
    DevicesContract,
    FollowerContract,
    HomeserverContract,
    HomeserverParts,
    StageContract,
    ThreepidStoreContract,
    UserLookupContract,
)
from regsys.testing.contracts.case import account, device, user


class StoreCase(TestCase):
    """A store in a file of its own, and what a homeserver does with it."""

    def make(self) -> Any:
        pool = open_database(Path(self.mktemp()))
        self.addCleanup(pool.close)
        self.store = Store(pool, IReactorTime(reactor))
        return self.store

    def reopened(self, store: Any) -> Store:
        return Store(store.pool, store.clock)

    def create_account(self, new: NewAccount) -> Deferred[UserID]:
        return self.store.create_account(new)

    async def deactivate(self, user_id: UserID) -> None:
        await self.store.deactivate(user_id)


class AccountTests(StoreCase, AccountStoreContract):
    pass


class UserTests(StoreCase, UserLookupContract):
    pass


class ThreepidTests(StoreCase, ThreepidStoreContract):
    pass


class DeviceTests(StoreCase, DevicesContract):
    def make(self) -> tuple[Store, Store]:
        store = super().make()
        return store, store  # the IDevices and the IAuth

    async def add_user(self, localpart: str) -> UserID:
        return await self.store.create_account(account(localpart, localpart))


class AuthTests(StoreCase, AuthContract):
    async def live(self) -> tuple[Secret, Requester]:
        await self.store.create_account(account("key"))
        made = await self.store.register(user("alice"), device("token"))
        return made.access_token, Requester(user_id=user("alice"), device_id="PHONE")

    async def expired(self) -> Optional[Secret]:
        await self.store.create_account(account("another", "bob"))
        made = await self.store.register(user("bob"), device("old", valid_until_ms=1))
        return made.access_token


class HomeserverTests(StoreCase, HomeserverContract):
    # What regsys keeps itself, or what makes no difference here.
    not_kept = (
        "auth_provider_id",
        "consents",
        "is_ghost",
        "registration_token",
        "stages",
        "vouched_emails",
    )

    def make(self) -> HomeserverParts:
        store = super().make()
        return HomeserverParts(store=store, devices=store, auth=store, users=store, threepids=store)

    async def device_name(self, user_id: UserID, device_id: str) -> Optional[str]:
        return (await self.store.devices_of(user_id))[device_id]

    async def stored(self, user_id: UserID) -> Mapping[str, Any]:
        found = await self.store.find(user_id.localpart)
        assert found is not None
        display_name, extra = await self.store.profile_of(user_id)
        threepids = await self.store.of_user(user_id)
        more = {"display_name": display_name, "extra": extra, "threepids": threepids}
        return {**attr.asdict(found, recurse=False), **more}


class DoorCodeTests(StageContract, TestCase):
    def make(self) -> DoorCode:
        return DoorCode(Secret("sesame"))

    def right(self) -> Mapping[str, Any]:
        return {"type": DoorCode.type, "code": "sesame"}


class WelcomeTests(StoreCase, FollowerContract):
    def make(self) -> Welcome:
        return Welcome(super().make().pool)

    async def effects(self, user_id: UserID) -> int:
        query = "SELECT user_id FROM welcomes WHERE user_id = ?"
        return len(await self.store.pool.runQuery(query, (str(user_id),)))
