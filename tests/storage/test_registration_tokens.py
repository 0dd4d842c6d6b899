"""Registration tokens in our own tables: their contract, and accounts in a homeserver's store."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.errors import InvalidRegistrationToken
from regsys.interfaces.internal import IExpiring
from regsys.model import NewAccount
from regsys.model.jobs import NewJob
from regsys.model.registration_tokens import RESERVED_MS
from regsys.storage.database import Transaction
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account
from tests.contracts.expiring import ExpiringContract
from tests.contracts.registration_tokens import RegistrationTokenStoreContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables
from tests.support.values import OVER_MS, TOKEN, token, using

RECOVERY = NewJob(kind="recover", job_id="recovery")
YEAR_MS = 365 * 24 * 3600 * 1000


class OwnTokens(Tables, RegistrationTokenStoreContract):
    def make(self) -> RegistrationTokenStore:
        return RegistrationTokenStore(self.db)

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)

    async def test_refusedWhole(self: Any) -> None:
        """An account that is refused for its token leaves every table as it was."""
        store = await self.started(uses_allowed=1)
        await store.reserve(TOKEN, "one", NOW_MS)
        await store.change(TOKEN, {"uses_allowed": 0})
        before = await self.contents()
        for new in (using("one"), using("two"), using("three", "other")):
            await self.refusal(InvalidRegistrationToken, self.create_account(new))
        self.assertEqual(await self.contents(), before)

    async def test_withoutLimit(self: Any) -> None:
        """A token without a limit always has a use left, so its reservations are not counted when
        one is added: there may be very many. They are listed all the same."""
        store = await self.started()
        texts: list[str] = []
        run = Transaction.one

        def one(txn: Transaction, sql: str, values: Any = ()) -> Any:
            texts.append(sql)
            return run(txn, sql, values)

        self.patch(Transaction, "one", one)
        for name in ("one", "two"):
            self.assertTrue(await store.reserve(TOKEN, name, NOW_MS))
        await self.create_account(using("two"))
        self.assertNotIn("COUNT", " ".join(texts))
        self.assertEqual(await self.uses(), (1, 1))


class AccountsElsewhere(Tables):
    """Our half of an account in a homeserver's own store."""

    async def begin(self: Any, new: NewAccount, **more: Any) -> None:
        """TOKEN, of which its session has reserved a use."""
        self.tokens, self.embedded_accounts = (
            RegistrationTokenStore(self.db),
            EmbeddedAccountStore(self.db),
        )
        await self.tokens.create(token(**more))
        if new.session_id is not None:
            await self.tokens.reserve(TOKEN, new.session_id, NOW_MS - 1)

    async def uses(self: Any, now_ms: int = NOW_MS) -> tuple[int, int]:
        found = await self.tokens.get(TOKEN, now_ms)
        return found.pending, found.completed

    # One whose session has reserved a use already, and one without a session.
    KINDS = (using("one"), account("key", "two", registration_token=TOKEN))

    async def each(self: Any, check: Any) -> None:
        for new in self.KINDS:
            await self.change("DELETE FROM registration_tokens WHERE token = ?", TOKEN)
            await self.begin(new, uses_allowed=1)
            await check(new)

    async def test_completed(self: Any) -> None:
        """From beginning to end no other registration gets the use, however long it takes, and then
        it is counted, once."""

        async def check(new: NewAccount) -> None:
            await self.embedded_accounts.claim(new, RECOVERY)
            later_ms = NOW_MS + YEAR_MS
            await self.tokens.delete_expired(later_ms, 10)
            self.assertFalse(await self.tokens.reserve(TOKEN, "other", later_ms))
            self.assertEqual(await self.uses(later_ms), (1, 0))
            for _ in range(2):
                await self.embedded_accounts.complete(new, "recovery")
            self.assertEqual(await self.uses(), (0, 1))
            (use,) = await self.tokens.uses(TOKEN)
            self.assertEqual((use.user_id, use.used_ms), (str(new.user_id), NOW_MS))
            await self.change("DELETE FROM registration_token_uses WHERE token = ?", TOKEN)

        await self.each(check)

    async def test_released(self: Any) -> None:
        """After a refusal by the store the use is given back: to its session for its time,
        otherwise to all."""
        for new, pending in zip(self.KINDS, (1, 0), strict=True):
            await self.change("DELETE FROM registration_tokens WHERE token = ?", TOKEN)
            await self.begin(new, uses_allowed=1)
            for _ in range(2):
                await self.embedded_accounts.claim(new, RECOVERY)
                await self.embedded_accounts.release(new, "recovery")
                self.assertEqual(await self.uses(OVER_MS - 1), (pending, 0))
                self.assertEqual(await self.uses(OVER_MS), (0, 0))
            await self.embedded_accounts.claim(new, RECOVERY)
            await self.embedded_accounts.complete(new, "recovery")
            await self.embedded_accounts.release(new, "recovery")
            self.assertEqual(await self.uses(), (0, 1))

    async def test_completedAfterAll(self: Any) -> None:
        """The use of an account that exists is counted, although its key was released, and even if
        its token has expired meanwhile."""

        async def check(new: NewAccount) -> None:
            await self.embedded_accounts.claim(new, RECOVERY)
            await self.embedded_accounts.release(new, "recovery")
            await self.tokens.change(TOKEN, {"revoked": True})
            await self.embedded_accounts.complete(new, "recovery")
            self.assertEqual(await self.uses(), (0, 1))

        await self.each(check)

    async def test_deletedMeanwhile(self: Any) -> None:
        """The same holds if the token is deleted: its use is recorded."""

        async def check(new: NewAccount) -> None:
            await self.embedded_accounts.claim(new, RECOVERY)
            await self.tokens.delete(TOKEN)
            await self.embedded_accounts.complete(new, "recovery")
            self.assertIn(str(new.user_id), [use.user_id for use in await self.tokens.uses(TOKEN)])

        await self.each(check)

    async def test_refused(self: Any) -> None:
        """Without a use left nothing is begun: no outcome is stored, and no job."""

        async def check(new: NewAccount) -> None:
            await self.tokens.change(TOKEN, {"uses_allowed": 0})
            before = await self.contents()
            with self.assertRaises(InvalidRegistrationToken):
                await self.embedded_accounts.claim(new, RECOVERY)
            self.assertEqual(await self.contents(), before)

        await self.each(check)


class ExpiringReservations(Tables, ExpiringContract):
    def make(self) -> IExpiring:
        return RegistrationTokenStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        tokens = RegistrationTokenStore(self.db)
        await tokens.create(token())
        await tokens.reserve(TOKEN, f"{number}", ends_ms - RESERVED_MS)


class MemoryTokenTests(InMemory, OwnTokens, TestCase):
    pass


class FileTokenTests(InFile, OwnTokens, TestCase):
    pass


class PostgresTokenTests(OnPostgreSQL, OwnTokens, TestCase):
    pass


class MemoryAccountsElsewhereTests(InMemory, AccountsElsewhere, TestCase):
    pass


class FileAccountsElsewhereTests(InFile, AccountsElsewhere, TestCase):
    pass


class PostgresAccountsElsewhereTests(OnPostgreSQL, AccountsElsewhere, TestCase):
    pass


class MemoryExpiringTests(InMemory, ExpiringReservations, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringReservations, TestCase):
    pass


class UnusualPlansExpiringTests(OnPostgreSQLWithUnusualPlans, ExpiringReservations, TestCase):
    pass
