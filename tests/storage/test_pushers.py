"""Pushers in our own tables."""

from __future__ import annotations

from typing import Sequence

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.interfaces import IPushers
from regsys.model import NewAccount, Pusher, Threepid, UserID
from regsys.storage.devices import DeviceStore
from regsys.storage.pushers import PusherStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing.contracts import PushersContract
from regsys.testing.contracts.case import NOW_MS, user
from regsys.testing.contracts.post_registration import MAIL, pusher
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.tables import Tables


class OwnPushers(Tables, PushersContract):
    def make(self) -> IPushers:
        return PusherStore(self.db)

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)

    async def end_device(self, user_id: UserID, device_id: str) -> None:
        await DeviceStore(self.db, Clock()).log_out(user_id, device_id)

    async def of_user(self, user_id: UserID) -> Sequence[Pusher]:
        return await PusherStore(self.db).of_user(user_id)

    async def test_deactivated(self) -> None:
        """A deactivated user has no pusher any more."""
        pushers = await self.beside_others()
        await pushers.add(pusher())
        await UserStore(self.db).delete_for(user("alice"))
        self.assertEqual(list(await self.of_user(user("alice"))), [])

    async def test_withItsAddress(self) -> None:
        """The email pusher of an address is removed when its user removes the address; pushers of
        another app, address, kind or user stay."""
        pushers, threepids = await self.beside_others(), ThreepidStore(self.db)
        await threepids.add(user("alice"), Threepid("email", MAIL, NOW_MS), NOW_MS)
        stays = [
            attr.evolve(pusher(), app_id="z.example"),
            pusher(pushkey="z@mail.example"),
        ]
        for item in (pusher(), *stays, pusher("bob")):
            await pushers.add(item)
        self.assertTrue(await threepids.remove(user("alice"), "email", MAIL))
        self.assertEqual(
            sorted(item.app_id for item in await self.of_user(user("alice"))),
            sorted(item.app_id for item in stays),
        )
        self.assertEqual(list(await self.of_user(user("bob"))), [pusher("bob")])

    async def test_otherKind(self) -> None:
        """A pusher of another kind stays, although it has the address as its pushkey."""
        pushers, threepids = await self.beside_others(), ThreepidStore(self.db)
        await threepids.add(user("alice"), Threepid("email", MAIL, NOW_MS), NOW_MS)
        http = attr.evolve(pusher(), kind="http")
        await pushers.add(http)
        self.assertTrue(await threepids.remove(user("alice"), "email", MAIL))
        self.assertEqual(list(await self.of_user(user("alice"))), [http])


class MemoryTests(InMemory, OwnPushers, TestCase):
    pass


class FileTests(InFile, OwnPushers, TestCase):
    pass


class PostgresTests(OnPostgreSQL, OwnPushers, TestCase):
    pass
