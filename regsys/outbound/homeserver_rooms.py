"""The rooms of a homeserver beside us, for what newcomers join (contract B5)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.errors import RoomTaken
from regsys.interfaces import IRooms
from regsys.model import FoundRoom, NewRoom, UserID
from regsys.outbound.homeserver import Homeserver, HomeserverRefused, HomeserverSilent

# How long each step may take. A job takes each once at most, and looks twice where a rival has
# made the room meanwhile: together that must stay below its lease, or a second process would
# begin while we are still at it.
STEPS_S: Mapping[str, float] = {
    "find": 5.0,
    "create": 12.0,
    "is_public": 5.0,
    "invite": 8.0,
    "join": 15.0,
}
# Ways to a room of others.
MAX_WAYS = 5


@implementer(IRooms)
@attr.frozen(kw_only=True)
class HomeserverRooms:
    """Whoever acts is made known to the homeserver first, as is whoever is invited."""

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
        # Who is in it cannot be asked from outside. Younger ids name no server.
        server = room_id.partition(":")[2]
        if server in ("", self.homeserver.server_name):
            return FoundRoom(room_id=room_id)
        return FoundRoom(room_id=room_id, servers=(server,), resident=False)

    async def _find(self, alias: str) -> Optional[FoundRoom]:
        try:
            said = await self.homeserver.ask("GET", ("v3", "directory", "room", alias))
        except HomeserverRefused as refusal:
            if refusal.errcode == "M_NOT_FOUND":
                return None
            raise
        servers = said.get("servers")
        if not isinstance(servers, list):
            servers = []
        ours = self.homeserver.server_name
        others = [name for name in servers if isinstance(name, str) and name != ours]
        return FoundRoom(
            room_id=_room_id(said), servers=tuple(others[:MAX_WAYS]), resident=ours in servers
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
            said = await self.homeserver.act(creator, "POST", ("v3", "createRoom"), body)
        except HomeserverRefused as refusal:
            if refusal.errcode == "M_ROOM_IN_USE":
                raise RoomTaken(str(refusal)) from None
            raise
        return FoundRoom(room_id=_room_id(said))

    async def _is_public(self, room: FoundRoom) -> bool:
        """What a stranger is shown: the room's own state is for those who are in it, and whoever
        made a public room need not be anybody for whom we may act."""
        path = ("v1", "rooms", room.room_id, "hierarchy")
        query = [("limit", "1"), ("max_depth", "0")]
        try:
            said = await self.homeserver.ask("GET", path, query=query)
        except HomeserverRefused as refusal:
            if refusal.status in (403, 404):
                return False
            raise
        shown = said.get("rooms")
        first = shown[0] if isinstance(shown, list) and shown else None
        # The specification: without a join_rule, it is public.
        return isinstance(first, dict) and first.get("join_rule", "public") == "public"

    async def _invite(self, inviter: UserID, user_id: UserID, room: FoundRoom) -> None:
        await self.homeserver.introduce(user_id)
        # Looked at first: to invite somebody who is in it is an error, and somebody who is
        # invited would hear of it again.
        if await self._membership(inviter, user_id, room) in ("invite", "join"):
            return
        path, body = ("v3", "rooms", room.room_id, "invite"), {"user_id": str(user_id)}
        await self.homeserver.act(inviter, "POST", path, body)

    async def _membership(self, reader: UserID, user_id: UserID, room: FoundRoom) -> object:
        """As of ``m.room.member``; None: none, or the reader may not see it."""
        path = ("v3", "rooms", room.room_id, "state", "m.room.member", str(user_id))
        try:
            return (await self.homeserver.act(reader, "GET", path)).get("membership")
        except HomeserverRefused as refusal:
            if refusal.status in (403, 404):
                return None
            raise

    async def _join(self, user_id: UserID, room: FoundRoom) -> None:
        # ``server_name`` is what ``via`` was called before v1.12.
        ways = [(name, server) for server in room.servers for name in ("via", "server_name")]
        path = ("v3", "join", room.room_id)
        await self.homeserver.act(user_id, "POST", path, {}, query=ways)


def _room_id(said: Mapping[str, Any]) -> str:
    room_id = said.get("room_id")
    if not isinstance(room_id, str) or not room_id.startswith("!"):
        raise HomeserverSilent("the homeserver's answer has no room_id")
    return room_id
