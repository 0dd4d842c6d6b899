"""Third-party identifiers and their validation sessions in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.errors import ThreepidInUse
from regsys.interfaces import IThreepidStore
from regsys.interfaces.internal import IExpiring
from regsys.model import NewAccount, Threepid
from regsys.model.jobs import NewJob
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.storage.validations import ValidationStore
from regsys.testing.contracts import ThreepidStoreContract
from regsys.testing.contracts.case import NOW_MS, account
from tests.contracts.expiring import ExpiringContract
from tests.contracts.validation_neighbours import ValidationNeighboursContract
from tests.contracts.validations import ValidationStoreContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables
from tests.support.values import ALICE, LIFE_MS, wanted


class OwnThreepids(Tables, ThreepidStoreContract):
    def make(self) -> IThreepidStore:
        return ThreepidStore(self.db)

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)


class OwnValidations(Tables, ValidationStoreContract, ValidationNeighboursContract):
    def make(self) -> ValidationStore:
        return ValidationStore(self.db)

    async def job_ids(self) -> set[str]:
        return {row[0] for row in await self.rows("SELECT job_id FROM jobs")}

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)

    async def test_refusedWhole(self: Any) -> None:
        """An account that loses its address to another leaves the validation session unchanged."""
        store = await self.validated()
        await store.claim("sid", "session", NOW_MS)
        proven = (Threepid("email", ALICE, NOW_MS),)
        await self.create_account(account("quick", "quick", threepids=proven))
        before = await self.contents()
        slow = account("session", "slow", session_id="session", threepids=proven)
        await self.refusal(ThreepidInUse, self.create_account(slow))
        self.assertEqual(await self.contents(), before)

    async def test_usedByAnAccountElsewhere(self: Any) -> None:
        """So does a claim for an account that is made in a homeserver's store, even if a recovery,
        which knows of no address, completes it."""
        store = await self.validated()
        await store.claim("sid", "session", NOW_MS)
        new = account("session", "alice", session_id="session")
        embedded_accounts = EmbeddedAccountStore(self.db)
        await embedded_accounts.claim(new, NewJob(kind="recover", job_id="recovery"))
        self.assertFalse((await store.get("sid", NOW_MS)).used)
        await embedded_accounts.complete(new, "recovery")
        self.assertTrue((await store.get("sid", NOW_MS)).used)


class ExpiringValidations(Tables, ExpiringContract):
    def make(self) -> IExpiring:
        return ValidationStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        store = ValidationStore(self.db)
        await store.begin(wanted(f"{number}", client_secret=f"{number}", now_ms=ends_ms - LIFE_MS))

    async def test_tokensToo(self: Any) -> None:
        """A session's tokens are removed with it."""
        await self.add(1, NOW_MS)
        await self.make().delete_expired(NOW_MS + 1, 10)
        self.assertEqual(await self.rows("SELECT * FROM validation_tokens"), [])


class MemoryThreepidTests(InMemory, OwnThreepids, TestCase):
    pass


class PostgresThreepidTests(OnPostgreSQL, OwnThreepids, TestCase):
    pass


class MemoryValidationTests(InMemory, OwnValidations, TestCase):
    pass


class FileValidationTests(InFile, OwnValidations, TestCase):
    pass


class PostgresValidationTests(OnPostgreSQL, OwnValidations, TestCase):
    pass


class MemoryExpiringTests(InMemory, ExpiringValidations, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringValidations, TestCase):
    pass


class UnusualPlansExpiringTests(OnPostgreSQLWithUnusualPlans, ExpiringValidations, TestCase):
    pass
