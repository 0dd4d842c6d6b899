"""What an administrator changes of an account, in one transaction."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.errors import (
    ExternalIdInUse,
    InvalidParam,
    LoginFailed,
    UserDeactivated,
    UserNotFound,
)
from regsys.model import NewDevice
from regsys.model.accounts import password_fingerprint
from regsys.model.administration import AccountChange
from regsys.storage.account_changes import AccountChangeStore
from regsys.storage.external_ids import ExternalIdStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, device, login, user
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.interleaving import Interleaving, Step
from tests.support.stores import Stores
from tests.support.tables import Tables
from tests.support.values import NEIGHBOUR, TERMS

ALICE = user("alice")
OLD, NEW = "an old hash", "a new hash"
# The invariant that does not hold of logins that have ended.
ENDED = "an outcome with a login has its device and its tokens"


def changing(**fields: Any) -> AccountChange:
    return AccountChange(**{"user_id": ALICE, "by": "cli", **fields})


class ChangeTests(Tables):
    async def new_database(self: Any) -> None:
        await super().new_database()
        made = account("key", password_hash=OLD, device=device("alice"))
        await UserStore(self.db).create_account(made)

    async def write(self: Any, **fields: Any) -> Sequence[str]:
        return await AccountChangeStore(self.db).write(changing(**fields))

    async def columns(self: Any) -> Sequence[Any]:
        sql = (
            "SELECT password_hash, admin, approved, user_type, display_name"
            " FROM users JOIN profiles ON profiles.user_id = users.user_id WHERE users.user_id = ?"
        )
        rows = await self.rows(sql, str(ALICE))
        ((password_hash, admin, approved, user_type, name),) = rows
        return (password_hash, bool(admin), bool(approved), user_type, name)

    async def test_all(self: Any) -> None:
        """All fields at once; what is so already is not changed, and logs nobody out."""
        wanted = {
            "password_hash": NEW,
            "admin": True,
            "user_type": "bot",
            "display_name": "Alice",
            "external_ids": (("b", "2"), ("a", "1")),
        }
        names = {"password", *wanted} - {"password_hash"}
        self.assertEqual({*await self.write(**wanted)}, names)
        self.assertEqual(await self.columns(), (NEW, True, True, "bot", "Alice"))
        self.assertEqual(await self.rows("SELECT * FROM devices"), [])
        ids = await ExternalIdStore(self.db).of_user(ALICE)
        self.assertEqual(ids, [("a", "1"), ("b", "2")])
        self.assertEqual(await self.write(**wanted), ())
        self.assertEqual(await self.write(), ())

    async def test_one(self: Any) -> None:
        """A field that is not given stays."""
        for field, value, expected in (
            ("admin", True, (OLD, True, True, None, "alice")),
            ("user_type", "bot", (OLD, True, True, "bot", "alice")),
            ("user_type", "", (OLD, True, True, None, "alice")),
            ("display_name", "", (OLD, True, True, None, None)),
            ("display_name", "A", (OLD, True, True, None, "A")),
            ("admin", False, (OLD, False, True, None, "A")),
        ):
            self.assertEqual(await self.write(**{field: value}), [field])
            self.assertEqual(await self.columns(), expected)
        self.assertEqual(len(await self.rows("SELECT * FROM devices")), 1)

    async def test_password(self: Any) -> None:
        """A new password ends the logins, or those of all other devices, or none."""
        for more, left in (
            ({"ends_logins": False}, 1),
            ({"keeps_device": "alice"}, 1),
            ({}, 0),
        ):
            ((device_id,),) = await self.rows("SELECT device_id FROM devices")
            more = {**more, "keeps_device": device_id} if "keeps_device" in more else more
            await self.write(password_hash=f"{NEW} {more}", **more)
            self.assertEqual(len(await self.rows("SELECT * FROM devices")), left)

    async def test_externalIds(self: Any) -> None:
        """An id of another account's is refused, and nothing of the change is written."""
        store = ExternalIdStore(self.db)
        await UserStore(self.db).create_account(account("bob", "bob"))
        await store.record("a", "1", user("bob"))
        with self.assertRaises(ExternalIdInUse):
            await self.write(external_ids=(("a", "0"), ("a", "1")), admin=True)
        self.assertEqual(await store.of_user(ALICE), [])
        self.assertEqual(await self.columns(), (OLD, False, True, None, "alice"))
        await self.write(external_ids=(("a", "0"),))
        await self.write(external_ids=())
        self.assertEqual(await store.of_user(ALICE), [])
        self.assertEqual(await store.owner_of("a", "1"), user("bob"))
        self.assertIsNone(await store.owner_of("a", "0"))

    async def test_refused(self: Any) -> None:
        """Nobody, a guest for what no guest has, and a deactivated account."""
        with self.assertRaises(UserNotFound):
            await self.write(user_id=user("nobody"), admin=True)
        guest = user(f"{NEIGHBOUR}-guest")
        for field, value in (
            ("admin", True),
            ("password_hash", NEW),
            ("external_ids", (("a", "1"),)),
        ):
            with self.assertRaises(InvalidParam):
                await self.write(user_id=guest, **{field: value})
        await UserStore(self.db).deactivate(ALICE, False, (), NOW_MS)
        for field, value in (("admin", True), ("password_hash", NEW), ("display_name", "A")):
            with self.assertRaises(UserDeactivated):
                await self.write(**{field: value})
        self.assertEqual(await self.write(admin=False, display_name="alice"), ())

    async def test_erased(self: Any) -> None:
        """A deactivation with the wish to erase removes the display name, in its transaction."""
        users = UserStore(self.db)
        await users.deactivate(ALICE, False, (), NOW_MS)
        self.assertEqual((await self.columns())[-1], "alice")
        await users.deactivate(ALICE, True, (), NOW_MS)
        self.assertIsNone((await self.columns())[-1])


