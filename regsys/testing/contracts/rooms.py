"""The contract of IRooms: rooms are found, created once, and joined, also after a crash."""

from __future__ import annotations

from typing import Optional

from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IRooms
from regsys.model import FoundRoom, NewRoom, UserID
from regsys.testing.contracts.case import Contract, together
from regsys.testing.provides import provides

PRESETS = ("public_chat", "private_chat", "trusted_private_chat")
CONTENDERS = 4


class RoomsContract(Contract):
    """An IRooms, with the homeserver behind it.

    The methods that you write create and look up what the tests need there beyond IRooms: over a
    network by its own API, or in a double of it.
    """

    def make(self) -> IRooms:
        """Over a homeserver without rooms."""
        raise NotImplementedError()

    async def add_user(self, localpart: str) -> UserID:
        """Create an account there."""
        raise NotImplementedError()

    async def add_remote_room(self, localpart: str) -> str:
        """Create a public room on another server, with an alias of this localpart on that server,
        which no user of ours has joined. Returns the alias."""
        raise NotImplementedError()

    async def members(self, room: FoundRoom) -> set[UserID]:
        """The users who have joined the room."""
        raise NotImplementedError()

    async def invited(self, room: FoundRoom) -> set[UserID]:
        """The users who are invited and have not joined."""
        raise NotImplementedError()

    async def is_federated(self, room: FoundRoom) -> bool:
        """Whether other servers may join it."""
        raise NotImplementedError()

    async def found(self, rooms: IRooms, room: str) -> FoundRoom:
        """The room, which must exist."""
        found: Optional[FoundRoom] = await rooms.find(room)
        assert found is not None, room
        return found

    # --- Finding -------------------------------------------------------------------------

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IRooms, self.make())

    async def test_notFound(self) -> None:
        """An alias that names no room is None, be it of our server or of another."""
        rooms = self.make()
        alice = await self.add_user("alice")
        other = (await self.add_remote_room("there")).partition(":")[2]
        for alias in (f"#nothing:{alice.server}", f"#nothing:{other}"):
            self.assertIsNone(await rooms.find(alias), alias)

    async def test_found(self) -> None:
        """A room is found by its alias and by its id; a user of ours has joined it."""
        rooms = self.make()
        alice = await self.add_user("alice")
        made = await rooms.create(alice, _room(alice))
        for name in (_room(alice).alias, made.room_id):
            found = await self.found(rooms, name)
            self.assertEqual((found.room_id, found.resident), (made.room_id, True), name)

    # --- Making --------------------------------------------------------------------------

    async def test_created(self) -> None:
        """With each preset the creator has joined the room, and the users on its list are invited;
        only a public room is open to all."""
        rooms = self.make()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        for preset in PRESETS:
            made = await rooms.create(alice, _room(alice, preset, preset=preset, invited=(bob,)))
            self.assertTrue(made.resident, preset)
            self.assertEqual(await self.members(made), {alice}, preset)
            self.assertEqual(await self.invited(made), {bob}, preset)
            self.assertEqual(await rooms.is_public(made), preset == "public_chat", preset)

    async def test_federated(self) -> None:
        """Users of other servers may join a room, unless it was created without federation."""
        rooms = self.make()
        alice = await self.add_user("alice")
        for federated in (True, False):
            made = await rooms.create(alice, _room(alice, f"{federated}", federated=federated))
            self.assertEqual(await self.is_federated(made), federated)

    async def test_taken(self) -> None:
        """A second room of an alias raises RoomTaken; the first one stays."""
        rooms = self.make()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        made = await rooms.create(alice, _room(alice))
        await self.refusal(RoomTaken, rooms.create(bob, _room(alice)))
        self.assertEqual((await self.found(rooms, _room(alice).alias)).room_id, made.room_id)
        self.assertEqual(await self.members(made), {alice})

    async def test_createdAtOnce(self) -> None:
        """Of several concurrent calls for an alias one creates the room; the others raise
        RoomTaken."""
        rooms = self.make()
        alice = await self.add_user("alice")
        ended = await together(rooms.create(alice, _room(alice)) for _ in range(CONTENDERS))
        self.assertEqual(sum(isinstance(item, FoundRoom) for item in ended), 1, ended)
        self.assertEqual(sum(isinstance(item, RoomTaken) for item in ended), CONTENDERS - 1)

    # --- Joining -------------------------------------------------------------------------

    async def test_joined(self) -> None:
        """Any user may join a public room. Joining is idempotent, also for the creator."""
        rooms = self.make()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        made = await rooms.create(alice, _room(alice))
        for user_id in (bob, bob, alice):
            await rooms.join(user_id, made)
        self.assertEqual(await self.members(made), {alice, bob})

    async def test_invited(self) -> None:
        """Only invited users join a private room. Inviting is idempotent, also for a user who has
        joined since."""
        rooms = self.make()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        made = await rooms.create(alice, _room(alice, preset="private_chat"))
        await self.refusal(RoomRefused, rooms.join(bob, made))
        for _ in range(2):
            await rooms.invite(alice, bob, made)
        self.assertEqual(await self.invited(made), {bob})
        for _ in range(2):
            await rooms.join(bob, made)
            await rooms.invite(alice, bob, made)
        self.assertEqual(await self.members(made), {alice, bob})
        self.assertEqual(await self.invited(made), set())

    async def test_invitedFromOutside(self) -> None:
        """A user who has not joined a room cannot invite to it."""
        rooms = self.make()
        alice, bob = await self.add_user("alice"), await self.add_user("bob")
        made = await rooms.create(alice, _room(alice, preset="private_chat"))
        eve = await self.add_user("eve")
        await self.refusal(RoomRefused, rooms.invite(eve, bob, made))
        self.assertEqual(await self.invited(made), set())

    async def test_remote(self) -> None:
        """A room of another server, without a user of ours, is found and can be joined; from then
        on a user of ours is in it."""
        rooms = self.make()
        alice = await self.add_user("alice")
        alias = await self.add_remote_room("there")
        room = await self.found(rooms, alias)
        self.assertFalse(room.resident)
        # Either is right; an exception is not.
        self.assertIn(await rooms.is_public(room), (True, False))
        await rooms.join(alice, room)
        self.assertIn(alice, await self.members(room))
        again = await self.found(rooms, alias)
        self.assertEqual((again.room_id, again.resident), (room.room_id, True))


def _room(owner: UserID, name: str = "lobby", **more: object) -> NewRoom:
    """A new room on the owner's server."""
    given: dict[str, object] = {"preset": "public_chat", **more}
    return NewRoom(alias=f"#{name.lower()}:{owner.server}", **given)  # type: ignore[arg-type]
