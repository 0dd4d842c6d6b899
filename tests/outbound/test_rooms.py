"""The rooms of a homeserver over its API: the contract, and what lies beyond it."""

from __future__ import annotations

from typing import Any, Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IRooms
from regsys.model import JOB_LEASE_MS, FoundRoom, NewRoom, UserID
from regsys.outbound.homeserver_rooms import STEPS_S, HomeserverRooms
from regsys.testing.contracts import RoomsContract
from tests.doubles.homeserver import FORGET, SERVER, STALL, HomeserverDouble
from tests.outbound.homeserver_case import HomeserverCase, asking, user

ALICE, BOB, HOST = user("alice"), user("bob"), user("host")
LOBBY = f"#lobby:{SERVER}"
FAR = "#far:remote.example"
HALL = NewRoom(alias=LOBBY, preset="public_chat")


class HomeserverRoomsContractTests(RoomsContract, TestCase):
    def make(self) -> IRooms:
        self.double = HomeserverDouble()
        return HomeserverRooms(homeserver=asking(self.double, Clock()))

    async def add_user(self, localpart: str) -> UserID:
        return user(localpart)

    async def add_remote_room(self, localpart: str) -> str:
        alias = f"#{localpart}:remote.example"
        self.double.add_room(alias, servers=["remote.example"])
        return alias

    async def members(self, room: FoundRoom) -> set[UserID]:
        return self._all_with(room, "join")

    async def invited(self, room: FoundRoom) -> set[UserID]:
        return self._all_with(room, "invite")

    async def is_federated(self, room: FoundRoom) -> bool:
        return self.double.rooms[room.room_id].federated

    def _all_with(self, room: FoundRoom, membership: str) -> set[UserID]:
        return {UserID.parse(name) for name in self.double.rooms[room.room_id].all_with(membership)}


