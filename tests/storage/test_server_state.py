"""The first real user: decided once, whichever store keeps the accounts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.model import NewAccount
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.server_state import ServerStateStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import account, together, upgrade, user
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.threads import InThreads
from tests.support.values import RECOVERY


class FirstUser(Tables):
    async def make_account(self, new: NewAccount) -> None:
        """In our own store."""
        await UserStore(self.db).create_account(new)

    async def complete_account(self, new: NewAccount) -> None:
        """In a homeserver's store: our half of it."""
        store = EmbeddedAccountStore(self.db)
        await store.claim(new, RECOVERY)
        await store.complete(new, RECOVERY.job_id)

    async def test_first(self: Any) -> None:
        """The first user is noted. Guests, bots and application services' users don't count, later
        users don't change it, and another process knows it."""
        for make in (self.make_account, self.complete_account):
            await self.new_database()
            server_state = ServerStateStore(self.db)
            for number, more in enumerate(
                ({"is_guest": True}, {"user_type": "bot"}, {"appservice_id": "irc"})
            ):
                await make(account(f"{number}", f"{number}", **more))
            self.assertIsNone(await server_state.first_real_user())
            for name in ("alice", "bob"):
                await make(account(name, name))
                self.assertEqual(await server_state.first_real_user(), user("alice"), make)

    async def test_upgradedGuest(self: Any) -> None:
        """A guest who becomes a user may be the first."""
        for make in (self.make_account, self.complete_account):
            await self.new_database()
            await make(account("guest", "1", is_guest=True))
            await make(upgrade("user", "1"))
            self.assertEqual(await ServerStateStore(self.db).first_real_user(), user("1"))

    async def test_atOnce(self: Any) -> None:
        """Of several concurrent first users all get their accounts, and one is the first."""
        for make in (self.make_account, self.complete_account):
            await self.new_database()
            names = [f"user{number}" for number in range(8)]
            ended = await together(make(account(name, name)) for name in names)
            self.assertEqual(ended, [None] * 8)
            first = await ServerStateStore(self.db).first_real_user()
            self.assertIn(first, [user(name) for name in names])
            self.assertEqual(len(await self.rows("SELECT * FROM milestones")), 1)


class MemoryTests(InMemory, FirstUser, TestCase):
    pass


class PostgresTests(OnPostgreSQL, FirstUser, TestCase):
    pass


class ThreadedTests(InThreads, FirstUser, TestCase):
    """Here the races are real ones."""
