"""Registration tokens in our own tables: their contract, and accounts made elsewhere."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.errors import InvalidRegistrationToken
from regsys.interfaces import IExpiring
from regsys.model import RESERVED_MS, NewAccount, NewJob
from regsys.storage.database import Transaction
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account
from tests.contracts.expiring import ExpiringContract
from tests.contracts.registration_tokens import RegistrationTokenStoreContract
from tests.support.databases import InFile, InMemory, OnAwkwardPostgreSQL, OnPostgreSQL
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
        """Whether a token without a limit has a use left doesn't depend on who holds one, so those
        are not counted: very many may. What it has is told all the same."""
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
    """The half that we keep of an account in somebody else's store."""

    async def begin(self: Any, new: NewAccount, **more: Any) -> None:
        """TOKEN, a use of which its session holds."""
        self.tokens, self.outcomes = RegistrationTokenStore(self.db), EmbeddedAccountStore(self.db)
        await self.tokens.create(token(**more))
        if new.session_id is not None:
            await self.tokens.reserve(TOKEN, new.session_id, NOW_MS - 1)

    async def uses(self: Any, now_ms: int = NOW_MS) -> tuple[int, int]:
        found = await self.tokens.get(TOKEN, now_ms)
        return found.pending, found.completed

    # One whose session holds a use already, and one that never had a session.
    KINDS = (using("one"), account("key", "two", registration_token=TOKEN))

    async def each(self: Any, check: Any) -> None:
        for new in self.KINDS:
            await self.change("DELETE FROM registration_tokens WHERE token = ?", TOKEN)
            await self.begin(new, uses_allowed=1)
            await check(new)

    async def test_settled(self: Any) -> None:
        """From beginning to end the use is nobody else's, however long it takes, and then it
        is counted, once."""

        async def check(new: NewAccount) -> None:
            await self.outcomes.claim(new, RECOVERY)
            later_ms = NOW_MS + YEAR_MS
            await self.tokens.delete_expired(later_ms, 10)
            self.assertFalse(await self.tokens.reserve(TOKEN, "other", later_ms))
            self.assertEqual(await self.uses(later_ms), (1, 0))
            for _ in range(2):
                await self.outcomes.complete(new, "recovery")
            self.assertEqual(await self.uses(), (0, 1))
            (use,) = await self.tokens.uses(TOKEN)
            self.assertEqual((use.user_id, use.used_ms), (str(new.user_id), NOW_MS))
            await self.change("DELETE FROM registration_token_uses WHERE token = ?", TOKEN)

        await self.each(check)

    async def test_withdrawn(self: Any) -> None:
        """What the store refused gives the use back: to its session for its time, else to all."""
        for new, pending in zip(self.KINDS, (1, 0), strict=True):
            await self.change("DELETE FROM registration_tokens WHERE token = ?", TOKEN)
            await self.begin(new, uses_allowed=1)
            for _ in range(2):
                await self.outcomes.claim(new, RECOVERY)
                await self.outcomes.release(new, "recovery")
                self.assertEqual(await self.uses(OVER_MS - 1), (pending, 0))
                self.assertEqual(await self.uses(OVER_MS), (0, 0))
            await self.outcomes.claim(new, RECOVERY)
            await self.outcomes.complete(new, "recovery")
            await self.outcomes.release(new, "recovery")
            self.assertEqual(await self.uses(), (0, 1))

    async def test_settledAfterAll(self: Any) -> None:
        """An account that exists is counted, though it was given up, and even if its token has
        ended meanwhile."""

        async def check(new: NewAccount) -> None:
            await self.outcomes.claim(new, RECOVERY)
            await self.outcomes.release(new, "recovery")
            await self.tokens.change(TOKEN, {"revoked": True})
            await self.outcomes.complete(new, "recovery")
            self.assertEqual(await self.uses(), (0, 1))

        await self.each(check)

    async def test_deletedMeanwhile(self: Any) -> None:
        """So it is if the token is deleted: that it was used is kept."""

        async def check(new: NewAccount) -> None:
            await self.outcomes.claim(new, RECOVERY)
            await self.tokens.delete(TOKEN)
            await self.outcomes.complete(new, "recovery")
            self.assertIn(str(new.user_id), [use.user_id for use in await self.tokens.uses(TOKEN)])

        await self.each(check)

    async def test_refused(self: Any) -> None:
        """Without a use there is nothing to begin: no outcome is noted, and no job."""

        async def check(new: NewAccount) -> None:
            await self.tokens.change(TOKEN, {"uses_allowed": 0})
            before = await self.contents()
            with self.assertRaises(InvalidRegistrationToken):
                await self.outcomes.claim(new, RECOVERY)
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


class AwkwardExpiringTests(OnAwkwardPostgreSQL, ExpiringReservations, TestCase):
    pass
