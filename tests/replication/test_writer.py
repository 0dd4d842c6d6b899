"""A worker's writer over a master in the same process, and connections that fail."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from regsys import deadlines
from regsys.errors import (
    AwaitingApproval,
    Forbidden,
    InvalidRegistrationToken,
    LimitExceeded,
    NoMaster,
    SessionFinished,
    Unavailable,
    UnknownToken,
    UsernameTaken,
)
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.replication import wire
from regsys.replication.refusals import refusal_body, refusal_of
from regsys.replication.sender import Ask, Sender
from regsys.replication.writer import RemoteWriter, RowByCall
from regsys.testing.contracts.case import NOW_MS, user
from tests.accounts.test_writer import OwnWriter
from tests.contracts.writer import StartJobs, WriterContract, logins, new_account
from tests.replication import fixtures
from tests.replication.master import Cuts, HastyClock, InProcessMaster, over_sockets
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import rows


def remote(ask: Ask, clock: Clock, issue: Any = None) -> RemoteWriter:
    sender = Sender(ask=ask, clock=clock)
    issue = issue or logins().issue
    return RemoteWriter(sender=sender, make_row=RowByCall(sender=sender, issue=issue), issue=issue)


class Remote(WriterContract):
    """The contract of every writer, by a master whose ``cuts`` the worker has to mend."""

    cuts: Sequence[str] = ()

    def make(
        self: Any, logins: Any, planners: IJobPlanner, start_jobs: StartJobs
    ) -> tuple[IRegistrationWriter, IAuth]:
        local, auth = OwnWriter.make(self, logins, planners, start_jobs)
        self.master = InProcessMaster(local, logins, self.db)
        self.connection = Cuts(self.ask(), self.cuts)
        return remote(self.connection, HastyClock(), logins.issue), auth

    def ask(self: Any) -> Ask:
        return self.master.ask  # type: ignore[no-any-return]


class MemoryTests(InMemory, Remote, TestCase):
    async def test_replayed(self) -> None:
        """Another call with the same key is a replay; it is kept by no row of its own."""
        writer = self.writer()
        await writer.create_account(new_account())
        again = await writer.create_account(new_account())
        self.assertTrue(again.replayed)
        kept = await rows(self.db, "SELECT call, user_id FROM replication_calls")  # type: ignore
        self.assertEqual([row[1] for row in kept], [str(user("alice"))])

    async def test_notCountedTwice(self) -> None:
        """The master counts no registration that its worker has counted."""
        await self.writer().create_account(new_account())
        self.assertEqual(self.master.counted, [])  # type: ignore[attr-defined]


class PostgresTests(OnPostgreSQL, Remote, TestCase):
    pass


class SocketTests(InMemory, Remote, TestCase):
    def ask(self: Any) -> Ask:
        return over_sockets(self, self.master.resource())[0]


class LostRequestTests(InMemory, Remote, TestCase):
    cuts = ("request", "request", "gateway")


class LostAnswerTests(InMemory, Remote, TestCase):
    """The master has done everything, and the worker does not know."""

    cuts = ("answer", "stranger", "answer", "gateway")


class LostAnswerPostgresTests(OnPostgreSQL, Remote, TestCase):
    cuts = ("answer", "gateway")


class Recorder:
    """Answers by name of the call; ``sent`` are the calls: name, id, body."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str, Mapping[str, Any]]] = []
        self.lost = 0

    async def __call__(self, path: str, body: Mapping[str, Any], seconds: float) -> tuple[int, Any]:
        *_, name, _, call_id = path.split("/")
        self.sent.append((name, call_id, body))
        if self.lost:
            self.lost -= 1
            raise NoMaster("lost")
        answer = self.answers[name]
        return answer if isinstance(answer, tuple) else (200, answer)


FOREIGN = {
    "register_user": {"_INT_STREAM_POS": {"caches": 1}},
    "device_check_registered": fixtures.NEWEST_DEVICE_ANSWER,
    "post_register": {},
}


