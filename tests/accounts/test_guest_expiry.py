"""Guests end when they have been idle for long."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from regsys.accounts.guest_expiry import BATCH, GuestExpiry
from regsys.interfaces.internal import IExpiring
from regsys.storage.guests import GuestStore
from regsys.storage.housekeeping import Housekeeping
from regsys.testing import (
    provides,
)
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import Answer

HALF_A_DAY_S = 12 * 3600
EXPIRY = {"regsys": {"guest_expiry": "30d"}}


class ExpiryCase(SystemCase):
    options: ClassVar[Mapping[str, Any]] = EXPIRY

    def setUp(self) -> None:
        super().setUp()
        self.subsystem.start()

    def tearDown(self) -> None:
        self.wait(self.subsystem.stop())

    def days(self, number: int) -> None:
        """Let this many days pass while the service runs."""
        for _ in range(2 * number):
            self.clock.advance(HALF_A_DAY_S)

    def guests(self) -> set[str]:
        """The names of the guests that are left."""
        found = self.rows("SELECT name_key FROM users WHERE is_guest AND NOT deactivated")
        return {row[0] for row in found}

    def upgrade(self, guest: Any) -> Answer:
        name = guest["user_id"][1:].partition(":")[0]
        return self.client.register(
            username=name,
            password=PASSWORD,
            guest_access_token=guest["access_token"],
            auth=DUMMY,
        )


class ExpiryTests(ExpiryCase):
    def test_idle(self) -> None:
        """A guest who is idle for thirty days has a dead token then, and cannot upgrade. An active
        guest stays, and so do users. The name stays taken."""
        idle, lively = self.guest(), self.guest()
        self.register("alice")
        for _ in range(4):
            self.days(10)
            self.assertEqual(self.whoami(lively["access_token"]).status, 200)
        self.days(1)
        self.assertEqual(self.guests(), {"2"})
        self.assertRefused(self.whoami(idle["access_token"]), 401, "M_UNKNOWN_TOKEN")
        self.assertRefused(self.upgrade(idle), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.upgrade(lively).status, 200)
        self.days(40)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users WHERE deactivated"), [(1,)])
        self.assertRefused(
            self.client.get("/_matrix/client/v3/register/available?username=1"),
            400,
            "M_USER_IN_USE",
        )

    def test_notEarly(self) -> None:
        """No guest ends early, although an activity within the same hour is not written again."""
        guest = self.guest()
        self.days(5)
        self.whoami(guest["access_token"])
        for seconds in (60, 3539):
            self.clock.advance(seconds)
        self.whoami(guest["access_token"])
        self.days(29)
        for seconds in (HALF_A_DAY_S, HALF_A_DAY_S - 1):
            self.clock.advance(seconds)
        self.assertEqual(self.guests(), {"1"})
        self.days(1)
        self.assertEqual(self.guests(), set())

    def test_switchedOnLater(self) -> None:
        """Guests that are older than the option get thirty days from when it is switched on, and
        again after a break in which no process checked."""
        self.restart()
        self.guest()
        self.days(40)
        self.restart(**EXPIRY)
        self.days(29)
        self.assertEqual(self.guests(), {"1"})
        self.restart()
        self.days(3)
        self.restart(**EXPIRY)
        self.days(29)
        self.assertEqual(self.guests(), {"1"})
        self.days(2)
        self.assertEqual(self.guests(), set())

    def restart(self, **options: Any) -> None:
        self.wait(self.subsystem.stop())
        self.system(database=self.database, **options)
        self.subsystem.start()

    def test_off(self) -> None:
        """By default guests stay for ever."""
        self.restart()
        self.guest()
        self.days(400)
        self.assertEqual(self.guests(), {"1"})

    def test_aFewAtATime(self) -> None:
        """A round ends at most a batch of guests, however many are due."""
        for number in range(BATCH + 1):
            self.change(
                "INSERT INTO users (user_id, name_key, is_guest, admin, approved, shadow_banned,"
                f" deactivated, created_ms) VALUES ('@g{number}:s', 'g{number}', TRUE, FALSE,"
                " TRUE, FALSE, FALSE, ?)",
                self.now_ms,
            )
        expiry = GuestExpiry(store=GuestStore(self.database), expiry_ms=1)
        self.assertLess(BATCH, Housekeeping.AT_MOST)
        later_ms = self.now_ms + 24 * 3600 * 1000
        ended = [self.wait(expiry.delete_expired(later_ms, 500)) for _ in range(3)]
        self.assertEqual(ended, [BATCH, 1, 0])
        provides(IExpiring, expiry)
