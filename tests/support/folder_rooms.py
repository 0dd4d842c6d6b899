"""Rooms in a folder, which processes share and which outlive them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional
from urllib.parse import quote

import attr
from zope.interface import implementer

from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IRooms
from regsys.model import FoundRoom, NewRoom, UserID

LOG = "log"


@implementer(IRooms)
@attr.frozen
class FolderRooms:
    """A public room is a folder, each member a file there. Each effect is a line of the log:
    ``create #lobby:…``, ``join #lobby:… @alice:…``; so is ``taken #lobby:…``."""

    folder: Path

    async def find(self, room: str) -> Optional[FoundRoom]:
        return FoundRoom(room_id=room) if self._place(room).is_dir() else None

    async def create(self, creator: UserID, room: NewRoom) -> FoundRoom:
        try:
            self._place(room.alias).mkdir()
        except FileExistsError:
            self._note(f"taken {room.alias}")
            raise RoomTaken(room.alias) from None
        self._note(f"create {room.alias}")
        made = FoundRoom(room_id=room.alias)
        await self.join(creator, made)
        return made

    async def is_public(self, room: FoundRoom) -> bool:
        return True

    async def invite(self, inviter: UserID, user_id: UserID, room: FoundRoom) -> None:
        raise RoomRefused("here all rooms are public")

    async def join(self, user_id: UserID, room: FoundRoom) -> None:
        try:
            (self._place(room.room_id) / quote(str(user_id), safe="")).touch(exist_ok=False)
        except FileExistsError:
            return
        self._note(f"join {room.room_id} {user_id}")

    def log(self) -> list[str]:
        path = self.folder / LOG
        return path.read_text().splitlines() if path.exists() else []

    def _place(self, room: str) -> Path:
        return self.folder / quote(room, safe="")

    def _note(self, line: str) -> None:
        with (self.folder / LOG).open("a") as file:
            print(line, file=file)
