"""UIA sessions, in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.interfaces.internal import IExpiring
from regsys.model import Client, NewAccount
from regsys.storage.sessions import CLIENTS_BYTES, SessionStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS
from tests.contracts.expiring import ExpiringContract
from tests.contracts.sessions import SessionStoreContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables
from tests.support.values import CLIENT, session


class OwnSessions(Tables, SessionStoreContract):
    def make(self) -> SessionStore:
        return SessionStore(self.db)

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)

    async def test_soManyClients(self: Any) -> None:
        """Of very many clients the first ones are kept, which are enough for spam checkers."""
        store = self.make()
        await store.add(session(), 1)
        clients = [Client(CLIENT.address, f"{number} " + "é" * 500) for number in range(20)]
        for client in clients:
            await store.save("session", client, None, {})
        found = await store.get("session", NOW_MS)
        self.assertEqual(found.clients, (CLIENT, *clients[: len(found.clients) - 1]))
        ((kept,),) = await self.rows("SELECT clients FROM uia_sessions")
        self.assertLessEqual(len(kept.encode()), CLIENTS_BYTES)
        self.assertGreater(len(kept.encode()), CLIENTS_BYTES / 2)

    async def test_keptSmall(self: Any) -> None:
        """A client's parameters are stored as they came, without escapes that make them longer."""
        await self.make().add(session(params={"username": "é" * 1000}), 1)
        ((params,),) = await self.rows("SELECT params FROM uia_sessions")
        self.assertLess(len(params.encode()), 2100)


class ExpiringSessions(Tables, ExpiringContract):
    def make(self) -> IExpiring:
        return SessionStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        await SessionStore(self.db).add(session(f"{number}", expires_ms=ends_ms), 10)


class MemorySessionTests(InMemory, OwnSessions, TestCase):
    pass


class FileSessionTests(InFile, OwnSessions, TestCase):
    pass


class PostgresSessionTests(OnPostgreSQL, OwnSessions, TestCase):
    pass


class MemoryExpiringTests(InMemory, ExpiringSessions, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringSessions, TestCase):
    pass


class UnusualPlansExpiringTests(OnPostgreSQLWithUnusualPlans, ExpiringSessions, TestCase):
    pass
