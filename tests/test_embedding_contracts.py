"""The store of docs/examples/embedding.py fulfils the contracts of regsys's own stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional
from unittest import TestCase as AnyTestCase

from twisted.trial.unittest import TestCase

from regsys.interfaces import IAccountStore, IAuth, IDevices
from regsys.model import Requester, Secret, UserID
from regsys.testing.contracts import AccountStoreContract, AuthContract, DevicesContract
from regsys.testing.contracts.case import account, device, user
from tests.support.examples import embedding


def open_store(case: AnyTestCase) -> Any:
    """The example's store, with threads and a file."""
    pool = embedding.open_database(Path(case.mktemp()))  # type: ignore[attr-defined]
    case.addCleanup(pool.close)
    return embedding.Store(pool)


class AccountTests(AccountStoreContract, TestCase):
    def make(self) -> IAccountStore:
        self.store = open_store(self)
        return self.store

    async def deactivate(self, user_id: UserID) -> None:
        await self.store.deactivate(user_id)


class DeviceTests(DevicesContract, TestCase):
    def make(self) -> tuple[IDevices, IAuth]:
        self.store = open_store(self)
        return self.store, self.store

    async def add_user(self, localpart: str) -> UserID:
        return (await self.store.create_account(account(localpart, localpart))).user_id

    async def deactivate(self, user_id: UserID) -> None:
        await self.store.deactivate(user_id)


class AuthTests(AuthContract, TestCase):
    def make(self) -> IAuth:
        self.store = open_store(self)
        return self.store

    async def live(self) -> tuple[Secret, Requester]:
        await self.store.create_account(account("key"))
        made = await self.store.register(user("alice"), device("token"))
        return made.access_token, Requester(user_id=user("alice"), device_id="PHONE")

    async def expired(self) -> Optional[Secret]:
        return None  # the example's tokens don't expire
