"""The example's own store passes the suites that docs/embedding.md sends its reader to."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from regsys.model import Requester, UserID
from regsys.testing.contracts import AccountStoreContract, AuthContract, DevicesContract
from regsys.testing.contracts.case import account, device, user
from tests.test_embedding import InlineConnections, embedding


class ExampleCase:
    def make_store(self) -> Any:
        self.store = embedding.Store(InlineConnections())
        return self.store

    async def deactivate(self, user_id: UserID) -> None:
        raise SkipTest("The example's homeserver deactivates nobody.")


class AccountsTests(ExampleCase, AccountStoreContract, TestCase):
    def make(self) -> Any:
        return self.make_store()


class DevicesTests(ExampleCase, DevicesContract, TestCase):
    def make(self) -> Any:
        store = self.make_store()
        return store, store

    async def add_user(self, localpart: str) -> UserID:
        made = await self.store.create_account(account(localpart, localpart))
        return made.user_id


class AuthTests(ExampleCase, AuthContract, TestCase):
    def make(self) -> Any:
        return self.make_store()

    async def live(self) -> Any:
        await self.store.create_account(account("key"))
        login = await self.store.register(user("alice"), device("token"))
        return login.access_token, Requester(user_id=user("alice"), device_id="PHONE")

    async def expired(self) -> None:
        return None
