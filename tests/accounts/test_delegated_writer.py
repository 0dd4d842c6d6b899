"""The writer of an auth service, over a homeserver that answers."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.accounts.deactivation import Deactivation
from regsys.accounts.delegated_writer import DelegatedWriter
from regsys.accounts.earlier_accounts import EarlierAccounts
from regsys.accounts.provisioning import ProvisionedDevices, Provisioner
from regsys.accounts.provisioning_attempts import Attempts
from regsys.accounts.writer import LocalWriter
from regsys.credentials.access_tokens import GuestTokens, Logins, TokenAuth
from regsys.errors import Forbidden
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import DeviceRequest, UserID
from regsys.model.provisioning import HomeserverUser, Provisioned
from regsys.storage.devices import DeviceStore
from regsys.storage.earlier_accounts import EarlierAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.provisioning import KnownLogins, ProvisioningStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, SERVER
from regsys.threepids.changes import ThreepidWriter
from tests.contracts.writer import StartJobs, WriterContract, logins, new_account
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.post_registration import post_registration


@attr.define
class Homeserver:
    """Its users, each with their devices."""

    users: dict[UserID, set[str]] = attr.field(factory=dict)

    async def provision_user(self, user_id: UserID) -> Provisioned:
        is_new = user_id not in self.users
        self.users.setdefault(user_id, set())
        return Provisioned.MADE if is_new else Provisioned.THERE

    async def upsert_device(
        self, user_id: UserID, device_id: str, display_name: Optional[str] = None
    ) -> bool:
        if user_id not in self.users:
            return False
        self.users[user_id].add(device_id)
        return True

    async def sync_devices(self, user_id: UserID, device_ids: Sequence[str]) -> None:
        self.users[user_id] = set(device_ids)

    async def delete_device(self, user_id: UserID, device_id: str) -> None:
        self.users[user_id].discard(device_id)

    async def delete_user(self, user_id: UserID, erase: bool) -> None:
        self.users[user_id].clear()

    async def user(self, user_id: UserID) -> Optional[HomeserverUser]:
        return HomeserverUser(appservice_id=None, created_ms=NOW_MS)

    async def shadow_ban(self, user_id: UserID) -> None:
        raise AssertionError

    async def set_user_type(self, user_id: UserID, user_type: str) -> None:
        raise AssertionError

    async def suspend(self, user_id: UserID, suspended: bool) -> None:
        raise AssertionError


class Delegated(WriterContract):
    def make(
        self: Any, logins: Logins, planners: IJobPlanner, start_jobs: StartJobs
    ) -> tuple[IRegistrationWriter, IAuth]:
        clock = Clock()
        clock.advance(NOW_MS / 1000)
        database = self.database(clock)
        owners, jobs = ThreepidStore(database), JobStore(database)
        addresses = ThreepidWriter(
            store=owners, dedup_keys=jobs, start_jobs=start_jobs, clock=clock
        )
        users, devices = UserStore(database), DeviceStore(database, clock)
        guests = GuestTokens(server_name=SERVER, secret=b"a secret")
        # Only what the homeserver knows.
        known = KnownLogins(database, clock)
        auth = TokenAuth(logins=known, accounts=users, guests=guests, clock=clock)
        homeserver, pending = Homeserver(), ProvisioningStore(database)
        provisioner = Provisioner(users=homeserver, admin=homeserver, pending=pending)
        store = EarlierAccountStore(database)
        attempts = Attempts(pending=pending, earlier=store, clock=clock)
        earlier = EarlierAccounts(
            store=store,
            devices=devices,
            homeserver=homeserver,
            provisioner=provisioner,
            pending=pending,
            attempts=attempts,
            jobs=jobs,
            start_jobs=start_jobs,
            clock=clock,
        )
        local = LocalWriter(
            accounts=users,
            devices=ProvisionedDevices(
                devices=devices,
                homeserver=homeserver,
                earlier=earlier,
                pending=pending,
                start_jobs=start_jobs,
            ),
            logins=logins,
            post_registration=post_registration(
                database,
                clock,
                accounts=users,
                auth=auth,
                planners=planners,
                start_jobs=start_jobs,
                owners=owners,
            ),
            deactivation=Deactivation([users, addresses]),
            start_jobs=lambda jobs: None,
        )
        writer = DelegatedWriter(
            local=local,
            accounts=users,
            homeserver=homeserver,
            provisioner=provisioner,
            attempts=attempts,
            earlier=earlier,
            pending=pending,
            issue=logins.issue,
            start_jobs=start_jobs,
            clock=clock,
        )
        return writer, auth

    async def test_guest(self: Any) -> None:
        """The homeserver has no guests."""
        terms = logins().terms(DeviceRequest(), is_guest=True)
        new = new_account("key", "1", terms, is_guest=True)
        await self.refusal(Forbidden, self.writer().create_account(new))

    async def test_upgrade(self: Any) -> None:
        """Nor can a guest of before become a user."""
        new = new_account("user", "1", upgrades_guest=True)
        await self.refusal(Forbidden, self.writer().create_account(new))

    async def test_jobsOnce(self: Any) -> None:
        """The jobs of an account begin once, however often its key comes."""
        writer = self.writer()
        for _ in range(2):
            await writer.create_account(new_account())
        self.assertEqual(self.started, ["greet"])


class MemoryTests(InMemory, Delegated, TestCase):
    pass


class PostgresTests(OnPostgreSQL, Delegated, TestCase):
    pass
