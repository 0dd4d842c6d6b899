"""The contract of IRooms: rooms are found, created once, and joined, also after a crash."""

from __future__ import annotations

from typing import Optional

from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IRooms
from regsys.model import FoundRoom, NewRoom, UserID
from regsys.testing.contracts.case import (
    Contract,
    MaybeAwaitable,
    part_of,
    together,
    value_of,
    yours,
)

PRESETS = ("public_chat", "private_chat", "trusted_private_chat")
CONTENDERS = 4


class RoomsContract(Contract):
    """An IRooms, with the homeserver behind it.

    The methods that you write create and look up what the tests need there beyond IRooms: over a
    network by its own API, or in a double of it.
    """

    @yours
    def make(self) -> MaybeAwaitable[IRooms]:
        """Over a homeserver without rooms."""
        raise NotImplementedError()

    @yours
    def add_user(self, localpart: str) -> MaybeAwaitable[UserID]:
        """Create an account there."""
        raise NotImplementedError()

    @yours
    def add_remote_room(self, localpart: str) -> MaybeAwaitable[str]:
        """Create a public room on another server, with an alias of this localpart on that server,
        which no user of ours has joined. Returns the alias."""
        raise NotImplementedError()

    @yours
    def members(self, room: FoundRoom) -> MaybeAwaitable[set[UserID]]:
        """The users who have joined the room."""
        raise NotImplementedError()

    @yours
    def invited(self, room: FoundRoom) -> MaybeAwaitable[set[UserID]]:
        """The users who are invited and have not joined."""
        raise NotImplementedError()

    @yours
    def is_federated(self, room: FoundRoom) -> MaybeAwaitable[bool]:
        """Whether other servers may join it."""
        raise NotImplementedError()

    async def found(self, rooms: IRooms, room: str) -> FoundRoom:
        """The room, which must exist."""
        found: Optional[FoundRoom] = await rooms.find(room)
        if found is None:
            raise self.failureException(f"find({room!r}): there is such a room, but it is None")
        return found

    def is_room(self, found: FoundRoom, room_id: Optional[str], resident: bool, rule: str) -> None:
        """Assert which room was found (None: any), and whether a user of ours has joined it."""
        if room_id is not None:
            self.assertEqual(found.room_id, room_id, f"FoundRoom.room_id, by {rule}")
        self.assertEqual(found.resident, resident, f"FoundRoom.resident, by {rule}")

    async def has(
        self, room: FoundRoom, members: set[UserID], invited: set[UserID], rule: str
    ) -> None:
        """Assert who has joined the room, and who is invited, by this rule."""
        found = [await value_of(ask(room)) for ask in (self.members, self.invited)]
        self.assertEqual(found, [members, invited], f"{rule}; members and invited")

    # --- Finding -------------------------------------------------------------------------

    async def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        await part_of(IRooms, self.make())

    async def test_notFound(self) -> None:
        """An alias that names no room is None, be it of our server or of another."""
        rooms = await part_of(IRooms, self.make())
        alice = await value_of(self.add_user("alice"))
        other = (await value_of(self.add_remote_room("there"))).partition(":")[2]
        for alias in (f"#nothing:{alice.server}", f"#nothing:{other}"):
            found = await rooms.find(alias)
            self.assertEqual(found, None, f"find({alias!r}): None, as no room has this alias")

    async def test_found(self) -> None:
        """A room is found by its alias and by its id; a user of ours has joined it."""
        rooms = await part_of(IRooms, self.make())
        alice = await value_of(self.add_user("alice"))
        made = await rooms.create(alice, _room(alice))
        for name in (_room(alice).alias, made.room_id):
            found = await self.found(rooms, name)
            rule = f"find({name!r}): the room that was created, which its creator has joined"
            self.is_room(found, made.room_id, True, rule)

    # --- Making --------------------------------------------------------------------------

    async def test_created(self) -> None:
        """With each preset the creator has joined the room, and the users on its list are invited;
        only a public room is open to all."""
        rooms = await part_of(IRooms, self.make())
        alice, bob = await value_of(self.add_user("alice")), await value_of(self.add_user("bob"))
        for preset in PRESETS:
            made = await rooms.create(alice, _room(alice, preset, preset=preset, invited=(bob,)))
            self.is_room(made, None, True, f"create ({preset}): the creator has joined")
            rule = f"create ({preset}): the creator has joined, and room.invited are invited"
            await self.has(made, {alice}, {bob}, rule)
            rule = f"is_public: True for the preset public_chat alone, and this is {preset}"
            self.assertEqual(await rooms.is_public(made), preset == "public_chat", rule)

    async def test_federated(self) -> None:
        """Users of other servers may join a room, unless it was created without federation."""
        rooms = await part_of(IRooms, self.make())
        alice = await value_of(self.add_user("alice"))
        for federated in (True, False):
            made = await rooms.create(alice, _room(alice, f"{federated}", federated=federated))
            rule = f"create: other servers may join as NewRoom.federated says, which is {federated}"
            self.assertEqual(await value_of(self.is_federated(made)), federated, rule)

    async def test_taken(self) -> None:
        """A second room of an alias raises RoomTaken; the first one stays."""
        rooms = await part_of(IRooms, self.make())
        alice, bob = await value_of(self.add_user("alice")), await value_of(self.add_user("bob"))
        made = await rooms.create(alice, _room(alice))
        rule = "create: RoomTaken for an alias that names a room"
        await self.refusal(RoomTaken, rooms.create(bob, _room(alice)), rule)
        found = await self.found(rooms, _room(alice).alias)
        self.assertEqual(found.room_id, made.room_id, "create: the alias stays the first room's")
        await self.has(made, {alice}, set(), "create: a refused call changes no room")

    async def test_createdAtOnce(self) -> None:
        """Of several concurrent calls for an alias one creates the room; the others raise
        RoomTaken."""
        rooms = await part_of(IRooms, self.make())
        alice = await value_of(self.add_user("alice"))
        ended = await together(rooms.create(alice, _room(alice)) for _ in range(CONTENDERS))
        counts = [sum(isinstance(item, kind) for item in ended) for kind in (FoundRoom, RoomTaken)]
        rule = f"create: of {CONTENDERS} calls at once for an alias one creates the room, and the"
        told = f"{rule} others raise RoomTaken; they have ended with {ended}"
        self.assertEqual(counts, [1, CONTENDERS - 1], told)

    # --- Joining -------------------------------------------------------------------------

    async def test_joined(self) -> None:
        """Any user may join a public room. Joining is idempotent, also for the creator."""
        rooms = await part_of(IRooms, self.make())
        alice, bob = await value_of(self.add_user("alice")), await value_of(self.add_user("bob"))
        made = await rooms.create(alice, _room(alice))
        rule = "join: any user may join a public room, and who has joined already is no error"
        for user_id in (bob, bob, alice):
            await self.answer(rooms.join(user_id, made), rule)
        await self.has(made, {alice, bob}, set(), rule)

    async def test_invited(self) -> None:
        """Only invited users join a private room. Inviting is idempotent, also for a user who has
        joined since."""
        rooms = await part_of(IRooms, self.make())
        alice, bob = await value_of(self.add_user("alice")), await value_of(self.add_user("bob"))
        made = await rooms.create(alice, _room(alice, preset="private_chat"))
        rule = "join: RoomRefused without an invitation to a private room"
        await self.refusal(RoomRefused, rooms.join(bob, made), rule)
        rule = "invite: the user is invited, and who is invited already is no error"
        for _ in range(2):
            await self.answer(rooms.invite(alice, bob, made), rule)
        await self.has(made, {alice}, {bob}, rule)
        rule = "join and invite: an invited user joins; who has joined is not invited, and no error"
        for _ in range(2):
            await self.answer(rooms.join(bob, made), rule)
            await self.answer(rooms.invite(alice, bob, made), rule)
        await self.has(made, {alice, bob}, set(), rule)

    async def test_invitedFromOutside(self) -> None:
        """A user who has not joined a room cannot invite to it."""
        rooms = await part_of(IRooms, self.make())
        alice, bob = await value_of(self.add_user("alice")), await value_of(self.add_user("bob"))
        made = await rooms.create(alice, _room(alice, preset="private_chat"))
        eve = await value_of(self.add_user("eve"))
        rule = "invite: RoomRefused for an inviter who has not joined"
        await self.refusal(RoomRefused, rooms.invite(eve, bob, made), rule)
        await self.has(made, {alice}, set(), rule)

    async def test_remote(self) -> None:
        """A room of another server, without a user of ours, is found and can be joined; from then
        on a user of ours is in it."""
        rooms = await part_of(IRooms, self.make())
        alice = await value_of(self.add_user("alice"))
        alias = await value_of(self.add_remote_room("there"))
        room = await self.found(rooms, alias)
        rule = f"find({alias!r}): False until a user of this server has joined the room"
        self.is_room(room, None, False, rule)
        # Either is right; an exception is not.
        is_public = await self.answer(rooms.is_public(room), "is_public: True or False, if unsure")
        self.assertIn(is_public, (True, False), f"is_public: True or False: {is_public!r}")
        rule = "join: users may join public rooms of other servers"
        await self.answer(rooms.join(alice, room), rule)
        members = await value_of(self.members(room))
        self.assertTrue(alice in members, f"{rule}; members: {members}")
        again = await self.found(rooms, alias)
        rule = f"find({alias!r}): the same room, which a user of this server has joined since"
        self.is_room(again, room.room_id, True, rule)


def _room(owner: UserID, name: str = "lobby", **more: object) -> NewRoom:
    """A new room on the owner's server."""
    given: dict[str, object] = {"preset": "public_chat", **more}
    return NewRoom(alias=f"#{name.lower()}:{owner.server}", **given)  # type: ignore[arg-type]
