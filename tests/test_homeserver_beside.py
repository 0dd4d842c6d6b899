"""A standalone service and the homeserver beside it: what one learns from the other."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

import attr
from treq.testing import StubTreq
from twisted.logger import capturedLogs

from regsys.jobs import wait_ms
from regsys.model import JOB_LEASE_MS, NewAccount
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, config, memory_process
from regsys.wiring import embedded
from tests.accounts.test_post_registration_jobs import ALICE, Directory
from tests.doubles.homeserver import AS_TOKEN, HomeserverDouble
from tests.support.case import SystemCase
from tests.support.client import Client
from tests.support.due_jobs import run_due
from tests.support.log_canaries import watch_for_leaks

BESIDE = {"homeserver": {"url": "http://hs.example", "as_token": AS_TOKEN}}


class BesideCase(SystemCase):
    options: ClassVar[Mapping[str, Any]] = {"regsys": {**BESIDE, "rc_availability": False}}

    def setUp(self) -> None:
        self.double = HomeserverDouble()
        self.treq = StubTreq(self.double)
        super().setUp()

    def system(self, **options: Any) -> None:
        super().system(**{"treq": self.treq, **self.options, **options})

    def settle(self) -> None:
        """Run everything that needs no time."""
        for _ in range(5):
            self.treq.flush()
            self.clock.advance(0)

    def retry(self) -> None:
        """Retry everything that has failed so far."""
        self.failed_jobs.flush()
        self.clock.advance(wait_ms(20) / 1000 * 2)
        self.wait(run_due(self.subsystem.jobs))
        self.settle()


class ProfileTests(BesideCase):
    def test_reported(self) -> None:
        """The homeserver is told of a new user and the display name."""
        self.register("alice")
        self.settle()
        self.assertEqual(self.double.profiles, {"@alice:test.example": "alice"})
        self.assertEqual(self.counts()["jobs"], 0)

    def test_hidden(self) -> None:
        """If new users are not to be found, the homeserver is told that as well."""
        for is_shown in (True, False):
            self.system(show_users_in_user_directory=is_shown)
            self.register(f"alice-{is_shown}".lower())
            self.settle()
            self.assertEqual(len(self.double.account_data), not is_shown)

    def test_down(self) -> None:
        """While the homeserver is down users register all the same; it is told later."""
        for fault in ("500", "hang-up", "garbage", "429"):
            self.double.faults["register"] = [fault]
            self.register(f"a-{fault}")
            self.settle()
            self.assertEqual(self.counts()["jobs"], 1, fault)
            self.retry()
            self.assertIn(f"@a-{fault}:test.example", self.double.profiles)
            self.assertEqual(self.counts()["jobs"], 0, fault)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_ownDirectory(self) -> None:
        """An embedder's own directory is told instead."""
        directory = Directory()
        self.system(directory=directory)
        self.register("alice")
        self.settle()
        self.assertEqual(len(directory.profiles), 1)
        # Except for the question whether the name is free.
        self.assertEqual(self.double.called("whoami"), len(self.double.calls))

    def test_ghosts(self) -> None:
        """Users in the exclusive namespace of a service are not registered there by us."""
        new = NewAccount(key="k", user_id=ALICE, created_ms=1, display_name="Alice")
        jobs_for = self.subsystem.handler._planner.jobs.jobs_for
        self.assertEqual(len(jobs_for(new)), 1)
        self.assertEqual(len(jobs_for(attr.evolve(new, appservice_id="irc"))), 0)

    def test_quiet(self) -> None:
        """No line of the log has the token, whatever the homeserver answers."""
        canaries = watch_for_leaks(self, {"as_token": AS_TOKEN})
        self.double.faults.update({"register": ["echo", "hang-up"], "profile": ["echo", "huge"]})
        self.register("alice")
        for _ in range(4):
            self.settle()
            self.retry()
        self.assertEqual(self.double.faults, {"register": [], "profile": []})
        self.assertGreater(canaries.event_count, 4)


class RoomsTests(BesideCase):
    rooms = tuple(f"#room{number}:test.example" for number in range(5))

    def system(self, **options: Any) -> None:
        super().system(**{"auto_join_rooms": [*self.rooms], **options})

    def members(self, alias: str) -> set[str]:
        return self.double.room(alias).all_with("join")

    def test_joined(self) -> None:
        """The first user creates the rooms, the next joins them; for five rooms and a profile, the
        homeserver registers each user once."""
        for name in ("alice", "bob"):
            self.register(name)
            self.settle()
        for alias in self.rooms:
            self.assertEqual(self.double.room(alias).creator, "@alice:test.example")
            self.assertEqual(self.members(alias), {"@alice:test.example", "@bob:test.example"})
        self.assertEqual((self.double.called("register"), self.double.called("create")), (2, 5))
        self.assertEqual(self.counts()["jobs"], 0)

    def test_embedded(self) -> None:
        """An embedder that brings no rooms and configures a homeserver has its rooms there."""
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts=accounts)
        chosen = config(auto_join_rooms=[*self.rooms], **self.options)
        self.subsystem = embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices=devices),
            process=memory_process(self, chosen, self.clock, treq=self.treq),
        )
        self.client = Client(self, self.subsystem.resource())
        self.register("alice")
        self.settle()
        for alias in self.rooms:
            self.assertEqual(self.members(alias), {"@alice:test.example"})

    def test_oneRoomInTrouble(self) -> None:
        """A refusal affects that room alone, until the homeserver accepts."""
        self.register("alice")
        self.settle()
        self.double.faults["join"] = ["consent"]
        self.register("bob")
        self.settle()
        waiting = self.rows("SELECT payload, last_error FROM jobs")
        self.assertEqual(len(waiting), 1)
        self.assertIn("M_CONSENT_NOT_GIVEN", waiting[0][1])
        joined = sum("@bob:test.example" in self.members(alias) for alias in self.rooms)
        self.assertEqual(joined, 4)
        self.retry()
        self.assertEqual(self.counts()["jobs"], 0)

    def test_stalls(self) -> None:
        """A homeserver that stalls at every step is given up before the jobs' lease ends, and
        everything is done when it answers again."""
        calls = ("find", "create", "hierarchy", "join", "register")
        self.double.faults = {call: ["stall"] * 20 for call in calls}
        self.register("alice")
        self.clock.pump([1.0] * (JOB_LEASE_MS // 1000))
        self.settle()
        failed = self.rows("SELECT last_error FROM jobs")
        self.assertEqual(len(failed), 6)
        for (error,) in failed:
            self.assertIn("no answer", error)
        self.double.faults.clear()
        self.retry()
        self.assertEqual(self.counts()["jobs"], 0)

    def test_warned(self) -> None:
        """Only without a homeserver the start warns that the rooms wait for one, and how to
        configure it."""
        self.assertEqual(self.warned(), [])
        without = {"rc_availability": False}
        (warning,) = self.warned(regsys=without)
        self.assertIn("regsys.homeserver", warning)
        self.assertEqual(self.warned(regsys=without, auto_join_rooms=[]), [])

    def warned(self, **options: Any) -> list[str]:
        """The warnings of a start with these options."""
        self.system(**options)
        with capturedLogs() as events:
            self.subsystem.start()
        self.wait(self.subsystem.stop())
        return [event["sentence"] for event in events if "sentence" in event]
