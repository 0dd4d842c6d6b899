"""Rooms in memory, for tests of automatic joins."""

from __future__ import annotations

from itertools import count
from typing import Iterator, Optional

import attr
from zope.interface import implementer

from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IRooms
from regsys.model import FoundRoom, NewRoom, UserID

PUBLIC = "public_chat"


@attr.define(kw_only=True, eq=False)
class MemoryRoom:
    """A room and its members. If ``public`` is None, its join rules cannot be read. ``listed`` are
    the users who were invited when it was created."""

    room_id: str
    public: Optional[bool]
    federated: bool = True
    servers: tuple[str, ...] = ()
    creator: Optional[UserID] = None
    preset: Optional[str] = None
    listed: tuple[UserID, ...] = ()
    members: set[UserID] = attr.field(factory=set)
    invited: set[UserID] = attr.field(factory=set)


@implementer(IRooms)
@attr.define(eq=False)
class MemoryRooms:
    """The rooms of one server, and the rooms of other servers that it knows.

    ``by_alias`` and ``by_id`` hold them. ``unknown`` are users whom the server does not have.
    ``troubles`` maps an alias or a room id to the exception that each call for that room raises.
    ``calls`` are the calls so far, in order.
    """

    by_alias: dict[str, MemoryRoom] = attr.field(factory=dict)
    by_id: dict[str, MemoryRoom] = attr.field(factory=dict)
    unknown: set[UserID] = attr.field(factory=set)
    troubles: dict[str, Exception] = attr.field(factory=dict)
    calls: list[tuple[str, ...]] = attr.field(factory=list)
    _numbers: Iterator[int] = attr.field(factory=lambda: count(1))

    def add(self, alias: str, room: MemoryRoom) -> FoundRoom:
        """Add a room under this alias."""
        self.by_alias[alias] = self.by_id[room.room_id] = room
        return self._found(room)

    async def find(self, room: str) -> Optional[FoundRoom]:
        self._note("find", room)
        known = self.by_alias if room.startswith("#") else self.by_id
        return self._found(known[room]) if room in known else None

    async def create(self, creator: UserID, room: NewRoom) -> FoundRoom:
        self._note("create", room.alias, creator)
        self._refuse_unknown(creator, *room.invited)
        if room.alias in self.by_alias:
            raise RoomTaken(f"{room.alias} is taken")
        made = MemoryRoom(
            room_id=f"!{next(self._numbers)}:{creator.server}",
            public=room.preset == PUBLIC,
            federated=room.federated,
            servers=(creator.server,),
            creator=creator,
            preset=room.preset,
            listed=room.invited,
            members={creator},
            invited={*room.invited},
        )
        return self.add(room.alias, made)

    async def is_public(self, room: FoundRoom) -> bool:
        self._note("is_public", room.room_id)
        return bool(self.by_id[room.room_id].public)

    async def invite(self, inviter: UserID, user_id: UserID, room: FoundRoom) -> None:
        self._note("invite", room.room_id, inviter, user_id)
        self._refuse_unknown(inviter, user_id)
        known = self.by_id[room.room_id]
        if inviter not in known.members:
            raise RoomRefused(f"{inviter} is not in {room.room_id}, and cannot invite")
        if user_id not in known.members:
            known.invited.add(user_id)

    async def join(self, user_id: UserID, room: FoundRoom) -> None:
        self._note("join", room.room_id, user_id)
        self._refuse_unknown(user_id)
        known = self.by_id[room.room_id]
        if user_id in known.members:
            return
        if not known.public and user_id not in known.invited:
            raise RoomRefused(f"{user_id} is not invited to {room.room_id}")
        known.invited.discard(user_id)
        known.members.add(user_id)

    def _found(self, room: MemoryRoom) -> FoundRoom:
        return FoundRoom(room_id=room.room_id, servers=room.servers, resident=bool(room.members))

    def _note(self, call: str, room: str, *users: UserID) -> None:
        self.calls.append((call, room, *map(str, users)))
        if room in self.troubles:
            raise self.troubles[room]

    def _refuse_unknown(self, *users: UserID) -> None:
        for user_id in self.unknown.intersection(users):
            raise RoomRefused(f"there is no user {user_id}")
