"""Consents in our own tables: of our accounts, and of another store's."""

from __future__ import annotations

from typing import Sequence

from twisted.trial.unittest import TestCase

from regsys.model import NewAccount
from regsys.model.jobs import NewJob
from regsys.storage.consents import ConsentStore
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import account, user
from tests.contracts.consents import ConsentStoreContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.tables import Tables

RECOVERY = NewJob(kind="recover", job_id="recovery")


class Consents(Tables, ConsentStoreContract):
    def make(self) -> ConsentStore:
        return ConsentStore(self.db)

    async def jobs(self) -> Sequence[str]:
        return [job_id for (job_id,) in await self.rows("SELECT job_id FROM jobs")]


class OwnConsents(Consents):
    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)


class EmbeddedConsents(Consents):
    """Of accounts in a homeserver's own store."""

    async def create_account(self, new: NewAccount) -> None:
        embedded_accounts = EmbeddedAccountStore(self.db)
        await embedded_accounts.claim(new, RECOVERY)
        await embedded_accounts.complete(new, RECOVERY.job_id)

    async def test_released(self) -> None:
        """Before the account exists no consent is stored, and none if it is never made."""
        new, embedded_accounts = (
            account("key", consents={"terms": "1"}),
            EmbeddedAccountStore(self.db),
        )
        await embedded_accounts.claim(new, RECOVERY)
        self.assertEqual(list(await self.make().given_by(user("alice"))), [])
        await embedded_accounts.release(new, RECOVERY.job_id)
        self.assertEqual(list(await self.make().given_by(user("alice"))), [])


class MemoryConsentTests(InMemory, OwnConsents, TestCase):
    pass


class FileConsentTests(InFile, OwnConsents, TestCase):
    pass


class PostgresConsentTests(OnPostgreSQL, OwnConsents, TestCase):
    pass


class MemoryEmbeddedConsentTests(InMemory, EmbeddedConsents, TestCase):
    pass


class PostgresEmbeddedConsentTests(OnPostgreSQL, EmbeddedConsents, TestCase):
    pass
