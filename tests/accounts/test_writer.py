"""Writers over stores that keep accounts and devices together, and the counting of accounts."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.accounts.writer import CountingWriter, LocalWriter
from regsys.credentials.access_tokens import GuestTokens, Logins, TokenAuth
from regsys.interfaces import IAuth, IJobPlanner, IRegistrationWriter
from regsys.metrics import Metrics
from regsys.storage.devices import DeviceStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing.contracts import WriterContract
from regsys.testing.contracts.case import NOW_MS, SERVER, user
from regsys.testing.contracts.writer import StartJobs, new_account
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.post_registration import post_registration


class OwnWriter(WriterContract):
    def make(
        self: Any, logins: Logins, planners: IJobPlanner, start_jobs: StartJobs
    ) -> tuple[IRegistrationWriter, IAuth]:
        clock = Clock()
        clock.advance(NOW_MS / 1000)
        database = self.database(clock)
        users, devices = UserStore(database), DeviceStore(database, clock)
        guests = GuestTokens(server_name=SERVER, secret=b"a secret")
        auth = TokenAuth(logins=devices, accounts=users, guests=guests, clock=clock)
        writer = LocalWriter(
            accounts=users,
            devices=devices,
            logins=logins,
            post_registration=post_registration(
                database,
                clock,
                accounts=users,
                auth=auth,
                planners=planners,
                start_jobs=start_jobs,
                owners=ThreepidStore(database),
            ),
            start_jobs=start_jobs,
        )
        return writer, auth


class MemoryTests(InMemory, OwnWriter, TestCase):
    pass


class PostgresTests(OnPostgreSQL, OwnWriter, TestCase):
    pass


class CountingTests(InMemory, OwnWriter, TestCase):
    """The same around another writer, which counts."""

    def make(
        self, logins: Logins, planners: IJobPlanner, start_jobs: StartJobs
    ) -> tuple[IRegistrationWriter, IAuth]:
        self.metrics = Metrics()
        writer, auth = super().make(logins, planners, start_jobs)
        return CountingWriter(writer=writer, metrics=self.metrics), auth

    def counted(self, name: str, **labels: str) -> Optional[float]:
        return self.metrics.registry.get_sample_value(f"regsys_{name}_total", labels)

    async def test_counted(self) -> None:
        """Each account counts once, each later login counts too; replays don't."""
        writer = self.writer()
        new = new_account(auth_provider_id="oidc")
        for _ in range(2):
            await writer.create_account(new)
        await writer.create_account(new_account("2", "1", is_guest=True, shadow_banned=True))
        labels = {"guest": "false", "shadow_banned": "false", "auth_provider": "oidc"}
        self.assertEqual(self.counted("registrations", **labels), 1)
        guests = {"guest": "true", "shadow_banned": "true", "auth_provider": ""}
        self.assertEqual(self.counted("registrations", **guests), 1)
        self.assertIsNone(self.counted("logins", guest="false", auth_provider=""))
        await writer.register_device(user("alice"), new.device)
        self.assertEqual(self.counted("logins", guest="false", auth_provider=""), 1)
