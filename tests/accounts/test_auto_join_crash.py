"""A process killed at any statement boundary of a registration, or of the jobs behind it, leaves
nothing undone: every user with an account joins the rooms, once (threat C1)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SynchronousTestCase

from regsys.testing.system import SERVER_NAME
from tests.support.crash import LATER_S, CrashCase, OnPostgreSQL, OnSQLite, Process
from tests.support.due_jobs import run_due
from tests.support.folder_rooms import FolderRooms

ROOMS = [f"#{name}:{SERVER_NAME}" for name in ("lobby", "news")]


class AutoJoinCrashTests(CrashCase):
    options: ClassVar[Mapping[str, Any]] = {"auto_join_rooms": ROOMS}

    def setUp(self: Any) -> None:
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.rooms = FolderRooms(folder)

    def test_joined(self) -> None:
        """After a restart every user with an account is in each room; each room was created once,
        and no user joined one twice."""

        def before(process: Process, name: str) -> str:
            if not self.rooms.log():
                process.register("first")
            return name

        self.crash_everywhere(self.request, self.retry, before)

    def test_firstUser(self) -> None:
        """The same holds if the process dies whose user, the first, was to create the rooms."""

        def before(process: Process, name: str) -> str:
            for table in ("outcomes", "milestones", "first_times", "jobs", "users"):
                process.change(f"DELETE FROM {table}")
            shutil.rmtree(self.rooms.folder)
            self.rooms.folder.mkdir()
            return name

        self.crash_everywhere(self.request, self.retry, before)

    def request(self, process: Process, name: str) -> None:
        process.register(name)

    def retry(self, process: Process, name: str, issued: set[str]) -> None:
        if not issued:
            process.register(name)
        process.clock.advance(LATER_S)
        process.result(run_due(process.subsystem.jobs))
        users = process.rows("SELECT user_id FROM users")
        self.assertIn(f"@{name}:{SERVER_NAME}", users)
        expected = [f"create {room}" for room in ROOMS]
        expected += [f"join {room} {user_id}" for room in ROOMS for user_id in users]
        self.assertEqual(sorted(self.rooms.log()), sorted(expected))
        self.assertEqual(process.rows("SELECT job_id FROM jobs"), set())


class SQLiteAutoJoinCrashTests(OnSQLite, AutoJoinCrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLAutoJoinCrashTests(OnPostgreSQL, AutoJoinCrashTests, SynchronousTestCase):
    """On a real server."""