class HomeserverRoomsTests(HomeserverCase):
    def setUp(self) -> None:
        super().setUp()
        self.rooms = HomeserverRooms(homeserver=self.homeserver)

    def test_ways(self) -> None:
        """A room is joined through a few of its servers, by both names of that parameter, however
        many servers it has."""
        servers = [f"{number}.example" for number in range(40_000)]
        self.double.add_room(FAR, servers=servers)
        found = self.wait(self.rooms.find(FAR))
        self.assertEqual((found.servers, found.resident), (tuple(servers[:5]), False))
        self.wait(self.rooms.join(ALICE, found))
        again = self.wait(self.rooms.find(FAR))
        self.assertEqual((again.servers, again.resident), (tuple(servers[:5]), True))

    def test_ids(self) -> None:
        """An id is used as it is: a room of another server is joined through that server."""
        for room_id, servers, resident in (
            (f"!a:{SERVER}", (), True),
            ("!a:remote.example", ("remote.example",), False),
            ("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", (), True),
        ):
            room = FoundRoom(room_id=room_id, servers=servers, resident=resident)
            self.assertEqual(self.wait(self.rooms.find(room_id)), room)
        self.assertEqual(self.double.calls, [])

    def test_createdByWhom(self) -> None:
        """A room belongs to its creator; the users on its invite list have accounts there
        before."""
        room = NewRoom(alias=LOBBY, preset="private_chat", invited=(BOB,), federated=False)
        self.wait(self.rooms.create(HOST, room))
        made = self.double.room(LOBBY)
        self.assertEqual((made.creator, made.federated), (str(HOST), False))
        self.assertEqual(set(self.double.profiles), {str(HOST), str(BOB)})
        self.wait(self.rooms.invite(HOST, ALICE, self.wait(self.rooms.find(LOBBY))))
        self.assertIn(str(ALICE), self.double.profiles)

    def test_lostAnswer(self) -> None:
        """A room whose creation lost its answer is found the next time, and a join or invitation
        happens once."""
        self.double.faults.update({name: [FORGET] for name in ("create", "join", "invite")})
        room = NewRoom(alias=LOBBY, preset="private_chat")
        self.refused(self.rooms.create(HOST, room))
        self.failureResultOf(self.begin(self.rooms.create(HOST, room)), RoomTaken)
        found = self.wait(self.rooms.find(LOBBY))
        for step in (self.rooms.invite, self._join):
            self.refused(step(HOST, BOB, found))
            self.wait(step(HOST, BOB, found))
        history = [(str(HOST), "join"), (str(BOB), "invite"), (str(BOB), "join")]
        self.assertEqual(self.double.room(LOBBY).history, history)

    def _join(self, inviter: UserID, user_id: UserID, room: FoundRoom) -> Awaitable[None]:
        return self.rooms.join(user_id, room)

    def test_refused(self) -> None:
        """Without the power to invite, or for a banned user, a step is refused with the reason."""
        found = self.wait(self.rooms.create(HOST, HALL))
        room = self.double.room(LOBBY)
        self.wait(self.rooms.join(ALICE, found))
        room.invite_power = 50
        self.assertIn(
            f"for {ALICE}: 403 M_FORBIDDEN", self.refused(self.rooms.invite(ALICE, BOB, found))
        )
        room.change(str(BOB), "ban")
        for step in (self.rooms.invite(HOST, BOB, found), self.rooms.join(BOB, found)):
            self.assertIn("M_FORBIDDEN", self.refused(step))

    def test_fewRequests(self) -> None:
        """The account of an inviter of many users is made once, and so is each of theirs."""
        found = self.wait(self.rooms.create(HOST, NewRoom(alias=LOBBY, preset="private_chat")))
        for name in ("a", "b", "c"):
            self.wait(self.rooms.invite(HOST, user(name), found))
            self.wait(self.rooms.join(user(name), found))
        calls = {
            name: self.double.called(name) for name in ("register", "member", "invite", "join")
        }
        self.assertEqual(calls, {"register": 4, "member": 3, "invite": 3, "join": 3})

    def test_joinRules(self) -> None:
        """Only a public room is public; a room whose join rule can't be read is not."""
        found = self.wait(self.rooms.create(HOST, HALL))
        for rule in ("public", "invite", "knock", "restricted", "private"):
            self.double.room(LOBBY).join_rule = rule
            self.assertEqual(self.wait(self.rooms.is_public(found)), rule == "public", rule)
        self.assertFalse(self.wait(self.rooms.is_public(FoundRoom(room_id="!no:where"))))
        self.double.faults["hierarchy"] = ["500"]
        self.assertIn("500", self.refused(self.rooms.is_public(found)))

    def test_nonsense(self) -> None:
        """An answer without a room is an error."""
        for fault in ("no-room", "odd-room", "number-room"):
            self.double.faults.update({"find": [fault], "create": [fault]})
            for step in (self.rooms.find(LOBBY), self.rooms.create(HOST, HALL)):
                self.assertIn("no room_id", self.refused(step))

    def test_deadlines(self) -> None:
        """Each step ends in time, wherever the homeserver stalls, so that a job with all steps, two
        look-ups included, has ended before its lease."""
        found = self.wait(self.rooms.create(HOST, HALL))
        self.wait(self.homeserver.introduce(BOB))
        steps: dict[str, tuple[str, Any]] = {
            "find": ("find", lambda: self.rooms.find(LOBBY)),
            "create": ("create", lambda: self.rooms.create(HOST, HALL)),
            "is_public": ("hierarchy", lambda: self.rooms.is_public(found)),
            "invite": ("member", lambda: self.rooms.invite(HOST, BOB, found)),
            "join": ("join", lambda: self.rooms.join(BOB, found)),
        }
        self.assertEqual(set(steps), set(STEPS_S))
        for name, (call, step) in steps.items():
            self.double.faults[call] = [STALL]
            waiting: Deferred[Any] = self.begin(step())
            self.assertNoResult(waiting)
            self.clock.advance(STEPS_S[name])
            text = str(self.failureResultOf(waiting, RoomRefused).value)
            self.assertIn("no answer", text)
        self.assertLess(sum(STEPS_S.values()) + STEPS_S["find"], JOB_LEASE_MS / 1000)

    def test_slowInParts(self) -> None:
        """A step's deadline covers all of its requests together."""
        found = self.wait(self.rooms.create(HOST, HALL))
        self.double.faults["register"] = [STALL]
        other = self.begin(self.homeserver.introduce(BOB))
        self.clock.advance(9)
        joining = self.begin(self.rooms.join(BOB, found))
        self.double.faults["join"] = [STALL]
        self.clock.advance(6)
        self.failureResultOf(other, RoomRefused)
        self.homeserver.http.treq.flush()  # type: ignore[attr-defined]
        self.assertEqual(self.double.called("join"), 1)
        self.assertNoResult(joining)
        self.clock.advance(STEPS_S["join"] - 6)
        self.failureResultOf(joining, RoomRefused)
