"""Sixteen first users at once, against real processes on both databases: each room is created once,
and every user joins (threat C5)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support.folder_rooms import FolderRooms
from tests.support.patience import until
from tests.support.races import (
    CONTENDERS,
    PASSWORD,
    OnPostgreSQL,
    OnSQLite,
    OnTwoProcesses,
    RaceCase,
)
from tests.support.service_process import SERVER_NAME, ServiceProcess

ROOMS = [f"#{name}:{SERVER_NAME}" for name in ("lobby", "news")]


class AutoJoinRaces(RaceCase):
    options: ClassVar[Mapping[str, Any]] = {"auto_join_rooms": ROOMS}

    def start(self: Any, config: Path) -> ServiceProcess:
        folder = config.parent.parent / "rooms"
        folder.mkdir(exist_ok=True)
        self.rooms = FolderRooms(folder)
        program = ("-m", "tests.support.rooms_process", str(folder))
        return ServiceProcess(self, config, program=program)

    def test_firstOnes(self: Any) -> None:
        """One of sixteen first users creates the rooms, and no other tries to; all of them join."""
        answers = self.race(
            lambda contender: {
                "username": f"user{contender}",
                "password": PASSWORD,
                "auth": {"type": "m.login.dummy"},
            }
        )
        self.assertEqual([answer.status for answer in answers], [200] * CONTENDERS)
        until(lambda: len(self.rooms.log()) >= 2 + 2 * CONTENDERS, lambda: f"{self.rooms.log()}")
        done = Counter(" ".join(line.split()[:2]) for line in self.rooms.log())
        expected = {f"create {room}": 1 for room in ROOMS}
        expected.update({f"join {room}": CONTENDERS for room in ROOMS})
        self.assertEqual(done, expected, "\n".join(item.output for item in self.services))
        self.assertAccounts(CONTENDERS)


class SQLiteAutoJoinRacesTests(OnSQLite, AutoJoinRaces, SynchronousTestCase):
    pass


class PostgreSQLAutoJoinRacesTests(OnPostgreSQL, AutoJoinRaces, SynchronousTestCase):
    pass


class TwoProcessesAutoJoinRacesTests(OnTwoProcesses, AutoJoinRaces, SynchronousTestCase):
    pass
