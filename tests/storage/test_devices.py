"""Devices, their logins, and how one pair of tokens follows another, in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.credentials.access_tokens import GuestTokens, TokenAuth
from regsys.errors import AwaitingApproval, InvalidParam, UnknownToken
from regsys.interfaces import IAuth, IDevices
from regsys.interfaces.internal import IExpiring
from regsys.model import Login, NewDevice, Secret, UserID
from regsys.storage.devices import DeviceStore
from regsys.storage.logins import SPENT_KEPT_MS
from regsys.storage.users import UserStore
from regsys.testing.contracts import DevicesContract
from regsys.testing.contracts.case import NOW_MS, account, device, login, user
from tests.contracts.device_tokens import DeviceTokensContract
from tests.contracts.expiring import ExpiringContract
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables
from tests.support.values import TERMS, access_hash


class Devices(Tables):
    def setUp(self: Any) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.store = DeviceStore(self.db, self.clock)
        self.users = UserStore(self.db)

    async def add_user(self, localpart: str) -> UserID:
        if not await self.users.is_taken(localpart):
            await self.users.create_account(account(localpart, localpart))
        return user(localpart)

    async def deactivate(self, user_id: UserID) -> None:
        await self.change("UPDATE users SET deactivated = TRUE WHERE user_id = ?", str(user_id))


class DeviceStoreContract(Devices, DevicesContract):
    def make(self) -> tuple[IDevices, IAuth]:
        guests = GuestTokens(server_name="contract.example", secret=b"a secret")
        auth = TokenAuth(logins=self.store, accounts=self.users, guests=guests, clock=self.clock)
        return self.store, auth


class OwnTokenStore(Devices, DeviceTokensContract):
    def make(self) -> DeviceStore:
        return self.store

    async def log_in(self, user_id: UserID, pair: Login) -> None:
        await self.add_user(user_id.localpart)
        await self.store.register(user_id, NewDevice(login=pair))


class OwnDevices(Devices):
    """What the contracts leave to the store."""

    async def register(self, name: str, **more: Any) -> None:
        await self.store.register(await self.add_user("alice"), device(name, **more))

    async def succeed(self, old: str, new: str) -> bool:
        return await self.store.succeed(access_hash(old), user("alice"), login(new, **TERMS))

    async def logins(self) -> list[str]:
        return sorted(row[0] for row in await self.rows("SELECT access_hash FROM logins"))

    async def test_knownDeviceKeepsItsName(self: Any) -> None:
        """A known device keeps its display name, and loses every pair that it had."""
        await self.register("first", display_name="the first", **TERMS)
        await self.succeed("first", "second")
        await self.register("third", display_name="the third")
        self.assertEqual(await self.rows("SELECT display_name FROM devices"), [("the first",)])
        self.assertEqual(await self.logins(), [access_hash("third")])

    async def test_sameLoginAfterItsRefresh(self: Any) -> None:
        """A login that is registered again does not affect the pairs that followed from it."""
        await self.register("first", **TERMS)
        await self.succeed("first", "second")
        await self.store.confirm(access_hash("second"))
        before = await self.contents()
        await self.register("first", **TERMS)
        self.assertEqual(await self.contents(), before)

    async def test_guestsTokenIsNotStored(self: Any) -> None:
        """A guest that is registered again still has its device, and no row for a token."""
        await self.users.create_account(account("1", "1", is_guest=True))
        for _ in range(2):
            guest = device("guest", "guest_device", is_guest=True)
            await self.store.register(user("1"), guest)
        self.assertEqual(await self.rows("SELECT device_id FROM devices"), [("guest_device",)])
        self.assertEqual(await self.logins(), [])

    async def test_guestOrUser(self: Any) -> None:
        """No account gets a login of the other kind; its devices stay as they are."""
        await self.register("of alice")
        await self.users.create_account(account("guest", "1", is_guest=True))
        before = await self.contents()
        for name, terms in (("alice", {"is_guest": True}), ("1", {})):
            with self.assertRaises(InvalidParam):
                await self.store.register(user(name), device("new", **terms))
        self.assertEqual(await self.contents(), before)

    async def test_awaitingApproval(self: Any) -> None:
        """A user who waits for approval gets no device."""
        for name in ("alice", "bob"):
            await self.users.create_account(account(name, name, approved=name == "bob"))
        with self.assertRaises(AwaitingApproval):
            await self.store.register(user("alice"), device("token"))
        self.assertEqual(await self.rows("SELECT * FROM devices"), [])
        await self.users.approve("alice")
        await self.store.register(user("alice"), device("token"))
        self.assertEqual(await self.rows("SELECT user_id FROM devices"), [(str(user("alice")),)])

    async def test_onlySpentPairsExpire(self: Any) -> None:
        """A pair in force stays, however old it is: it tells its client that the device exists."""
        terms = {**TERMS, "session_until_ms": None}
        await self.register("first", **terms)
        await self.store.succeed(access_hash("first"), user("alice"), login("second", **terms))
        century_ms = NOW_MS + 100 * 366 * 24 * 3600 * 1000
        self.assertEqual(await self.store.delete_expired(century_ms, 10), 0)
        self.assertEqual(len(await self.logins()), 2)

    async def test_endedSessions(self: Any) -> None:
        """The pairs of an ended session are removed a day later without a visible effect: the
        answer to them is the same as before, and the device stays."""
        await self.register("first", **TERMS)
        await self.register("other", device_id="LAPTOP", **{**TERMS, "session_until_ms": None})
        auth = TokenAuth(
            logins=self.store,
            accounts=self.users,
            guests=GuestTokens(server_name="contract.example", secret=b"a secret"),
            clock=self.clock,
        )
        self.clock.advance(SPENT_KEPT_MS / 1000 + 1)
        answers = []
        for gone in (1, 0):
            for text in ("syt_first", "syt_other"):
                try:
                    answers.append(await auth.whose(Secret(text)))
                except UnknownToken as error:
                    answers.append(error.extra)
            now_ms = NOW_MS + SPENT_KEPT_MS + TERMS["session_until_ms"] - NOW_MS
            self.assertEqual(await self.store.delete_expired(now_ms, 10), 0)
            self.assertEqual(await self.store.delete_expired(now_ms + 1, 10), gone)
        self.assertEqual(answers, [{}, {"soft_logout": True}, None, {"soft_logout": True}])
        self.assertEqual(await self.logins(), [access_hash("other")])
        self.assertTrue(await self.store.has_device(user("alice"), "PHONE"))


class ExpiringLogins(Devices, ExpiringContract):
    """Pairs that have been spent for a day."""

    def make(self) -> IExpiring:
        return self.store

    async def add(self, number: int, ends_ms: int) -> None:
        alice = await self.add_user("alice")
        old, new = f"old{number}", f"new{number}"
        await self.store.register(alice, device(old, device_id=old, **TERMS))
        await self.store.succeed(access_hash(old), alice, login(new, old, **TERMS))
        self.clock.advance((ends_ms - SPENT_KEPT_MS) / 1000 - self.clock.seconds())
        await self.store.confirm(access_hash(new))


class EndedLogins(Devices, ExpiringContract):
    """Pairs whose session ended a day ago."""

    def make(self) -> IExpiring:
        return self.store

    async def add(self, number: int, ends_ms: int) -> None:
        terms = {**TERMS, "session_until_ms": ends_ms - SPENT_KEPT_MS}
        new = device(f"{number}", device_id=f"{number}", **terms)
        await self.store.register(await self.add_user("alice"), new)


class MemoryDeviceTests(InMemory, DeviceStoreContract, TestCase):
    pass


class PostgresDeviceTests(OnPostgreSQL, DeviceStoreContract, TestCase):
    pass


class MemoryTokenTests(InMemory, OwnTokenStore, TestCase):
    pass


class FileTokenTests(InFile, OwnTokenStore, TestCase):
    pass


class PostgresTokenTests(OnPostgreSQL, OwnTokenStore, TestCase):
    pass


class MemoryOwnDevicesTests(InMemory, OwnDevices, TestCase):
    pass


class PostgresOwnDevicesTests(OnPostgreSQL, OwnDevices, TestCase):
    pass


class MemoryExpiringTests(InMemory, ExpiringLogins, TestCase):
    pass


class PostgresExpiringTests(OnPostgreSQL, ExpiringLogins, TestCase):
    pass


class MemoryEndedTests(InMemory, EndedLogins, TestCase):
    pass


class PostgresEndedTests(OnPostgreSQL, EndedLogins, TestCase):
    pass


class UnusualPlansExpiringTests(OnPostgreSQLWithUnusualPlans, ExpiringLogins, TestCase):
    pass


class UnusualPlansEndedTests(OnPostgreSQLWithUnusualPlans, EndedLogins, TestCase):
    pass
