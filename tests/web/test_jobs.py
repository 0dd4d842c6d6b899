"""Waiting and failed jobs, over HTTP for administrators."""

from __future__ import annotations

from typing import Any

from regsys.accounts.embedded_writer import RECOVERY
from regsys.errors import RoomRefused
from regsys.model import UserID
from regsys.model.jobs import NewJob
from regsys.storage.jobs import JobStore
from regsys.testing import MemoryRoom, MemoryRooms
from tests.support.case import SystemCase
from tests.support.client import Answer
from tests.support.due_jobs import run_due

JOBS = "/_regsys/v1/jobs"
LOBBY = "#lobby:test.example"
FLOODED = f"RoomRefused: {LOBBY}: flooded"


class JobsCase(SystemCase):
    """With an administrator, and a failing room."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.register("root")["access_token"]
        self.change("UPDATE users SET admin = TRUE")
        self.rooms = MemoryRooms(troubles={LOBBY: RoomRefused("flooded")})
        self.system(database=self.database, rooms=self.rooms, auto_join_rooms=[LOBBY])
        self.alice = self.register("alice")["access_token"]
        self.assertEqual(self.failed_jobs.flush(), [FLOODED])

    def ask(self, method: str = "GET", path: str = "") -> Answer:
        return self.client.ask(method, JOBS + path, token=self.root)

    def listed(self, path: str = "") -> Any:
        answer = self.ask(path=path)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["jobs"]


class ListTests(JobsCase):
    def test_failed(self) -> None:
        """A failed job is listed with its subject, its error, and its next attempt."""
        answer = self.ask()
        (job,) = answer.json["jobs"]
        self.assertGreater(job.pop("next_try_ts"), self.now_ms)
        self.assertEqual(len(job.pop("job_id")), 24)
        self.assertEqual(
            job,
            {
                "kind": "auto_join",
                "user_id": "@alice:test.example",
                "room": LOBBY,
                "attempts": 1,
                "created_ts": self.now_ms,
                "last_error": FLOODED,
            },
        )
        waiting = {"auto_join": {"count": 1, "oldest_ts": self.now_ms}}
        self.assertEqual(answer.json["waiting"], waiting)

    def test_noSecret(self) -> None:
        """No other part of a job's payload is shown."""
        payload = {"registration_token": "canary", "user_id": "@bob:test.example", "key": "canary"}
        job = NewJob(kind=RECOVERY, payload=payload)
        self.wait(JobStore(self.database).add([job], self.now_ms))
        self.assertIn("@bob", repr(self.listed()))
        self.assertNotIn("canary", repr(self.ask()))

    def test_limit(self) -> None:
        """The oldest are listed, up to the limit; the answer has the total."""
        new = [NewJob(kind="greet", job_id=f"{number:03}") for number in range(150)]
        self.wait(JobStore(self.database).add(new, self.now_ms + 1))
        for query, count in (("", 100), ("?limit=1", 1), ("?limit=1000", 151)):
            self.assertEqual(len(self.listed(query)), count, query)
        self.assertEqual(self.listed("?limit=1")[0]["kind"], "auto_join")
        self.assertEqual(self.ask().json["waiting"]["greet"]["count"], 150)
        for bad in ("0", "1001", "-1", "many", "", "%C2%B2", "9" * 5000):
            self.assertRefused(self.ask(path=f"?limit={bad}"), 400, "M_INVALID_PARAM", bad)


class RetryTests(JobsCase):
    def run_due(self) -> None:
        self.wait(run_due(self.subsystem.jobs))

    def test_one(self) -> None:
        """A job is retried as soon as it is asked for."""
        (job,) = self.listed()
        self.rooms.troubles.clear()
        self.rooms.add(LOBBY, MemoryRoom(room_id="!lobby", public=True))
        self.run_due()
        self.assertEqual(len(self.listed()), 1)
        answer = self.ask("POST", f"/{job['job_id']}/retry")
        self.assertEqual((answer.status, answer.json), (200, {"retried": 1}))
        self.run_due()
        self.assertEqual(self.listed(), [])
        self.assertIn(UserID("alice", "test.example"), self.rooms.by_alias[LOBBY].members)
        again = self.ask("POST", f"/{job['job_id']}/retry")
        self.assertRefused(again, 404, "M_NOT_FOUND")

    def test_all(self) -> None:
        """So are all of them at once; the answer has their number."""
        self.register("bob")
        self.assertEqual(self.ask("POST", "/retry").json, {"retried": 2})
        self.run_due()
        self.assertEqual([job["attempts"] for job in self.listed()], [2, 2])
        self.assertEqual(self.failed_jobs.flush(), [FLOODED] * 3)

    def test_administratorsOnly(self) -> None:
        """Other clients are refused."""
        for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/x/retry")):
            for token, status, errcode in (
                (None, 401, "M_MISSING_TOKEN"),
                ("syt_nobodys", 401, "M_UNKNOWN_TOKEN"),
                (self.alice, 403, "M_FORBIDDEN"),
            ):
                answer = self.client.ask(method, JOBS + path, token=token)
                self.assertRefused(answer, status, errcode, (method, path))
