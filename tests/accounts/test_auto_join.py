"""The rooms that new users join: who joins which, who creates them, and what a failure delays."""

from __future__ import annotations

from itertools import product
from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.accounts.auto_join import AUTO_JOIN, AutoJoiner, AutoJoinPlanner
from regsys.config import RoomsConfig
from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IUserLookup
from regsys.interfaces.internal import IJobPlanner
from regsys.model import FoundRoom, NewAccount, NewRoom, User, UserID
from regsys.model.jobs import Job
from regsys.testing import MemoryRoom, MemoryRooms, provides

HERE = "test.example"
ALICE, BOB, ADMIN = (UserID(name, HERE) for name in ("alice", "bob", "admin"))
LOBBY, ELSEWHERE, ID = f"#lobby:{HERE}", "#lobby:far.example", "!known:far.example"
PRIVATE = ("private_chat", "trusted_private_chat")


@attr.frozen
class FirstUser:
    first: Optional[UserID]

    async def first_real_user(self) -> Optional[UserID]:
        return self.first


@implementer(IUserLookup)
@attr.frozen
class Users:
    by_name: Mapping[str, User]

    async def find(self, localpart: str) -> Optional[User]:
        return self.by_name.get(localpart)


def users(**changes: Any) -> Users:
    """Alice, with these changes, and the admin."""
    return Users(
        {"alice": User(user_id=ALICE, **changes), "admin": User(user_id=ADMIN, admin=True)}
    )


class PlanTests(SynchronousTestCase):
    """Which jobs an account plans."""

    def plan(self, policies: Sequence[str] = (), **options: Any) -> AutoJoinPlanner:
        config = RoomsConfig(auto_join=(LOBBY, ID), **options)
        return AutoJoinPlanner(config=config, policies=policies)

    def test_provides(self) -> None:
        """It offers the whole of IJobPlanner."""
        provides(IJobPlanner, self.plan())

    def test_oneJobARoom(self) -> None:
        """Each room is a job of its own, in the configured order; all of a user's jobs are written
        once."""
        jobs = self.plan().jobs_for(NewAccount(key="k", user_id=ALICE, created_ms=1))
        jobs_of_alice = [(job.kind, job.payload["user_id"], job.payload["room"]) for job in jobs]
        self.assertEqual(
            jobs_of_alice, [(AUTO_JOIN, str(ALICE), LOBBY), (AUTO_JOIN, str(ALICE), ID)]
        )
        self.assertEqual({job.dedup_key for job in jobs}, {f"auto-join {ALICE}"})

    def test_who(self) -> None:
        """Every user joins, except users of application services, guests where they are not to
        join, and users who have not accepted the required policies; the deduplication key tells
        that a guest has joined already."""
        guests_stay_out, terms = {"for_guests": False}, {"policies": ("terms", "privacy")}
        upgrade, agreed = {"upgrades_guest": True}, {"consents": {"terms": "1", "privacy": "2"}}
        table: tuple[tuple[dict[str, Any], dict[str, Any], bool], ...] = (
            ({}, {}, True),
            ({}, {"is_guest": True}, True),
            (guests_stay_out, {"is_guest": True}, False),
            (guests_stay_out, {}, True),
            ({}, {"user_type": "bot"}, True),
            ({}, {"user_type": "support"}, True),
            ({}, {"appservice_id": "irc"}, False),
            ({}, {"shadow_banned": True}, True),
            ({}, upgrade, True),
            (guests_stay_out, upgrade, True),
            (terms, upgrade, False),
            (terms, {**upgrade, **agreed}, True),
            (terms, {}, False),
            (terms, {"consents": {"terms": "1"}}, False),
            (terms, agreed, True),
        )
        for options, more, joins in table:
            new = NewAccount(key="k", user_id=ALICE, created_ms=1, **more)
            jobs = self.plan(**options).jobs_for(new)
            self.assertEqual(len(jobs), 2 if joins else 0, (options, more))

    def test_afterConsent(self) -> None:
        """A user who had to accept a policy first joins afterwards; the deduplication key is the
        same."""
        jobs = self.plan(policies=("terms",)).jobs_after_consent(ALICE)
        self.assertEqual([job.payload["room"] for job in jobs], [LOBBY, ID])
        self.assertEqual({job.dedup_key for job in jobs}, {f"auto-join {ALICE}"})
        self.assertEqual(list(self.plan().jobs_after_consent(ALICE)), [])


class AutoJoinerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.rooms = MemoryRooms()

    def start(
        self,
        room: str = LOBBY,
        *,
        who: UserID = ALICE,
        first: Optional[UserID] = ALICE,
        users: Optional[Users] = None,
        **options: Any,
    ) -> Deferred[None]:
        """Run the job of this user and room, under a configuration with these options."""
        joiner = AutoJoiner(
            rooms=self.rooms,
            server_state=FirstUser(first),
            users=users,
            config=RoomsConfig(**options),
            server_name=HERE,
        )
        job = Job(
            job_id="job",
            kind=AUTO_JOIN,
            payload={"user_id": str(who), "room": room},
            attempts=1,
            claimed_until_ms=1,
        )
        return Deferred.fromCoroutine(joiner.run(job))

    def run_job(self, room: str = LOBBY, **more: Any) -> None:
        self.successResultOf(self.start(room, **more))

    def refusal(self, room: str = LOBBY, **more: Any) -> str:
        return str(self.failureResultOf(self.start(room, **more), RoomRefused).value)

    def add(self, name: str, public: Optional[bool], *members: UserID) -> MemoryRoom:
        """A room of this alias or id."""
        self.rooms = MemoryRooms()
        room = MemoryRoom(room_id=ID, public=public, members={*members})
        self.rooms.add(name, room)
        return room

    def asked(self) -> list[str]:
        """The calls on the rooms, in order."""
        return [call[0] for call in self.rooms.calls]


class MakingTests(AutoJoinerCase):
    def test_whatIsMade(self) -> None:
        """The first real user's job creates the room: as the inviter if there is one, otherwise as
        the user themself; with the configured preset and federation. A private room's invite list
        has the user; a user who did not create the room then joins it."""
        presets = product(("public_chat",), (None, "admin"), (True, False))
        private = product(PRIVATE, ("admin",), (True, False))
        for preset, inviter, federated in (*presets, *private):
            self.rooms = MemoryRooms()
            self.run_job(preset=preset, inviter=inviter, federated=federated)
            room = self.rooms.by_alias[LOBBY]
            case = (preset, inviter, federated)
            self.assertEqual((room.preset, room.federated), (preset, federated), case)
            self.assertEqual(room.creator, ADMIN if inviter else ALICE, case)
            self.assertEqual(room.members, {ALICE, ADMIN} if inviter else {ALICE}, case)
            joins = ["join"] if inviter else []
            self.assertEqual(self.asked(), ["find", "create", *joins], case)

    def test_invitedFromBirth(self) -> None:
        """Only a private room has an invite list, and no user invites themself."""
        for preset, who, invited in (
            ("public_chat", ALICE, ()),
            ("private_chat", ALICE, (ALICE,)),
            ("trusted_private_chat", ALICE, (ALICE,)),
            ("private_chat", ADMIN, ()),
        ):
            self.rooms = MemoryRooms()
            self.run_job(who=who, first=who, preset=preset, inviter="admin")
            self.assertEqual(self.rooms.by_alias[LOBBY].listed, invited, (preset, who))

    def test_whoMakes(self) -> None:
        """A missing room is created for the first real user alone, or, with if_missing, for any
        real user or by the inviter; never a room of another server, nor one of which only the id is
        known; and only if rooms are to be created at all."""
        bot, missing = users(user_type="bot"), {"if_missing": True}
        table: tuple[tuple[str, dict[str, Any], bool], ...] = (
            (LOBBY, {}, True),
            (LOBBY, {"first": BOB}, False),
            (LOBBY, {"first": None}, False),
            (LOBBY, {"autocreate": False}, False),
            (LOBBY, {"first": BOB, **missing}, True),
            (LOBBY, {"first": BOB, "users": users(), **missing}, True),
            (LOBBY, {"first": BOB, "users": bot, **missing}, False),
            (LOBBY, {"first": BOB, "users": bot, "inviter": "admin", **missing}, True),
            (LOBBY, {"autocreate": False, **missing}, False),
            (ELSEWHERE, {}, False),
            (ELSEWHERE, missing, False),
            (ID, {}, False),
            (ID, missing, False),
        )
        for room, options, makes in table:
            self.rooms = MemoryRooms()
            case = (room, options)
            if makes:
                self.run_job(room, **options)
            else:
                self.assertEqual(self.refusal(room, **options), f"{room}: there is no such room")
            self.assertEqual("create" in self.asked(), makes, case)

    def test_somebodyWasQuicker(self) -> None:
        """If another process creates the room in the meantime, it is joined like any room that was
        there."""
        late = MemoryRoom(room_id=ID, public=False, members={ADMIN})

        class Contested(MemoryRooms):
            async def create(self, creator: UserID, room: NewRoom) -> FoundRoom:
                self.add(LOBBY, late)
                raise RoomTaken("too late")

        self.rooms = Contested()
        self.run_job(inviter="admin", preset="private_chat")
        self.assertIn(ALICE, late.members)
        self.assertEqual(self.asked(), ["find", "find", "is_public", "invite", "join"])

    def test_inviterWithoutAccount(self) -> None:
        """If the inviter has no account, or no account any more, the error names the option."""
        gone = Users({"admin": User(user_id=ADMIN, deactivated=True)})
        for known in (Users({}), gone):
            for options in ({}, {"if_missing": True}):
                reason = self.refusal(users=known, inviter="admin", **options)
                self.assertIn(f"{LOBBY}: {ADMIN} (auto_join_mxid_localpart)", reason)
        self.assertNotIn("create", self.asked())


