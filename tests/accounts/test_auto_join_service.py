"""Auto-join in a whole subsystem: a failure delays nothing else, is visible, and is retried."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from twisted.logger import capturedLogs

from regsys.errors import RoomRefused
from regsys.model import UserID
from regsys.testing import (
    MemoryAccounts,
    MemoryAuth,
    MemoryDevices,
    MemoryRooms,
    config,
    memory_process,
)
from regsys.wiring import embedded
from tests.metrics.test_metrics import value
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import Client
from tests.support.due_jobs import run_due

LOBBY, NEWS = "#lobby:test.example", "#news:test.example"
ALICE, BOB = UserID("alice", "test.example"), UserID("bob", "test.example")
OPTIONS: Mapping[str, Any] = {"auto_join_rooms": [LOBBY, NEWS]}
POLICY = {"version": "1", "en": {"name": "Rules", "url": "https://rules.example/"}}


class AutoJoinCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.rooms = MemoryRooms()
        self.serve()

    def serve(self, **options: Any) -> None:
        """A server with rooms; over the database of the previous one, as after a restart."""
        self.system(database=self.database, rooms=self.rooms, **{**OPTIONS, **options})

    def members(self, room: str) -> Optional[set[UserID]]:
        found = self.rooms.by_alias.get(room)
        return None if found is None else found.members

    def go_on(self, seconds: float = 3700) -> None:
        """Let every failed job become due, and retry it."""
        self.failed_jobs.flush()
        self.clock.advance(seconds)
        self.wait(run_due(self.subsystem.jobs))


class StandaloneTests(AutoJoinCase):
    def test_newcomers(self) -> None:
        """The first user creates the rooms, the next joins them. Guests join, and do not join again
        when they become users, even if they have left."""
        self.register("alice")
        self.assertEqual(self.rooms.by_alias[LOBBY].creator, ALICE)
        self.register("bob")
        guest = self.guest()
        who = UserID.parse(guest["user_id"])
        for room in (LOBBY, NEWS):
            self.assertEqual(self.members(room), {ALICE, BOB, who})
        self.rooms.by_alias[LOBBY].members.remove(who)
        self.register(who.localpart, password=PASSWORD, guest_access_token=guest["access_token"])
        self.assertEqual(self.members(LOBBY), {ALICE, BOB})
        self.assertEqual(self.counts()["jobs"], 0)

    def test_guestFirst(self) -> None:
        """A guest does not create a room: its job waits until the first user has, and then
        joins."""
        who = UserID.parse(self.guest()["user_id"])
        self.assertIsNone(self.members(LOBBY))
        self.register("alice")
        self.go_on()
        self.assertEqual(self.members(LOBBY), {ALICE, who})

    def test_oneRoomFails(self) -> None:
        """A failing room fails alone: the account is made and the other room joined; the failure is
        logged with the room, counted, kept over a restart, and succeeds later."""
        self.rooms.troubles[LOBBY] = RoomRefused("it is flooded")
        with capturedLogs() as events:
            self.register("alice")
        (event,) = [event for event in events if "error" in event]
        self.assertIn(f"{LOBBY}: it is flooded", event["error"])
        self.assertEqual((self.members(LOBBY), self.members(NEWS)), (None, {ALICE}))
        metrics = self.subsystem.process.metrics
        self.assertEqual(value(metrics, "regsys_job_failures_total", kind="auto_join"), 1)
        ((kind, error),) = self.rows("SELECT kind, last_error FROM jobs")
        self.assertEqual((kind, error), ("auto_join", f"RoomRefused: {LOBBY}: it is flooded"))
        self.serve()
        self.go_on()
        self.rooms.troubles.clear()
        self.go_on()
        self.assertEqual(self.members(LOBBY), {ALICE})
        self.assertEqual(self.counts()["jobs"], 0)

    def test_inviterComesLater(self) -> None:
        """Rooms that the inviter is to create wait for the inviter's account, and are then created
        by it."""
        self.serve(auto_join_mxid_localpart="bob", autocreate_auto_join_room_preset="private_chat")
        self.register("alice")
        self.assertIsNone(self.members(LOBBY))
        self.assertIn("bob", self.rows("SELECT last_error FROM jobs")[0][0])
        self.register("bob")
        self.go_on()
        self.go_on()
        self.assertEqual(self.rooms.by_alias[LOBBY].creator, BOB)
        self.assertEqual(self.members(LOBBY), {ALICE, BOB})
        self.assertEqual(self.counts()["jobs"], 0)

    def test_consentFirst(self) -> None:
        """If new users must accept a policy, a user who has not accepted it has no job yet, and
        joins on acceptance; a room that they left since stays left, however often they accept
        again."""
        self.serve(regsys={"policies": {"rules": POLICY}})
        late = UserID.parse(self.guest()["user_id"])
        self.assertEqual((self.rooms.calls, self.counts()["jobs"]), ([], 0))
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        for stage in ("m.login.terms", "m.login.dummy"):
            self.clock.advance(0)
            answer = self.client.register(auth={"type": stage, "session": session})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.members(LOBBY), {ALICE})
        self.wait(self.subsystem.consents.accept(late, "rules", "1"))
        self.assertEqual(self.members(LOBBY), {ALICE, late})
        self.rooms.by_alias[LOBBY].members.remove(late)
        handler, accepted = self.subsystem.handler, {"m.login.terms": True}
        self.wait(handler.post_registration_actions(late, accepted))
        self.wait(handler.post_consent_actions(late))
        self.assertEqual(self.members(LOBBY), {ALICE})
        self.assertEqual(self.counts()["jobs"], 0)

    def test_consentThenUser(self) -> None:
        """A guest who joined after a consent does not join again as a user, if the registration
        asks for the consent once more."""
        self.serve(regsys={"policies": {"rules": POLICY}})
        guest = self.guest()
        who = UserID.parse(guest["user_id"])
        self.wait(self.subsystem.consents.accept(who, "rules", "1"))
        self.register("alice", auth=self.agreed(username="alice"))
        self.go_on()
        self.assertEqual(self.members(LOBBY), {ALICE, who})
        self.rooms.by_alias[LOBBY].members.remove(who)
        more = {"username": who.localpart, "guest_access_token": guest["access_token"]}
        self.register(auth=self.agreed(**more), **more)
        self.assertEqual(self.members(LOBBY), {ALICE})
        self.assertEqual(self.counts()["jobs"], 0)

    def agreed(self, **body: Any) -> Mapping[str, Any]:
        """The session of this registration, its terms accepted; the last stage is left to pass."""
        session = self.challenge(password=PASSWORD, **body)["session"]
        answer = self.client.register(auth={"type": "m.login.terms", "session": session}, **body)
        self.assertEqual(answer.status, 401, answer)
        self.clock.advance(0)
        return {"type": "m.login.dummy", "session": session}


class WithoutRoomsTests(AutoJoinCase):
    def test_waiting(self) -> None:
        """Without a homeserver the start logs a warning; users register, and their jobs wait
        visibly, not counted as failures, until there is a homeserver."""
        self.system(database=self.database, **OPTIONS)
        with capturedLogs() as events:
            self.subsystem.start()
        self.assertIn("NOT joined", " ".join(event.get("sentence", "") for event in events))
        self.register("alice")
        self.clock.advance(100)
        metrics = self.subsystem.process.metrics
        self.assertEqual(value(metrics, "regsys_jobs_waiting", kind="auto_join"), 2)
        self.assertEqual(value(metrics, "regsys_oldest_job_age_seconds", kind="auto_join"), 100)
        self.assertIsNone(value(metrics, "regsys_job_failures_total", kind="auto_join"))
        self.wait(self.subsystem.stop())
        self.serve()
        with capturedLogs() as events:
            self.subsystem.start()
        self.assertEqual([event for event in events if "sentence" in event], [])
        self.assertEqual(self.members(LOBBY), {ALICE})
        self.clock.advance(5)
        again = self.subsystem.process.metrics
        self.assertIsNone(value(again, "regsys_jobs_waiting", kind="auto_join"))

    def test_nothingToJoin(self) -> None:
        """With no such rooms configured nothing is logged, and nothing is queried."""
        self.system()
        with capturedLogs() as events:
            self.subsystem.start()
            self.register("alice")
        self.assertEqual([event for event in events if "sentence" in event], [])
        self.assertEqual(self.rows("SELECT * FROM first_times"), [])


class EmbeddedTests(AutoJoinCase):
    def embed(self, **options: Any) -> None:
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts)
        chosen = config(**{**OPTIONS, **options})
        process = memory_process(self, chosen, self.clock, self.database)
        self.subsystem = embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            rooms=self.rooms,
            process=process,
        )
        self.client = Client(self, self.subsystem.resource())

    def test_newcomers(self) -> None:
        """In a homeserver that brings its own accounts, the first user creates the rooms, also
        after a restart."""
        self.embed()
        self.guest()
        self.assertIsNone(self.members(LOBBY))
        self.register("alice")
        self.assertEqual(self.rooms.by_alias[LOBBY].creator, ALICE)
        del self.rooms.by_alias[LOBBY]
        self.embed()
        self.register("bob")
        self.assertIsNone(self.members(LOBBY))
        errors = self.failed_jobs.flush()
        self.assertEqual({LOBBY in error for error in errors}, {True, False})

    def test_ifMissing(self) -> None:
        """With if_missing any user creates the rooms if there are none."""
        self.embed(regsys={"autocreate": "if_missing"})
        self.register("alice")
        del self.rooms.by_alias[LOBBY]
        self.register("bob")
        self.assertEqual(self.rooms.by_alias[LOBBY].creator, BOB)
        self.assertEqual(self.rooms.by_alias[NEWS].creator, ALICE)