class ForeignMasterTests(TestCase):
    async def test_threeCalls(self) -> None:
        """A master that is not ours gets three calls; the login is the one that it gives."""
        recorder = Recorder(FOREIGN)
        created = await remote(recorder, HastyClock()).create_account(fixtures.OURS)
        self.assertEqual([name for name, _, _ in recorder.sent], [*FOREIGN])
        assert created.login is not None
        self.assertEqual(created.login.access_token.reveal(), "syt_YWxpY2U_abc")
        _, _, last = recorder.sent[-1]
        found = {"medium": "email", "address": "alice@mail.example", "validated_at": NOW_MS}
        self.assertEqual(
            last,
            {"auth_result": {"m.login.email.identity": found}, "access_token": "syt_YWxpY2U_abc"},
        )

    async def test_first(self) -> None:
        """So does one of the first, which gives no lifetimes."""
        answers = {
            **FOREIGN,
            "register_user": {},
            "device_check_registered": fixtures.FIRST_DEVICE_ANSWER,
        }
        created = await remote(Recorder(answers), HastyClock()).create_account(fixtures.OURS)
        assert created.login is not None
        self.assertEqual(created.login.access_token.reveal(), "MDAxabc")

    async def test_sameIds(self) -> None:
        """A retry, also of the client's, has the same ids for what follows the row."""
        recorder = Recorder(FOREIGN)
        recorder.lost = 2
        writer = remote(recorder, HastyClock())
        for _ in range(2):
            await writer.create_account(fixtures.OURS)
        ids = {
            name: {call_id for sent, call_id, _ in recorder.sent if sent == name}
            for name in FOREIGN
        }
        self.assertEqual(
            {name: len(found) for name, found in ids.items()},
            {"register_user": 2, "device_check_registered": 1, "post_register": 1},
        )
        everything = "".join(call_id for _, call_id, _ in recorder.sent)
        self.assertNotIn(fixtures.OURS.key, everything)

    async def test_guest(self) -> None:
        """For a guest there are no actions after the registration."""
        recorder = Recorder({**FOREIGN, "device_check_registered": fixtures.FIRST_DEVICE_ANSWER})
        await remote(recorder, HastyClock()).create_account(new_account(device=None, is_guest=True))
        self.assertEqual([name for name, _, _ in recorder.sent], ["register_user"])


