"""Nonces that are used up, in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.interfaces import IExpiring, INonceStore
from regsys.storage.nonces import NonceStore
from regsys.testing import provides
from regsys.testing.contracts import ExpiringContract
from regsys.testing.contracts.case import NOW_MS
from tests.databases import InMemory, OnAwkwardPostgreSQL, OnPostgreSQL
from tests.tables import Tables


class OwnNonces(Tables, ExpiringContract):
    def make(self) -> IExpiring:
        return NonceStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        await NonceStore(self.db).use(f"{number}", ends_ms)

    async def test_used(self: Any) -> None:
        """A nonce is good once, whatever was used beside it, until it is forgotten."""
        store = NonceStore(self.db)
        provides(INonceStore, store)
        used = [await store.use(nonce, NOW_MS) for nonce in ("one", "two", "one")]
        self.assertEqual(used, [True, True, False])


class MemoryNonceTests(InMemory, OwnNonces, TestCase):
    pass


class PostgresNonceTests(OnPostgreSQL, OwnNonces, TestCase):
    pass


class AwkwardNonceTests(OnAwkwardPostgreSQL, OwnNonces, TestCase):
    pass