class MemoryTests(InMemory, ChangeTests, TestCase):
    pass


class PostgreSQLTests(OnPostgreSQL, ChangeTests, TestCase):
    pass


class RaceTests(SynchronousTestCase):
    """Something else happens to the account meanwhile."""

    def setUp(self) -> None:
        self.races = Interleaving(self, None)

    async def before(self, stores: Stores) -> None:
        await stores.users.write(account("key", password_hash=OLD, device=device("first")))

    async def set_password(self, stores: Stores) -> None:
        await AccountChangeStore(stores.db).write(changing(password_hash=NEW))

    async def make_admin(self, stores: Stores) -> None:
        await AccountChangeStore(stores.db).write(changing(admin=True, display_name="A"))

    async def log_in(self, stores: Stores) -> None:
        """With the old password, at another device."""
        new = NewDevice(
            login=login("late", **{**TERMS, "device_id": "LATE"}),
            password_fingerprint=password_fingerprint(OLD),
        )
        await stores.devices.register(ALICE, new)

    async def deactivate(self, stores: Stores) -> None:
        await stores.users.deactivate(ALICE, True, (), NOW_MS)

    def pairs(self, first: Step, second: Step, *expected: str) -> None:
        """Each pair ends so that ``expected`` holds of the rows."""
        for pair_result in self.races.each(self.before, first, second):
            self.assertLessEqual({*pair_result.broken}, {ENDED}, pair_result)
            cursor = self.races.cursor()
            for condition in expected:
                cursor.execute(f"SELECT {condition}")
                self.assertEqual(cursor.fetchone(), (True,), (condition, pair_result))

    def test_login(self) -> None:
        """A login with the old password is refused, or ended by the new one: it never survives."""
        self.pairs(self.set_password, self.log_in, "NOT EXISTS (SELECT 1 FROM devices)")
        for pair_result in self.races.each(self.before, self.log_in, self.set_password):
            self.assertIn(type(pair_result.first), (type(None), LoginFailed))

    def test_deactivation(self) -> None:
        """A deactivated account has neither a password nor a name, whatever comes first."""
        gone = (
            "(SELECT password_hash IS NULL AND deactivated FROM users)",
            "NOT EXISTS (SELECT 1 FROM devices)",
            "(SELECT display_name IS NULL FROM profiles)",
        )
        for change in (self.set_password, self.make_admin):
            self.pairs(change, self.deactivate, *gone)
            self.pairs(self.deactivate, change, *gone)

    def test_twice(self) -> None:
        """Of two changes at once both are made."""
        self.pairs(
            self.set_password,
            self.make_admin,
            f"(SELECT password_hash = '{NEW}' AND admin FROM users)",
        )