class PatienceTests(TestCase):
    """How long a client waits for a master that is away."""

    async def gone(self, writer: RemoteWriter) -> None:
        error = await self.assertFailure(
            defer.Deferred.fromCoroutine(writer.create_account(new_account())), Unavailable
        )
        self.assertEqual((error.status, error.retry_after_ms), (503, 2000))
        self.flushLoggedErrors()

    async def test_refused(self) -> None:
        """A master that is away is asked again until the client must have its answer, ever more
        rarely, always with the same id."""
        clock, recorder = HastyClock(), Recorder({})
        recorder.lost = 1000
        await self.gone(remote(recorder, clock))
        self.assertLess(clock.seconds(), deadlines.REQUEST_S)
        self.assertGreater(clock.seconds(), deadlines.REQUEST_S - 1)
        self.assertLess(len(recorder.sent), 25)
        self.assertEqual(len({call_id for _, call_id, _ in recorder.sent}), 1)

    async def test_stalled(self) -> None:
        """No try lasts longer than the request may."""
        clock = HastyClock()
        given: list[float] = []

        async def stalled(path: str, body: Any, seconds: float) -> tuple[int, Any]:
            given.append(seconds)
            clock.rightNow += seconds
            raise NoMaster("no answer")

        await self.gone(remote(stalled, clock))
        self.assertLessEqual(clock.seconds(), deadlines.REQUEST_S)
        self.assertEqual(len(given), 3)

    async def test_woken(self) -> None:
        """Who waits does not wait any longer than who comes once the master is back."""
        clock, recorder = Clock(), Recorder({wire.DEACTIVATE: {}})
        recorder.lost = 1
        writer = remote(recorder, clock)
        first = defer.Deferred.fromCoroutine(writer.deactivate(user("alice")))
        self.assertNoResult(first)
        await writer.deactivate(user("bob"))
        self.successResultOf(first)
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_requestsDeadline(self) -> None:
        """Within a request there is only what is left of its time."""
        clock, recorder = HastyClock(), Recorder({})
        recorder.lost = 1000
        with deadlines.Deadline(2.0):
            await self.gone(remote(recorder, clock))
        deadlines.leave()
        self.assertLess(clock.seconds(), 2.0)

    async def test_final(self) -> None:
        """A refusal is final, and not asked for again."""
        recorder = Recorder(
            {"register_user": (400, {"errcode": "M_USER_IN_USE", "error": "Taken."})}
        )
        writer = remote(recorder, HastyClock())
        error = await self.assertFailure(
            defer.Deferred.fromCoroutine(writer.create_account(new_account())), UsernameTaken
        )
        self.assertEqual((error.text, len(recorder.sent)), ("Taken.", 1))

    async def test_misconfigured(self) -> None:
        """A wrong secret, or a listener without these calls, is the operator's affair: a client
        gets a 503 at once."""
        for status, errcode in ((401, "M_FORBIDDEN"), (404, "M_UNRECOGNIZED")):
            recorder = Recorder({"register_user": (status, {"errcode": errcode, "error": "No."})})
            await self.gone(remote(recorder, HastyClock()))
            self.assertEqual(len(recorder.sent), 1)

    async def test_logged(self) -> None:
        """The log has a line when the master goes, another if it then refuses the worker, and one
        with the number of calls when it is back."""
        answers: dict[str, Any] = {}
        recorder = Recorder(answers)
        writer = remote(recorder, HastyClock())
        with capturedLogs() as events:
            for _ in range(3):
                recorder.lost = 1000
                await self.gone(writer)
            recorder.lost = 0
            answers["register_user"] = (401, {"errcode": "M_FORBIDDEN", "error": "No."})
            for _ in range(2):
                await self.gone(writer)
            answers["register_user"] = (400, {"errcode": "M_USER_IN_USE", "error": "Taken."})
            for _ in range(2):
                making = defer.Deferred.fromCoroutine(writer.create_account(new_account()))
                await self.assertFailure(making, UsernameTaken)
        lines = [formatEvent(event) for event in events if "log_format" in event]
        self.assertEqual(len(lines), 3, lines)
        self.assertIn("the master does not answer register_user: lost", lines[0])
        self.assertIn("refuses this worker's calls", lines[1])
        self.assertIn("the master answers again: 5 calls had failed", lines[2])


class RefusalTests(TestCase):
    def test_ours(self) -> None:
        """An error of our master is the same one in the worker."""
        for error in (
            UsernameTaken(),
            UnknownToken(soft_logout=True),
            LimitExceeded(1500),
            AwaitingApproval(),
            InvalidRegistrationToken(),
            SessionFinished(),
            Forbidden("A reason of its own."),
        ):
            found = refusal_of(error.status, refusal_body(error))
            assert found is not None
            self.assertIs(type(found), type(error))
            self.assertEqual((found.status, found.body), (error.status, error.body))
            self.assertEqual(found.retry_after_ms, error.retry_after_ms)

    def test_foreign(self) -> None:
        """One of another program is told by its errcode, and keeps its status and its words."""
        found = refusal_of(
            400, {"errcode": "M_USER_IN_USE", "error": "ID taken", "_INT_STREAM_POS": {}}
        )
        assert found is not None
        self.assertIs(type(found), UsernameTaken)
        self.assertEqual(found.body, {"errcode": "M_USER_IN_USE", "error": "ID taken"})
        strange = refusal_of(418, {"errcode": "M_TEAPOT", "error": 5, "regsys_error": "NoMaster"})
        assert strange is not None
        self.assertEqual((strange.status, strange.errcode), (418, "M_TEAPOT"))

    def test_none(self) -> None:
        for body in (None, [], {}, {"errcode": 5}):
            self.assertIsNone(refusal_of(500, body))
