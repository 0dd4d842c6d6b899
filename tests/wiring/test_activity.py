"""Limits on active users, as they are wired: who is seen, which part decides, and what embedders
bring."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.accounts.blocking import Blocking
from regsys.accounts.monthly_active_users import GAUGE_EVERY
from regsys.interfaces import IBlocking
from regsys.model import Registration, User, UserID
from regsys.model.accounts import ACTIVE_MS
from regsys.testing import (
    MemoryAccounts,
    MemoryActiveUsers,
    MemoryAuth,
    MemoryDevices,
    config,
    memory_process,
    provides,
)
from regsys.wiring import embedded
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Client

ALICE = UserID("alice", "test.example")
LIMITED = {"limit_usage_by_mau": True, "max_mau_value": 2}


class SystemTests(SystemCase):
    options: ClassVar[Mapping[str, Any]] = {
        "mau_stats_only": True,
        "regsys": {"guest_expiry": "30d"},
    }

    def setUp(self) -> None:
        super().setUp()
        self.subsystem.start()

    def tearDown(self) -> None:
        self.wait(self.subsystem.stop())

    def seen(self) -> dict[str, int]:
        """The users that were written as seen, and how many seconds ago."""
        found = self.rows(
            "SELECT user_id, seen_ms FROM active_users UNION"
            " SELECT user_id, seen_ms FROM users WHERE seen_ms IS NOT NULL"
        )
        return {user_id: (self.now_ms - ms) // 1000 for user_id, ms in found}

    def test_whatIsSeen(self) -> None:
        """Registrations, logins and uses of tokens are activity: of users as active users, of
        guests apart; nothing is written before the next round."""
        guest = self.guest()["access_token"]
        self.register("alice")
        token = self.register("bob")["access_token"]
        self.assertEqual(self.seen(), {})
        self.clock.advance(60)
        names = {name: f"@{name}:test.example" for name in ("1", "alice", "bob")}
        expected = dict.fromkeys(names.values(), 0)
        self.assertEqual(self.seen(), expected)
        self.clock.advance(3600)
        self.whoami(guest)
        self.whoami(token)
        body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.assertEqual(self.client.post(f"{V3}/login", body).status, 200)
        self.assertEqual(self.seen(), dict.fromkeys(names.values(), 3600))
        self.clock.advance(60)
        self.assertEqual(self.seen(), expected)
        for _ in range(GAUGE_EVERY):
            self.clock.advance(60)
        metrics = self.subsystem.process.metrics.registry
        self.assertEqual(metrics.get_sample_value("regsys_monthly_active_users"), 2)

    def test_shutDown(self) -> None:
        """The last activity is written at the end."""
        self.register("alice")
        self.wait(self.subsystem.stop())
        self.assertEqual(self.seen(), {"@alice:test.example": 0})

    def test_deactivated(self) -> None:
        """A deactivated user does not count any more, and is not added again."""
        token = self.register("alice")["access_token"]
        self.clock.advance(60)
        self.whoami(token)
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.clock.advance(3600)
        self.assertEqual(self.seen(), {})

    def test_aMonth(self) -> None:
        """Rows of users who were inactive for a month are removed."""
        self.register("alice")
        self.clock.advance(60)
        self.change("UPDATE active_users SET seen_ms = seen_ms - ?", ACTIVE_MS)
        self.clock.advance(60)
        self.assertEqual(self.seen(), {})


class UnwatchedTests(SystemCase):
    def test_nothingIsKept(self) -> None:
        """If no option needs it nothing is gathered, and there is no gauge."""
        self.subsystem.start()
        self.addCleanup(self.wait, self.subsystem.stop())
        self.whoami(self.register()["access_token"])
        self.whoami(self.guest()["access_token"])
        self.clock.advance(60)
        self.assertEqual(self.rows("SELECT * FROM active_users"), [])
        self.assertEqual(self.rows("SELECT seen_ms FROM users WHERE seen_ms IS NOT NULL"), [])
        metrics = self.subsystem.process.metrics.registry
        self.assertIsNone(metrics.get_sample_value("regsys_monthly_active_users"))


@implementer(IBlocking)
class OwnBlocking:
    """Blocks no registration, and records them."""

    def __init__(self) -> None:
        self.asked: list[Optional[str]] = []

    async def check(self, registration: Registration) -> None:
        self.asked.append(registration.localpart)

    async def check_login(self, user: User) -> None:
        self.asked.append(user.user_id.localpart)


class EmbeddedTests(SynchronousTestCase):
    """A homeserver that brings its accounts."""

    def make(self, options: Any, **more: Any) -> Any:
        clock = Clock()
        clock.advance(1_700_000_000)
        chosen = config(**options)
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts)
        self.users = MemoryActiveUsers(clock)
        if more.pop("counted", False):
            more["active_users"] = self.users
        return embedded(
            chosen,
            clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            process=memory_process(self, chosen, clock),
            **more,
        )

    def test_limit(self) -> None:
        """The homeserver's own count of active users decides."""
        subsystem = self.make(LIMITED, counted=True)
        client = Client(self, subsystem.resource())
        body = {"password": PASSWORD, "auth": DUMMY}
        for name, status in (("alice", 200), ("bob", 200), ("carol", 403)):
            answer = client.register(username=name, **body)
            self.assertEqual(answer.status, status, answer)
            user_id = UserID(name, "test.example")
            self.successResultOf(Deferred.fromCoroutine(self.users.add(user_id)))
        provides(IBlocking, subsystem.blocking)

    def test_nobodyCounts(self) -> None:
        """A limit that no part could enforce is refused when the subsystem is made; with an
        embedder's own blocking that is the embedder's concern."""
        error = self.assertRaises(ValueError, self.make, LIMITED)
        self.assertIn("active_users", str(error))
        own = OwnBlocking()
        self.assertIs(self.make(LIMITED, blocking=own).blocking, own)
        self.make({"mau_stats_only": True})

    def test_ownBlocking(self) -> None:
        """An embedder's own blocking replaces the configuration's, also for logins."""
        own = OwnBlocking()
        client = Client(self, self.make({"hs_disabled": True}, blocking=own).resource())
        answer = client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(own.asked, ["alice"])

    def test_disabled(self) -> None:
        """A server that is switched off accepts no users, whichever store keeps the accounts."""
        client = Client(self, self.make({"hs_disabled": True}).resource())
        answer = client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual((answer.status, answer.json["limit_type"]), (403, "hs_disabled"))

    def test_guests(self) -> None:
        """The end of guests is the homeserver's: the option does nothing, and the log says so."""
        with capturedLogs() as events:
            self.make({"regsys": {"guest_expiry": "30d"}})
        self.assertIn("guest_expiry has no effect", str(events))


class InterfaceTests(SystemCase):
    def test_provides(self) -> None:
        """All blocking classes offer the whole of IBlocking; /login asks it, too."""
        own = OwnBlocking()
        provides(IBlocking, own)
        provides(IBlocking, self.subsystem.blocking)
        self.system(blocking=own)
        self.register("alice")
        body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.client.post(f"{V3}/login", body)
        self.assertEqual(own.asked, ["alice", "alice"])
        self.system(hs_disabled=True)
        self.assertIsInstance(self.subsystem.blocking, Blocking)
        provides(IBlocking, self.subsystem.blocking)
