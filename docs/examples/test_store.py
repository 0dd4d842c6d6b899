"""The store of embedding.py keeps the contracts of regsys. Run this in docs/examples with

python -m twisted.trial test_store
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import embedding
from twisted.trial.unittest import TestCase

from regsys.model import Requester, Secret, UserID
from regsys.testing.contracts import AccountStoreContract, AuthContract, DevicesContract
from regsys.testing.contracts.case import account, device, user


def open_store(case: TestCase) -> embedding.Store:
    pool = embedding.open_database(Path(case.mktemp()))
    case.addCleanup(pool.close)
    return embedding.Store(pool)


class AccountTests(AccountStoreContract, TestCase):
    def make(self) -> embedding.Store:
        self.store = open_store(self)
        return self.store

    async def deactivate(self, user_id: UserID) -> None:
        await self.store.deactivate(user_id)


class DeviceTests(DevicesContract, TestCase):
    def make(self) -> tuple[embedding.Store, embedding.Store]:
        self.store = open_store(self)
        return self.store, self.store  # the IDevices and the IAuth

    async def add_user(self, localpart: str) -> UserID:
        return await self.store.create_account(account(localpart, localpart))

    async def deactivate(self, user_id: UserID) -> None:
        await self.store.deactivate(user_id)


class AuthTests(AuthContract, TestCase):
    def make(self) -> embedding.Store:
        self.store = open_store(self)
        return self.store

    async def live(self) -> tuple[Secret, Requester]:
        await self.store.create_account(account("key"))
        made = await self.store.register(user("alice"), device("token"))
        return made.access_token, Requester(user_id=user("alice"), device_id="PHONE")

    async def expired(self) -> Optional[Secret]:
        return None  # the example's tokens do not expire
