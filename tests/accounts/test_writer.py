"""The writer over stores that keep accounts and devices together."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.accounts.deactivation import Deactivation
from regsys.accounts.writer import LocalWriter
from regsys.credentials.access_tokens import GuestTokens, Logins, TokenAuth
from regsys.errors import UsernameTaken
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.storage.devices import DeviceStore
from regsys.storage.jobs import JobStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, SERVER, user
from regsys.threepids.changes import ThreepidWriter
from tests.contracts.writer import StartJobs, WriterContract, new_account
from tests.support.callbacks import CallbackTests
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.post_registration import post_registration


class OwnWriter(CallbackTests, WriterContract):
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
                owners=owners,
            ),
            deactivation=Deactivation([users, addresses]),
            start_jobs=start_jobs,
        )
        return writer, auth

    async def test_deactivatedIsLoggedOut(self: Any) -> None:
        """The login of an account that is deactivated ends with it, and its name stays taken."""
        writer = self.writer()
        created = await writer.create_account(new_account())
        await writer.deactivate(user("alice"))
        self.assertIsNone(await self.auth.whose(created.login.access_token))
        await self.refusal(UsernameTaken, writer.create_account(new_account("another key")))


class MemoryTests(InMemory, OwnWriter, TestCase):
    pass


class PostgresTests(OnPostgreSQL, OwnWriter, TestCase):
    pass
