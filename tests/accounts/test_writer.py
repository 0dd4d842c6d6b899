"""The writer over stores that keep accounts and devices together."""

from __future__ import annotations

import sqlite3
from typing import Any

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.accounts.deactivation import Deactivation, OwnDeactivation
from regsys.accounts.writer import LocalWriter
from regsys.credentials.access_tokens import GuestTokens, Logins, TokenAuth
from regsys.errors import InvalidParam, UsernameTaken
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import NewAccount
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
        self.db = database = self.database(clock)
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
            deactivation=OwnDeactivation(
                accounts=users,
                rest=Deactivation([addresses]),
                jobs=jobs,
                start_jobs=start_jobs,
                clock=clock,
            ),
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

    async def test_also(self: Any) -> None:
        """A homeserver writes rows of its own in the account's transaction, with its cursor: once
        for each account, and not for a key that has made one before."""
        writer = attr.evolve(self.writer(), also=self.put_own)
        await self.create_own_table()
        for _ in range(2):
            await writer.create_account(new_account())
        self.assertEqual(await self.own_rows(), [("@alice:contract.example", "its own")])

    async def test_alsoRefuses(self: Any) -> None:
        """What it raises is raised by ``create_account``: neither its rows nor the account are
        written, and the key may try again."""
        good = self.writer()
        await self.create_own_table()
        for error in (InvalidParam("It needs a door code."), ZeroDivisionError()):

            def refuse(txn: Any, new: NewAccount, error: Exception = error) -> None:
                self.put_own(txn, new)
                raise error

            writer = attr.evolve(good, also=refuse)
            await self.refusal(type(error), writer.create_account(new_account()))
            self.assertEqual(await self.own_rows(), [])
            self.assertFalse(await writer.accounts.is_taken("alice"))
        writer = attr.evolve(writer, also=self.put_own)
        self.assertFalse((await writer.create_account(new_account())).replayed)

    def put_own(self: Any, txn: Any, new: NewAccount) -> None:
        """A function as a homeserver has them, in its driver's style."""
        mark = "?" if isinstance(txn, sqlite3.Cursor) else "%s"
        txn.execute(f"INSERT INTO own_rows VALUES ({mark}, 'its own')", (str(new.user_id),))

    async def create_own_table(self: Any) -> None:
        async def run(sql: str) -> None:
            await self.db.transaction("test", lambda txn: txn.run(sql))

        await run("CREATE TABLE own_rows (user_id TEXT, value TEXT)")
        self.addCleanup(run, "DROP TABLE own_rows")

    async def own_rows(self: Any) -> Any:
        return await self.db.autocommit("test", lambda txn: txn.all("SELECT * FROM own_rows"))


class MemoryTests(InMemory, OwnWriter, TestCase):
    pass


class PostgresTests(OnPostgreSQL, OwnWriter, TestCase):
    pass
