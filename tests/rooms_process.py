"""``regsys serve`` with rooms in a folder: ``python -m tests.rooms_process FOLDER -c FILE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence

from twisted.internet import reactor

from regsys import build, logs
from regsys.config import load
from regsys.service import serve
from tests.folder_rooms import FolderRooms


def main(folder: str, *options: str) -> int:
    paths: Sequence[str] = [word for word in options if word != "-c"]
    config = load(paths)
    logs.begin(config.log_config)
    return serve(
        config, build.standalone(config, reactor, rooms=FolderRooms(Path(folder))), reactor
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
