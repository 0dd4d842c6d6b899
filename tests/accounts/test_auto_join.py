"""The rooms that newcomers join: who joins which, who makes them, and what a failure holds up."""

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
from regsys.interfaces import IJobPlanner, IUserLookup
from regsys.model import FoundRoom, Job, NewAccount, NewRoom, User, UserID
from regsys.testing import MemoryRoom, MemoryRooms, provides

HERE = "test.example"
ALICE, BOB, ADMIN = (UserID(name, HERE) for name in ("alice", "bob", "admin"))
LOBBY, ELSEWHERE, ID = f"#lobby:{HERE}", "#lobby:far.example", "!known:far.example"
PRIVATE = ("private_chat", "trusted_private_chat")


@attr.frozen
class Milestones:
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
    """Which jobs an account brings."""

    def plan(self, policies: Sequence[str] = (), **options: Any) -> AutoJoinPlanner:
        config = RoomsConfig(auto_join=(LOBBY, ID), **options)
        return AutoJoinPlanner(config=config, policies=policies)

    def test_provides(self) -> None:
        """It offers the whole of IJobPlanner."""
        provides(IJobPlanner, self.plan())

    def test_oneJobARoom(self) -> None:
        """Each room is a job of its own, in their order; all of a user's are written once."""
        jobs = self.plan().jobs_for(NewAccount(key="k", user_id=ALICE, created_ms=1))
        told = [(job.kind, job.payload["user_id"], job.payload["room"]) for job in jobs]
        self.assertEqual(told, [(AUTO_JOIN, str(ALICE), LOBBY), (AUTO_JOIN, str(ALICE), ID)])
        self.assertEqual({job.dedup_key for job in jobs}, {f"auto-join {ALICE}"})

    def test_who(self) -> None:
        """Everybody joins but users of application services, guests where they are not to, and
        who has not accepted what newcomers must; that a guest has been let in, the word tells."""
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
        """Who had to accept something first is let in afterwards; the word is the same one."""
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
        usher = AutoJoiner(
            rooms=self.rooms,
            server_state=Milestones(first),
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
        return Deferred.fromCoroutine(usher.run(job))

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
        """What was done, in order."""
        return [call[0] for call in self.rooms.calls]


class MakingTests(AutoJoinerCase):
    def test_whatIsMade(self) -> None:
        """The first real user has the room made: by the inviter if there is one, else he makes it
        himself; with the preset and the openness that are configured; he is on a private one's
        list; and whoever did not make it then joins it."""
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
        """Only a private room has a list of the invited, and nobody invites himself."""
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
        """A room that is not there is made by the first real user alone, or, if_missing, by
        anybody real or by the inviter; never one of another server, or one of which only the id
        is known; and only if any are to be made."""
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
        """A room that is made while one is about to make it is joined like any that was there."""
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
        """An inviter who has no account, or not any more, is told of by the name of the option."""
        gone = Users({"admin": User(user_id=ADMIN, deactivated=True)})
        for known in (Users({}), gone):
            for options in ({}, {"if_missing": True}):
                told = self.refusal(users=known, inviter="admin", **options)
                self.assertIn(f"{LOBBY}: {ADMIN} (auto_join_mxid_localpart)", told)
        self.assertNotIn("create", self.asked())


class JoiningTests(AutoJoinerCase):
    def test_howItIsJoined(self) -> None:
        """A public room is just joined; one that is not, or can't be read, after an invitation; one
        that none of ours is in directly. So by alias as by id, of our server or another."""
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
        """Where nobody can invite, a room that is not public fails, and says what to do."""
        for public in (False, None):
            self.add(LOBBY, public, ADMIN)
            self.assertIn("set auto_join_mxid_localpart", self.refusal())
            self.assertNotIn("join", self.asked())

    def test_inviterHimself(self) -> None:
        """He is not invited by himself; into a room that is not his he doesn't get."""
        self.add(LOBBY, False, BOB)
        self.assertIn("not invited", self.refusal(who=ADMIN, inviter="admin"))
        self.assertNotIn("invite", self.asked())
        self.add(LOBBY, False, ADMIN)
        self.run_job(who=ADMIN, inviter="admin")

    def test_again(self) -> None:
        """What has been done already, before a crash, is no error, and nothing happens twice."""
        for options in ({}, {"inviter": "admin", "preset": "private_chat"}):
            self.rooms = MemoryRooms()
            for _ in range(2):
                self.run_job(**options)  # type: ignore[arg-type]
            self.assertEqual(len(self.rooms.by_id), 1, options)
            self.assertIn(ALICE, self.rooms.by_alias[LOBBY].members, options)

    def test_notAnyMore(self) -> None:
        """Who is deactivated by now, a service's user, or a guest who is not to join, joins nothing
        any more."""
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
        """The first user who is deactivated before his rooms were made leaves them behind all the
        same, if somebody else makes rooms; he joins nothing, and what is there stays."""
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
        """Whatever goes wrong, the operator learns with which room."""
        for trouble, told in (
            (RoomRefused("it is full"), "it is full"),
            (OSError("unplugged"), "OSError: unplugged"),
        ):
            self.rooms.troubles[LOBBY] = trouble
            self.assertEqual(self.refusal(), f"{LOBBY}: {told}")
