"""Our own tables as the parts of a homeserver: HomeserverContract."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.credentials.access_tokens import GuestTokens, TokenAuth
from regsys.model import GUEST_DEVICE_ID, Login, LoginTerms, NewDevice, UserID
from regsys.storage.devices import DeviceStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing.contracts import HomeserverContract, HomeserverParts
from regsys.testing.contracts.case import NOW_MS, SERVER
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables


class OwnParts(Tables, HomeserverContract):
    # Kept in tables of other parts, for other times than the account's, or not at all.
    not_kept = (
        "auth_provider_id",
        "consents",
        "extra",
        "is_ghost",
        "registration_token",
        "stages",
        "vouched_emails",
    )

    def make(self) -> HomeserverParts:
        clock = Clock()
        clock.advance(NOW_MS / 1000)
        self.users, devices = UserStore(self.db), DeviceStore(self.db, clock)
        self.guests = GuestTokens(server_name=SERVER, secret=b"a secret")
        return HomeserverParts(
            store=self.users,
            devices=devices,
            auth=TokenAuth(logins=devices, accounts=self.users, guests=self.guests, clock=clock),
            users=self.users,
            threepids=ThreepidStore(self.db),
        )

    def guest_device(self, user_id: UserID, name: str) -> NewDevice:
        terms = LoginTerms(device_id=GUEST_DEVICE_ID, is_guest=True)
        return NewDevice(login=Login(terms=terms, access_token=self.guests.make(user_id, name)))

    async def deactivate(self, user_id: UserID) -> None:
        await self.users.delete_for(user_id)

    async def device_name(self, user_id: UserID, device_id: str) -> Optional[str]:
        rows = await self.rows("SELECT user_id, device_id, display_name FROM devices")
        names = {(who, which): name for who, which, name in rows}
        return names[str(user_id), device_id]

    async def stored(self, user_id: UserID) -> Mapping[str, Any]:
        found = await self.users.find(user_id.localpart)
        assert found is not None
        names = dict(await self.rows("SELECT user_id, display_name FROM profiles"))
        return {
            **attr.asdict(found, recurse=False),
            "display_name": names.get(str(user_id)),
            "threepids": await ThreepidStore(self.db).of_user(user_id),
        }


class MemoryTests(InMemory, OwnParts, TestCase):
    pass


class PostgresTests(OnPostgreSQL, OwnParts, TestCase):
    pass
