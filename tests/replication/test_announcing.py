"""A worker tells its master at once that it has left jobs."""

from __future__ import annotations

from typing import Any, Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import NoMaster
from regsys.replication.announcing import AnnouncedJobs
from regsys.replication.wire import RUN_JOBS_PATH


class AnnouncedJobsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[Any] = []
        self.answers: list[Deferred[tuple[int, Any]]] = []
        self.announced = AnnouncedJobs(self.ask)

    async def ask(self, path: str, body: Mapping[str, Any], seconds: float) -> tuple[int, Any]:
        self.assertEqual(path, RUN_JOBS_PATH)
        self.assertLess(seconds, 5)
        self.told.append(body["kinds"])
        self.answers.append(Deferred())
        return await self.answers[-1]

    def announce(self, *kinds: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.announced(kinds))

    def test_oneAtATime(self) -> None:
        """While the master is being told, what comes is kept, and told in one request."""
        first = self.announce("mail")
        for kinds in (["sms"], ["mail", "sms"], ["room"]):
            self.successResultOf(self.announce(*kinds))
        self.assertEqual(self.told, [["mail"]])
        self.answers[0].callback((200, {}))
        self.assertEqual(self.told, [["mail"], ["mail", "room", "sms"]])
        self.answers[1].callback((404, {"errcode": "M_UNRECOGNIZED"}))
        self.successResultOf(first)
        self.announce("mail")
        self.assertEqual(self.told[2:], [["mail"]])

    def test_masterAway(self) -> None:
        """A master that is away is not told again: it looks for jobs when it is back. The next
        jobs are announced as ever."""
        first = self.announce("mail")
        self.answers[0].errback(NoMaster("connection refused"))
        self.successResultOf(first)
        self.assertEqual(self.told, [["mail"]])
        self.announce("sms")
        self.assertEqual(self.told[1:], [["sms"]])
