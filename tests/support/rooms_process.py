"""``python -m tests.support.rooms_process FOLDER -c FILE``: rooms in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional, Sequence

from twisted.internet import reactor
from twisted.internet.task import deferLater

from regsys import logs, wiring
from regsys.config import load
from regsys.model import FoundRoom
from regsys.processes.service import serve
from tests.support.folder_rooms import FolderRooms

# How long a look-up of a room takes: long enough for all concurrent look-ups to find none.
LOOK_S = 0.5


class SlowRooms(FolderRooms):
    async def find(self, room: str) -> Optional[FoundRoom]:
        found = await super().find(room)
        await deferLater(reactor, LOOK_S)  # type: ignore[arg-type]
        return found


def main(folder: str, *options: str) -> int:
    paths: Sequence[str] = [word for word in options if word != "-c"]
    config = load(paths)
    logs.begin(config.log_config, config.server_name)
    subsystem = wiring.standalone(config, reactor, rooms=SlowRooms(Path(folder)))
    return serve(config, subsystem, reactor, "rooms are kept in a folder")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
