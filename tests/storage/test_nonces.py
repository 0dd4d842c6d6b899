"""Used nonces, in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.interfaces.internal import IExpiring
from regsys.storage.nonces import NonceStore
from regsys.testing.contracts.case import NOW_MS, together
from tests.contracts.expiring import ExpiringContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables


class Nonces(Tables):
    async def test_used(self: Any) -> None:
        """A nonce is used once, whatever expiry the second call has; other nonces are not
        affected."""
        store = NonceStore(self.db)
        for nonce, until_ms, used in (
            ("one", NOW_MS, True),
            ("one", NOW_MS, False),
            ("one", NOW_MS + 1, False),
            ("One", NOW_MS, True),
        ):
            self.assertIs(await store.use(nonce, until_ms), used, (nonce, until_ms))
        self.assertEqual(
            sorted(await self.rows("SELECT nonce, expires_ms FROM used_nonces")),
            [("One", NOW_MS), ("one", NOW_MS)],
        )

    async def test_usedAtOnce(self: Any) -> None:
        """Of several concurrent calls with one nonce, one has used it."""
        store = NonceStore(self.db)
        ended = await together(store.use("nonce", NOW_MS) for _ in range(6))
        self.assertEqual((ended.count(True), ended.count(False)), (1, 5), ended)


class ExpiringNonces(Tables, ExpiringContract):
    def make(self) -> IExpiring:
        return NonceStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        await NonceStore(self.db).use(f"{number}", ends_ms)


class MemoryTests(InMemory, Nonces, TestCase):
    pass


class FileTests(InFile, Nonces, TestCase):
    pass


class PostgresTests(OnPostgreSQL, Nonces, TestCase):
    pass


class MemoryExpiringTests(InMemory, ExpiringNonces, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringNonces, TestCase):
    pass


class UnusualPlansExpiringTests(OnPostgreSQLWithUnusualPlans, ExpiringNonces, TestCase):
    pass
