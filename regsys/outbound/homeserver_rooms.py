"""Rooms on the homeserver beside us, which new users join (contract B5)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.errors import RoomTaken
from regsys.interfaces import IRooms
from regsys.model import FoundRoom, NewRoom, UserID
from regsys.outbound.homeserver import Homeserver, HomeserverRefused, HomeserverSilent

# How long each step may take. A job takes each once, and "find" twice if another job has created
# the room meanwhile: the sum must stay below the job's lease, or a second process would claim it
# while this one is still at work.
STEPS_S: Mapping[str, float] = {
    "find": 5.0,
    "create": 12.0,
    "is_public": 5.0,
    "invite": 8.0,
    "join": 15.0,
}
# Servers to join a remote room by way of.
MAX_WAYS = 5


@implementer(IRooms)
@attr.frozen(kw_only=True)
class HomeserverRooms:
    """Accounts that act or are invited are created on the homeserver first."""

    homeserver: Homeserver

    async def find(self, room: str) -> Optional[FoundRoom]:
        if room.startswith("!"):
            return self._by_id(room)
        return await self.homeserver.within(STEPS_S["find"], self._find(room))

    async def create(self, creator: UserID, room: NewRoom) -> FoundRoom:
        return await self.homeserver.within(STEPS_S["create"], self._create(creator, room))

    async def is_public(self, room: FoundRoom) -> bool:
        return await self.homeserver.within(STEPS_S["is_public"], self._is_public(room))

    async def invite(self, inviter: UserID, user_id: UserID, room: FoundRoom) -> None:
        await self.homeserver.within(STEPS_S["invite"], self._invite(inviter, user_id, room))

    async def join(self, user_id: UserID, room: FoundRoom) -> None:
        await self.homeserver.within(STEPS_S["join"], self._join(user_id, room))

    def _by_id(self, room_id: str) -> FoundRoom:
        # Its members cannot be asked for from outside. Ids of newer room versions name no server.
        server = room_id.partition(":")[2]
        if server in ("", self.homeserver.server_name):
            return FoundRoom(room_id=room_id)
        return FoundRoom(room_id=room_id, servers=(server,), resident=False)

    async def _find(self, alias: str) -> Optional[FoundRoom]:
        try:
            found = await self.homeserver.ask("GET", ("v3", "directory", "room", alias))
        except HomeserverRefused as refusal:
            if refusal.errcode == "M_NOT_FOUND":
                return None
            raise
        servers = found.get("servers")
        if not isinstance(servers, list):
            servers = []
        ours = self.homeserver.server_name
        others = [name for name in servers if isinstance(name, str) and name != ours]
        return FoundRoom(
            room_id=_room_id(found), servers=tuple(others[:MAX_WAYS]), resident=ours in servers
        )

    async def _create(self, creator: UserID, room: NewRoom) -> FoundRoom:
        for user_id in room.invited:
            await self.homeserver.introduce(user_id)
        body: dict[str, Any] = {
            "room_alias_name": room.alias[1:].partition(":")[0],
            "preset": room.preset,
            "invite": [str(user_id) for user_id in room.invited],
        }
        if not room.federated:
            body["creation_content"] = {"m.federate": False}
        try:
            created = await self.homeserver.act(creator, "POST", ("v3", "createRoom"), body)
        except HomeserverRefused as refusal:
            if refusal.errcode == "M_ROOM_IN_USE":
                raise RoomTaken(str(refusal)) from None
            raise
        return FoundRoom(room_id=_room_id(created))

    async def _is_public(self, room: FoundRoom) -> bool:
        """From the room's hierarchy, which anybody may read if it is public: its state is for
        members, and its creator may be a user as whom we may not act."""
        path = ("v1", "rooms", room.room_id, "hierarchy")
        query = [("limit", "1"), ("max_depth", "0")]
        try:
            hierarchy = await self.homeserver.ask("GET", path, query=query)
        except HomeserverRefused as refusal:
            if refusal.status in (403, 404):
                return False
            raise
        rooms = hierarchy.get("rooms")
        first = rooms[0] if isinstance(rooms, list) and rooms else None
        # The specification: without a join_rule, it is public.
        return isinstance(first, dict) and first.get("join_rule", "public") == "public"

    async def _invite(self, inviter: UserID, user_id: UserID, room: FoundRoom) -> None:
        await self.homeserver.introduce(user_id)
        # Look first: inviting a member is an error, and a second invitation would notify the user
        # again.
        if await self._membership(inviter, user_id, room) in ("invite", "join"):
            return
        path, body = ("v3", "rooms", room.room_id, "invite"), {"user_id": str(user_id)}
        await self.homeserver.act(inviter, "POST", path, body)

    async def _membership(self, reader: UserID, user_id: UserID, room: FoundRoom) -> object:
        """The user's ``membership``; None if there is none, or the reader may not see it."""
        path = ("v3", "rooms", room.room_id, "state", "m.room.member", str(user_id))
        try:
            return (await self.homeserver.act(reader, "GET", path)).get("membership")
        except HomeserverRefused as refusal:
            if refusal.status in (403, 404):
                return None
            raise

    async def _join(self, user_id: UserID, room: FoundRoom) -> None:
        # ``via`` was called ``server_name`` before v1.12.
        ways = [(name, server) for server in room.servers for name in ("via", "server_name")]
        path = ("v3", "join", room.room_id)
        await self.homeserver.act(user_id, "POST", path, {}, query=ways)


def _room_id(answer: Mapping[str, Any]) -> str:
    room_id = answer.get("room_id")
    if not isinstance(room_id, str) or not room_id.startswith("!"):
        raise HomeserverSilent("the homeserver's answer has no room_id")
    return room_id