class JoiningTests(AutoJoinerCase):
    def test_howItIsJoined(self) -> None:
        """A public room is joined directly; a room that is not public, or whose join rule cannot be
        read, after an invitation; a room without any of our users directly. This holds by alias and
        by id, on our server and on another."""
        table: tuple[tuple[Optional[bool], tuple[UserID, ...], Optional[str], list[str]], ...] = (
            (True, (ADMIN,), None, ["is_public", "join"]),
            (True, (ADMIN,), "admin", ["is_public", "join"]),
            (False, (ADMIN,), "admin", ["is_public", "invite", "join"]),
            (None, (ADMIN,), "admin", ["is_public", "invite", "join"]),
            (True, (), None, ["join"]),
            (True, (), "admin", ["join"]),
        )
        for (public, members, inviter, asked), name, first in product(
            table, (LOBBY, ELSEWHERE, ID), (ALICE, BOB)
        ):
            room = self.add(name, public, *members)
            self.run_job(name, inviter=inviter, first=first)
            case = (name, public, members, inviter)
            self.assertEqual(self.asked(), ["find", *asked], case)
            self.assertEqual(room.members, {ALICE, *members}, case)

    def test_nobodyInvites(self) -> None:
        """If no user can invite, joining a room that is not public fails, and the error says what
        to do."""
        for public in (False, None):
            self.add(LOBBY, public, ADMIN)
            self.assertIn("set auto_join_mxid_localpart", self.refusal())
            self.assertNotIn("join", self.asked())

    def test_inviterHimself(self) -> None:
        """The inviter is not invited by themself, and cannot join a room in which they are not
        allowed."""
        self.add(LOBBY, False, BOB)
        self.assertIn("not invited", self.refusal(who=ADMIN, inviter="admin"))
        self.assertNotIn("invite", self.asked())
        self.add(LOBBY, False, ADMIN)
        self.run_job(who=ADMIN, inviter="admin")

    def test_again(self) -> None:
        """What was done before a crash is no error, and happens only once."""
        for options in ({}, {"inviter": "admin", "preset": "private_chat"}):
            self.rooms = MemoryRooms()
            for _ in range(2):
                self.run_job(**options)  # type: ignore[arg-type]
            self.assertEqual(len(self.rooms.by_id), 1, options)
            self.assertIn(ALICE, self.rooms.by_alias[LOBBY].members, options)

    def test_notAnyMore(self) -> None:
        """A user who was deactivated since, a service's user, or a guest who is not to join, joins
        nothing."""
        for changes, options in (
            ({"deactivated": True}, {}),
            ({"appservice_id": "irc"}, {}),
            ({"is_guest": True}, {"for_guests": False}),
        ):
            self.run_job(users=users(**changes), **options)
        self.assertEqual(self.asked(), [])
        self.run_job(users=users(is_guest=True), if_missing=True, inviter="admin")
        self.assertIn(ALICE, self.rooms.by_alias[LOBBY].members)

    def test_firstUserIsGone(self) -> None:
        """If the first user is deactivated before their rooms were created, the rooms are created
        all the same if another user or the inviter may create them. The first user joins nothing,
        and existing rooms stay."""
        for first, options, asked in (
            (ALICE, {"inviter": "admin"}, ["find", "create"]),
            (ALICE, {}, []),
            (BOB, {"inviter": "admin"}, []),
            (ALICE, {"inviter": "admin", "if_missing": True}, []),
            (ALICE, {"inviter": "admin", "autocreate": False}, []),
        ):
            self.rooms = MemoryRooms()
            gone = users(deactivated=True)
            self.run_job(first=first, users=gone, **options)  # type: ignore[arg-type]
            self.assertEqual(self.asked(), asked, (first, options))
        for preset in ("public_chat", *PRIVATE):
            self.rooms = MemoryRooms()
            self.run_job(users=gone, inviter="admin", preset=preset)
            room = self.rooms.by_alias[LOBBY]
            made = (room.preset, room.creator, room.members, room.listed)
            self.assertEqual(made, (preset, ADMIN, {ADMIN}, ()))
        self.run_job(users=gone, inviter="admin")
        self.assertEqual(self.asked(), ["find", "create", "find"])

    def test_whichRoom(self) -> None:
        """The operator learns which room failed, whatever the error."""
        for trouble, reason in (
            (RoomRefused("it is full"), "it is full"),
            (OSError("unplugged"), "OSError: unplugged"),
        ):
            self.rooms.troubles[LOBBY] = trouble
            self.assertEqual(self.refusal(), f"{LOBBY}: {reason}")
