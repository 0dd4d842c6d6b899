"""What our tables keep of a user whose account is deactivated."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.trial.unittest import TestCase

from regsys.config import BlockingConfig
from regsys.interfaces.internal import IAccountData
from regsys.model import UserID
from regsys.storage.monthly_active_users import ActivityStore
from regsys.storage.newcomers import NewcomerStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore
from regsys.storage.validations import ValidationStore
from regsys.testing.contracts.case import NOW_MS, account, device
from tests.contracts.account_data import AccountDataContract
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.values import PLENTY, session, wanted


class Kept(Tables, AccountDataContract):
    async def create(self, user_id: UserID) -> None:
        name = user_id.localpart
        new = account(name, name, password_hash="hash", device=device(name))
        await UserStore(self.db).create_account(new)

    async def test_nobodysStays(self: Any) -> None:
        """Rows that belong to no account yet stay, whichever user is deactivated."""
        await ValidationStore(self.db).begin(wanted("newcomer"))
        await SessionStore(self.db).add(session("newcomer"), PLENTY)
        before = await self.contents()
        await self.make().delete_for(UserID("nobody", "contract.example"))
        self.assertEqual(await self.contents(), before)


class Accounts(Kept):
    """Passwords and devices."""

    def make(self) -> IAccountData:
        return UserStore(self.db)

    async def keep(self, user_id: UserID) -> None:
        await self.create(user_id)

    async def kept(self, user_id: UserID) -> Sequence[object]:
        passwords = "SELECT password_hash, deactivated FROM users WHERE NOT deactivated"
        tokens = "SELECT access_hash FROM logins"
        devices = "SELECT device_id, display_name FROM devices"
        found: list[object] = [*await self.rows(f"{passwords} AND user_id = ?", str(user_id))]
        for sql in (tokens, devices):
            found += await self.rows(f"{sql} WHERE user_id = ?", str(user_id))
        return found

    async def test_nameStays(self: Any) -> None:
        """The account's row stays, with its name, and without its password."""
        alice = UserID("alice", "contract.example")
        await self.create(alice)
        await self.make().delete_for(alice)
        self.assertEqual(
            await self.rows("SELECT user_id, password_hash, deactivated FROM users"),
            [(str(alice), None, True)],
        )


class Sessions(Kept):
    """UIA sessions of accounts."""

    def make(self) -> IAccountData:
        return SessionStore(self.db)

    async def keep(self, user_id: UserID) -> None:
        made = session(f"of {user_id}", user_id=user_id)
        await SessionStore(self.db).add(made, PLENTY)

    async def kept(self, user_id: UserID) -> Sequence[object]:
        return await self.rows("SELECT * FROM uia_sessions WHERE user_id = ?", str(user_id))


class Validations(Kept):
    """Validation sessions of accounts, open and validated."""

    def make(self) -> IAccountData:
        return ValidationStore(self.db)

    async def keep(self, user_id: UserID) -> None:
        store = ValidationStore(self.db)
        for state in ("open", "validated"):
            sid = f"{state} {user_id}"
            await store.begin(wanted(sid, client_secret=state, user_id=user_id))
        await store.confirm(sid, NOW_MS)

    async def kept(self, user_id: UserID) -> Sequence[object]:
        return await self.rows("SELECT * FROM validations WHERE user_id = ?", str(user_id))


class ActiveUsers(Kept):
    """The active users."""

    def make(self) -> IAccountData:
        return ActivityStore(
            db=self.db, config=BlockingConfig(counts_users=True), tracks_guests=False
        )

    async def keep(self: Any, user_id: UserID) -> None:
        await self.create(user_id)
        await self.make().add(user_id, NOW_MS)

    async def kept(self, user_id: UserID) -> Sequence[object]:
        return await self.rows("SELECT * FROM active_users WHERE user_id = ?", str(user_id))


class SuspendedNewcomers(Kept):
    """Newcomers who are suspended."""

    def make(self) -> IAccountData:
        return NewcomerStore(self.db)

    async def keep(self, user_id: UserID) -> None:
        name = user_id.localpart
        await UserStore(self.db).create_account(account(name, name, suspended=True))

    async def kept(self, user_id: UserID) -> Sequence[object]:
        return await self.rows("SELECT * FROM newcomers WHERE user_id = ?", str(user_id))


class MemoryAccountsTests(InMemory, Accounts, TestCase):
    pass


class PostgresAccountsTests(OnPostgreSQL, Accounts, TestCase):
    pass


class MemorySessionsTests(InMemory, Sessions, TestCase):
    pass


class PostgresSessionsTests(OnPostgreSQL, Sessions, TestCase):
    pass


class MemoryValidationsTests(InMemory, Validations, TestCase):
    pass


class PostgresValidationsTests(OnPostgreSQL, Validations, TestCase):
    pass


class MemoryActiveUsersTests(InMemory, ActiveUsers, TestCase):
    pass


class PostgresActiveUsersTests(OnPostgreSQL, ActiveUsers, TestCase):
    pass


class MemorySuspendedNewcomersTests(InMemory, SuspendedNewcomers, TestCase):
    pass


class PostgresSuspendedNewcomersTests(OnPostgreSQL, SuspendedNewcomers, TestCase):
    pass
