"""When users were seen, in our own tables; and the end of idle guests."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.accounts.monthly_active_users import Activity, MonthlyActiveUsers
from regsys.config import BlockingConfig
from regsys.interfaces import IMonthlyActiveUsers
from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.model import NewAccount, UserID
from regsys.model.accounts import ACTIVE_MS, CLOCKS_APART_MS
from regsys.storage.guests import GuestStore
from regsys.storage.monthly_active_users import ActivityStore
from regsys.storage.users import UserStore
from regsys.testing import provides
from regsys.testing.contracts import MonthlyActiveUsersContract
from regsys.testing.contracts.case import NOW_MS, account, device, upgrade, user
from tests.support.databases import InFile, InMemory, OnPostgreSQL, OnPostgreSQLWithUnusualPlans
from tests.support.tables import Tables

DAY_MS = 24 * 3600 * 1000
COUNTS = BlockingConfig(counts_users=True)
GUEST = device("guest", "guest_device", is_guest=True)


class OwnActiveUsers(Tables, MonthlyActiveUsersContract):
    """Our IMonthlyActiveUsers, as the service wires it."""

    def make(self: Any) -> IMonthlyActiveUsers:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        store = ActivityStore(db=self.db, config=COUNTS, tracks_guests=False)
        self.activity = Activity(store, self.clock)
        return MonthlyActiveUsers(store, self.activity, self.clock)

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)

    async def use(self: Any, user_id: UserID) -> None:
        self.activity.seen(user_id)
        await self.activity.write()

    def advance(self: Any, ms: int) -> None:
        self.clock.advance(ms / 1000)


class OwnActivity(Tables):
    """Which users count, and what is kept of them."""

    def store(self: Any, config: BlockingConfig = COUNTS, guests: bool = True) -> ActivityStore:
        return ActivityStore(db=self.db, config=config, tracks_guests=guests)

    async def create(self: Any, localpart: str, **more: Any) -> UserID:
        await UserStore(self.db).create_account(account(localpart, localpart, **more))
        return user(localpart)

    async def active(self: Any) -> list[str]:
        rows = await self.rows("SELECT user_id FROM active_users ORDER BY user_id")
        return [UserID.parse(row[0]).localpart for row in rows]

    def test_provides(self: Any) -> None:
        """The store offers the methods that its users need."""
        for interface in (IAccountData, IExpiring):
            provides(interface, self.store())

    async def all_users(self: Any) -> list[UserID]:
        """One of each kind, and one that does not exist."""
        await self.create("gone")
        gone = str(user("gone"))
        await self.change("UPDATE users SET deactivated = TRUE WHERE user_id = ?", gone)
        return [
            user("gone"),
            user("nobody"),
            await self.create("1", is_guest=True, device=GUEST),
            await self.create("bot", user_type="bot"),
            await self.create("bridged", appservice_id="bridge"),
            await self.create("support", user_type="support"),
            await self.create("alice"),
        ]

    async def test_whoCounts(self: Any) -> None:
        """Users and bots count; guests, support users, services' users and deactivated users
        don't."""
        await self.store().record_seen(await self.all_users(), NOW_MS)
        self.assertEqual(await self.active(), ["alice", "bot"])
        self.assertEqual(await self.store().count(NOW_MS, 10), 2)

    async def test_services(self: Any) -> None:
        """With track_appservice_user_ips services' users count, too."""
        config = attr.evolve(COUNTS, counts_services=True)
        await self.store(config).record_seen(await self.all_users(), NOW_MS)
        self.assertEqual(await self.active(), ["alice", "bot", "bridged"])

    async def test_notCounted(self: Any) -> None:
        """If only guests are watched no user counts, and if only users are counted no guest is
        written."""
        await self.store(BlockingConfig()).record_seen(await self.all_users(), NOW_MS)
        self.assertEqual(await self.active(), [])
        seen = "SELECT user_id FROM users WHERE seen_ms IS NOT NULL"
        self.assertEqual(await self.rows(seen), [])  # made at the same moment
        later_ms = NOW_MS + 1
        await self.store(guests=False).record_seen([user("1")], later_ms)
        self.assertEqual(await self.rows(seen), [])
        await self.store().record_seen([user("1")], later_ms)
        self.assertEqual(await self.rows(seen), [(str(user("1")),)])

    async def test_onlyGuestsAreWatched(self: Any) -> None:
        """The last activity is kept of guests alone, as long as they exist."""
        all_users = await self.all_users()
        await self.change("UPDATE users SET is_guest = TRUE WHERE user_id = ?", str(user("gone")))
        await self.store().record_seen(all_users, NOW_MS + 1)
        seen = await self.rows("SELECT user_id FROM users WHERE seen_ms IS NOT NULL")
        self.assertEqual(seen, [(str(user("1")),)])

    async def test_trial(self: Any) -> None:
        """A user on trial does not count until the trial is over, each service's users by their own
        trial; an added user needs none, and a counted user stays counted."""
        config = attr.evolve(
            COUNTS,
            counts_services=True,
            trial_ms=2 * DAY_MS,
            service_trial_ms={"quick": 0, "slow": 3 * DAY_MS},
        )
        store, all_users = self.store(config), [await self.create("alice")]
        for service in ("other", "quick", "slow"):
            all_users.append(await self.create(service, appservice_id=service))
        all_users.append(await self.create("reserved"))
        await store.add(user("reserved"), NOW_MS)
        for day, counted in enumerate((2, 2, 4, 5)):
            await store.record_seen(all_users, NOW_MS + day * DAY_MS)
            self.assertEqual(await store.count(NOW_MS + day * DAY_MS, 10), counted, day)

    async def test_neverBack(self: Any) -> None:
        """A later activity, noted by another process, is not replaced by an earlier one."""
        alice = await self.create("alice")
        for now_ms in (NOW_MS + 5, NOW_MS):
            await self.store().record_seen([alice], now_ms)
            await self.store().add(alice, now_ms)
        self.assertEqual(await self.rows("SELECT seen_ms FROM active_users"), [(NOW_MS + 5,)])

    async def test_wrongClock(self: Any) -> None:
        """A user whom a wrong clock saw in the future does not count now, except within the
        tolerated difference of clocks; when seen again, they have that time, and so has a guest."""
        alice, bob = await self.create("alice"), await self.create("bob")
        guest = await self.create("1", is_guest=True, device=GUEST)
        store, wrong_ms = self.store(), NOW_MS + 1000 * DAY_MS
        await store.record_seen([alice, guest], wrong_ms)
        await store.add(bob, NOW_MS + CLOCKS_APART_MS)
        self.assertEqual(await store.count(NOW_MS, 10), 1)
        active = [await store.is_active(user_id, NOW_MS) for user_id in (alice, bob)]
        self.assertEqual(active, [False, True])
        await store.record_seen([alice, bob, guest], NOW_MS)
        self.assertEqual(await store.count(NOW_MS, 10), 2)
        self.assertEqual(
            await self.rows("SELECT seen_ms FROM active_users ORDER BY user_id"),
            [(NOW_MS,), (NOW_MS + CLOCKS_APART_MS,)],
        )
        self.assertEqual(await self.rows("SELECT seen_ms FROM users WHERE is_guest"), [(NOW_MS,)])
        await store.record_seen([alice], wrong_ms)
        await store.add(alice, NOW_MS)
        self.assertTrue(await store.is_active(alice, NOW_MS))

    async def test_forgotten(self: Any) -> None:
        """A user whose account is deactivated does not count."""
        alice = await self.create("alice")
        await self.store().record_seen([alice, await self.create("bob")], NOW_MS)
        await self.store().delete_for(alice)
        self.assertEqual(await self.active(), ["bob"])

    async def test_addedTooLate(self: Any) -> None:
        """A user who was deactivated before the adding job ran does not count."""
        gone = (await self.all_users())[0]
        await self.store().add(gone, NOW_MS)
        self.assertEqual(await self.active(), [])

    async def test_expired(self: Any) -> None:
        """Users who no longer count are removed, a few at a time."""
        for number in range(3):
            await self.store().record_seen([await self.create(f"u{number}")], NOW_MS)
        await self.store().record_seen([await self.create("later")], NOW_MS + 1)
        store = self.store()
        self.assertEqual(await store.count(NOW_MS + ACTIVE_MS - 1, 10), 4)
        self.assertEqual(await store.count(NOW_MS + ACTIVE_MS, 10), 1)
        self.assertFalse(await store.is_active(user("u0"), NOW_MS + ACTIVE_MS))
        self.assertEqual(await store.delete_expired(NOW_MS + ACTIVE_MS - 1, 10), 0)
        self.assertEqual(await store.delete_expired(NOW_MS + ACTIVE_MS, 2), 2)
        self.assertEqual(await store.delete_expired(NOW_MS + ACTIVE_MS, 2), 1)
        self.assertEqual(await self.active(), ["later"])

    # --- Guests --------------------------------------------------------------------------

    async def test_watched(self: Any) -> None:
        """A watch goes on from call to call, and begins anew after too long a break, or when the
        clock is put back behind its beginning."""
        store = GuestStore(self.db)
        steps = ((5, 5), (15, 5), (25, 5), (36, 36), (40, 36), (900, 900), (45, 45), (50, 45))
        for now_ms, since_ms in steps:
            self.assertEqual(await store.tracked_since(now_ms, 10), since_ms, now_ms)

    async def guests(self: Any) -> list[str]:
        """The guests that are left."""
        rows = await self.rows(
            "SELECT user_id FROM users WHERE is_guest AND NOT deactivated ORDER BY name_key"
        )
        return [UserID.parse(row[0]).localpart for row in rows]

    async def test_idleGuests(self: Any) -> None:
        """Guests end that were neither made nor seen since, the most idle first; with their device,
        while name, profile and all other accounts stay."""
        for number in range(4):
            await self.create(str(number), is_guest=True, created_ms=NOW_MS + number, device=GUEST)
        await self.create("alice", created_ms=0, device=device("token"))
        await self.store().record_seen([user("0")], NOW_MS + 10)
        store = GuestStore(self.db)
        self.assertEqual(await store.deactivate_idle(NOW_MS + 1, 5), 0)
        self.assertEqual(await store.deactivate_idle(NOW_MS + 3, 1), 1)
        self.assertEqual(await self.guests(), ["0", "2", "3"])
        self.assertEqual(await store.deactivate_idle(NOW_MS + 3, 5), 1)
        self.assertEqual(await self.guests(), ["0", "3"])
        self.assertEqual(await store.deactivate_idle(NOW_MS + 11, 5), 2)
        self.assertEqual(await self.rows("SELECT device_id FROM devices"), [("PHONE",)])
        self.assertEqual(await self.rows("SELECT COUNT(*) FROM profiles"), [(5,)])
        self.assertTrue(await UserStore(self.db).is_taken("0"))

    async def test_asIfDeactivated(self: Any) -> None:
        """An idle guest that ended leaves the same as any account that is deactivated."""
        for name in ("1", "2"):
            await self.create(name, is_guest=True, device=GUEST)
        await UserStore(self.db).delete_for(user("1"))
        await GuestStore(self.db).deactivate_idle(NOW_MS + 1, 5)
        for table in ("users", "profiles", "devices"):
            left = await self.rows(f"SELECT * FROM {table} ORDER BY user_id")
            first, second = ([str(row) for row in left if str(user(one)) in row] for one in "12")
            self.assertEqual(
                first, [row.replace("@2", "@1").replace("'2'", "'1'") for row in second]
            )

    async def test_upgraded(self: Any) -> None:
        """A guest that has become a user never ends, however idle."""
        await self.create("1", is_guest=True, device=GUEST)
        await UserStore(self.db).create_account(upgrade("user", "1", password_hash="x"))
        self.assertEqual(await GuestStore(self.db).deactivate_idle(NOW_MS + 99, 5), 0)
        self.assertFalse((await UserStore(self.db).find("1")).deactivated)


class MemoryActiveUsersTests(InMemory, OwnActiveUsers, TestCase):
    pass


class FileActiveUsersTests(InFile, OwnActiveUsers, TestCase):
    pass


class PostgresActiveUsersTests(OnPostgreSQL, OwnActiveUsers, TestCase):
    pass


class MemoryActivityTests(InMemory, OwnActivity, TestCase):
    pass


class FileActivityTests(InFile, OwnActivity, TestCase):
    pass


class PostgresActivityTests(OnPostgreSQL, OwnActivity, TestCase):
    pass


class UnusualPlansActivityTests(OnPostgreSQLWithUnusualPlans, OwnActivity, TestCase):
    pass
