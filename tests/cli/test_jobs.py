"""``regsys jobs``: its output, and its effects."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.audit.audit_log import NO_AUDIT_LOG
from regsys.cli import commands
from regsys.cli import jobs as cli
from regsys.config import Config
from regsys.errors import JobNotFound
from regsys.model.jobs import NewJob
from regsys.storage.jobs import JobStore
from regsys.testing.database import memory_database
from tests.cli.test_commands import CommandCase

NOW_MS = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
ABOUT = {"user_id": "@alice:test.example", "room": "#lobby:test.example", "key": "canary"}


class ActionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.jobs = JobStore(memory_database(self))

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_nobodyRunsIt(self) -> None:
        """A job that no process has taken for a minute says what it waits for."""
        new = NewJob(kind="tell_follower:ledger", job_id="told", payload=ABOUT)
        for ago_ms, more in ((60_000, ""), (60_001, " (no running process takes this kind)")):
            self.wait(self.jobs.add([new], NOW_MS - ago_ms))
            self.assertTrue(self.do("list").endswith(f" UTC{more}"), self.do("list"))
            self.wait(self.jobs.postpone("told", NOW_MS - ago_ms, "ValueError: away"))
            self.assertTrue(self.do("list").endswith(f" UTC{more}  ValueError: away"))
            self.wait(self.jobs.finish("told"))

    def start(self, action: str, **arguments: Any) -> Deferred[str]:
        given = Namespace(**{"most": 100, "all": False, "json": False, **arguments})
        return Deferred.fromCoroutine(cli.ACTIONS[action](self.jobs, given, NOW_MS, NO_AUDIT_LOG))

    def do(self, action: str, **arguments: Any) -> str:
        return self.successResultOf(self.start(action, **arguments))

    def add(self, *names: str, fail: bool = True) -> None:
        new = [NewJob(kind="auto_join", payload=ABOUT, job_id=name) for name in names]
        self.wait(self.jobs.add(new, NOW_MS))
        if fail:
            for job in self.wait(self.jobs.claim({"auto_join": 100}, NOW_MS, 1)):
                self.wait(self.jobs.postpone(job.job_id, NOW_MS + 60_000, "RoomRefused: full"))

    def test_list(self) -> None:
        """One line for each job: its subject, and since when it waits or why it failed; nothing
        else of its payload."""
        self.assertEqual(self.do("list"), "There are no jobs: everything is done.")
        self.add("one")
        self.add("two", fail=False)
        about = "auto_join  @alice:test.example #lobby:test.example"
        self.assertEqual(
            self.do("list").splitlines(),
            [
                f"one  {about}  failed, attempt 1, again 2023-11-14 22:14:20 UTC"
                "  RoomRefused: full",
                f"two  {about}  waiting since 2023-11-14 22:13:20 UTC",
            ],
        )
        self.assertIn("oldest 1;", self.do("list", most=1))
        told = json.loads(self.do("list", json=True))
        errors = {job["job_id"]: job["last_error"] for job in told}
        self.assertEqual(errors, {"one": "RoomRefused: full", "two": None})

    def test_retry(self) -> None:
        """One job is retried, or all that have failed; an unknown id is reported."""
        self.add("one", "two")
        self.assertIn("1 to be tried again", self.do("retry", job_id="one"))
        (job,) = self.wait(self.jobs.claim({"auto_join": 9}, NOW_MS, 1))
        self.wait(self.jobs.finish(job.job_id))
        self.failureResultOf(self.start("retry", job_id="gone"), JobNotFound)
        self.assertIn("1 to be", self.do("retry", job_id=None, all=True))
        self.assertIn("Nothing to retry", self.do("retry", job_id=None, all=True))


class ProcessTests(CommandCase):
    def test_jobs(self) -> None:
        """The auto-join of a user waits if there is no homeserver, and the operator sees it;
        without an action the jobs are listed, with the same options."""
        config = self.config(auto_join_rooms=["#lobby:test.example"])
        self.regsys("register-user", "-c", config, "alice", stdin="swordfish\n")
        for arguments, bounded in (([], False), (["--most", "1"], True)):
            listed = self.regsys("jobs", "-c", config, *arguments)
            self.assertEqual(listed.returncode, 0, listed.stderr)
            self.assertIn("auto_join  @alice:test.example #lobby:test.example", listed.stdout)
            self.assertEqual("the oldest 1;" in listed.stdout, bounded, arguments)
        retried = self.regsys("jobs", "retry", "--all", "-c", config)
        self.assertIn("Nothing to retry", retried.stdout)
        refused = self.regsys("jobs", "-c", config, "retry", "gone")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("No failed job with this id", refused.stderr)
        for wrong in (["retry"], ["retry", "x", "--all"], ["mend"], ["list", "--most", "0"]):
            done = self.called("jobs", *wrong, "-c", config)
            self.assertEqual(done.returncode, 2, wrong)

    def test_listSpelledOut(self) -> None:
        """The action's name changes nothing, wherever the options stand."""
        given: list[Namespace] = []

        def kept(config: Config, arguments: Namespace) -> int:
            given.append(arguments)
            return 0

        self.patch(commands, "jobs", kept)
        config = self.config()
        for short, *others in (
            ([], ["list"]),
            (["--most", "1"], ["list", "--most", "1"], ["--most", "1", "list"]),
        ):
            given.clear()
            for arguments in (short, *others):
                done = self.called("jobs", "-c", config, *arguments)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(given[1:], given[:1] * len(others))
