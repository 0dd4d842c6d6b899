"""User-interactive authentication by itself: sessions, stages, and flows."""

from __future__ import annotations

from typing import Any, Coroutine, Optional

import attr
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import (
    BadJSON,
    ClientLeft,
    InvalidParam,
    LimitExceeded,
    StageFailed,
    Unavailable,
    UnknownSession,
    UnknownStage,
    WrongSession,
)
from regsys.model import Challenge, Client, UIASession
from regsys.model.networks import address_key
from regsys.storage.sessions import SessionStore
from regsys.testing.database import memory_database
from regsys.uia.sessions import Auth, Progress, UserInteractiveAuth
from regsys.uia.stages import DummyStage
from regsys.uia.turns import MOST, MOST_WAIT_S, RETRY_MS, STALLED_S
from tests.support.question_stage import ANSWERED, QUESTION, QuestionStage

DUMMY = "m.login.dummy"
URI = "/_matrix/client/v3/register"
CLIENT = Client("192.0.2.1", "curl")
HOUR_S = 3600


class AuthTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """The auth object has the session, the stage's type, and the stage's own keys."""
        fields = {"session": "S", "type": DUMMY, "more": 1}
        self.assertEqual(Auth.from_body({"auth": fields}), Auth("S", DUMMY, fields, given=True))

    def test_noneOrEmpty(self) -> None:
        """An empty auth object counts as none, and so does null: all of them begin a session."""
        for body in ({}, {"auth": {}}, {"auth": None}, {"auth": {"session": None, "type": None}}):
            self.assertEqual(Auth.from_body(body), Auth())
        self.assertTrue(Auth.from_body({"auth": {"session": "S"}}).given)
        self.assertTrue(Auth.from_body({"auth": {"else": None}}).given)

    def test_wrongTypes(self) -> None:
        """Auth is an object, and its session and type are strings."""
        for auth in ([], "S", 1, {"session": 1}, {"type": ["x"]}):
            self.assertRaises(BadJSON, Auth.from_body, {"auth": auth})

    def test_repr(self) -> None:
        """A stage's keys may be secret, and do not appear in the repr."""
        self.assertNotIn("hunter2", repr(Auth.from_body({"auth": {"password": "hunter2"}})))


class ProgressTests(SynchronousTestCase):
    flows = ((QUESTION, DUMMY), ("m.login.terms",))

    def test_completes(self) -> None:
        """A session is complete with every stage of one flow, in any order."""
        for passed, complete in (
            ((), False),
            ((DUMMY,), False),
            ((QUESTION, DUMMY), True),
            ((DUMMY, QUESTION), True),
            (("m.login.terms",), True),
            (("m.login.terms", DUMMY), True),
        ):
            progress = Progress(dict.fromkeys(passed, True))
            self.assertEqual(progress.completes(self.flows), complete, passed)

    def test_failureNeverCompletes(self) -> None:
        """A request whose stage failed does not complete, whatever was passed before."""
        progress = Progress({"m.login.terms": True}, StageFailed("M_UNAUTHORIZED", "no"))
        self.assertFalse(progress.completes(self.flows))


class UIACase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.question = QuestionStage()
        self.database = memory_database(self, self.clock)
        self.sessions = SessionStore(self.database)
        self.uia = UserInteractiveAuth(
            sessions=self.sessions,
            stages={DUMMY: DummyStage(), QUESTION: self.question},
            clock=self.clock,
            key_of=address_key,
            per_address=2,
        )

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def refused(self, coroutine: Coroutine[Any, Any, Any], error: type[Exception]) -> Any:
        return self.failureResultOf(Deferred.fromCoroutine(coroutine), error).value

    def begin(self, client: Client = CLIENT) -> UIASession:
        return self.uia.begin("POST", URI, client, {"username": "alice"})

    def stored(self, client: Client = CLIENT) -> UIASession:
        session = self.wait(self.uia.store(self.begin(client), Progress({})))
        assert isinstance(session, UIASession)
        return session

    def attempt(self, session: UIASession, auth: Any) -> Progress:
        progress = self.wait(self.uia.attempt(session, Auth.from_body({"auth": auth}), CLIENT))
        assert isinstance(progress, Progress)
        return progress


class SessionTests(UIACase):
    def test_begin(self) -> None:
        """A new session has an id of 24 letters, 48 hours to live, and no row yet."""
        first, second = self.begin(), self.begin()
        self.assertRegex(first.session_id, r"\A[A-Za-z]{24}\Z")
        self.assertNotEqual(first.session_id, second.session_id)
        self.assertEqual(first.expires_ms - first.created_ms, 48 * HOUR_S * 1000)
        self.assertEqual((first.created_ms, first.clients), (1_000_000, (CLIENT,)))
        self.refused(self.uia.find(first.session_id, "POST", URI), UnknownSession)

    def test_uriOfRegistration(self) -> None:
        """A URI of more than 1024 characters is refused."""
        self.uia.begin("POST", "/" * 1024, CLIENT, {})
        self.assertRaises(InvalidParam, self.uia.begin, "POST", "/" * 1025, CLIENT, {})

    def test_sessionsOfASite(self) -> None:
        """The networks of a /48 of IPv6 together have eight times an address's sessions."""
        for number in range(16):
            self.stored(Client(f"2001:db8:0:{number:x}::1", ""))
        one_more = self.begin(Client("2001:db8:0:ff::1", ""))
        self.refused(self.uia.store(one_more, Progress({})), LimitExceeded)
        self.stored(Client("2001:db8:1:ff::1", ""))

    def test_storedAndFound(self) -> None:
        """A stored session is loaded unchanged, with its passed stages."""
        session = self.wait(self.uia.store(self.begin(), Progress({DUMMY: True})))
        self.assertEqual(session.results, {DUMMY: True})
        self.assertEqual(self.wait(self.uia.find(session.session_id, "POST", URI)), session)

    def test_expiry(self) -> None:
        """48 hours after its beginning a session is unknown."""
        session = self.stored()
        self.clock.advance(48 * HOUR_S - 0.001)
        self.wait(self.uia.find(session.session_id, "POST", URI))
        self.clock.advance(0.001)
        self.refused(self.uia.find(session.session_id, "POST", URI), UnknownSession)

    def test_oneRequest(self) -> None:
        """A session belongs to one method and one URI, version and query included."""
        session = self.stored()
        for method, uri in (
            ("PUT", URI),
            ("POST", URI.replace("v3", "r0")),
            ("POST", f"{URI}?kind=user"),
            ("POST", f"{URI}/"),
        ):
            self.refused(self.uia.find(session.session_id, method, uri), WrongSession)

    def test_sessionsPerAddress(self) -> None:
        """An address, or a /64 of IPv6, has a bounded number of unfinished sessions."""
        for first, neighbour in (
            (CLIENT, CLIENT),
            (Client("2001:db8::1"), Client("2001:db8::2")),
        ):
            self.stored(first)
            self.stored(neighbour)
            refusal = self.refused(self.uia.store(self.begin(first), Progress({})), LimitExceeded)
            self.assertEqual(refusal.retry_after_ms, 60_000)
        self.stored(Client("192.0.2.2"))

    def test_onlyUnfinishedSessionsCount(self) -> None:
        """Sessions that have made their account, or have expired, make room."""
        session = self.stored()
        self.stored()
        self.wait(
            self.database.transaction(
                "test",
                lambda txn: txn.run(
                    "UPDATE uia_sessions SET finished = TRUE WHERE session_id = ?",
                    (session.session_id,),
                ),
            )
        )
        self.stored()
        self.refused(self.uia.store(self.begin(), Progress({})), LimitExceeded)
        self.clock.advance(48 * HOUR_S)
        self.stored()


class AttemptTests(UIACase):
    def test_passed(self) -> None:
        """The result of a passed stage is added to the session's earlier results."""
        session = attr.evolve(self.begin(), results={DUMMY: True})
        progress = self.attempt(session, ANSWERED)
        self.assertEqual(progress, Progress({DUMMY: True, QUESTION: {"answered": "a mirror"}}))

    def test_context(self) -> None:
        """A stage gets its session, and the client address of this request."""
        session = self.begin(Client("192.0.2.99"))
        self.attempt(session, ANSWERED)
        (context,) = self.question.contexts
        self.assertEqual((context.session, context.client), (session, CLIENT))

    def test_failed(self) -> None:
        """A failed stage leaves the session unchanged, and has a reason."""
        session = attr.evolve(self.begin(), results={DUMMY: True})
        progress = self.attempt(session, {"type": QUESTION, "answer": "a book"})
        self.assertEqual(progress.results, {DUMMY: True})
        assert progress.failure is not None
        self.assertEqual(progress.failure.errcode, "M_UNAUTHORIZED")

    def test_withoutType(self) -> None:
        """Without a type no stage is tried."""
        session = attr.evolve(self.begin(), results={DUMMY: True})
        self.assertEqual(self.attempt(session, {"session": "S"}), Progress({DUMMY: True}))

    def test_notOnOffer(self) -> None:
        """An unknown stage is not a failed stage."""
        auth = Auth.from_body({"auth": {"type": "m.login.terms"}})
        self.refused(self.uia.attempt(self.begin(), auth, CLIENT), UnknownStage)

    def test_backendDown(self) -> None:
        """A stage that can't be checked now is neither passed nor failed."""

        class Down(QuestionStage):
            async def check(self, auth: Any, context: Any) -> Any:
                raise Unavailable()

        uia = attr.evolve(self.uia, stages={QUESTION: Down()})
        auth = Auth.from_body({"auth": ANSWERED})
        self.refused(uia.attempt(self.begin(), auth, CLIENT), Unavailable)


class ChallengeTests(UIACase):
    flows = ((QUESTION, DUMMY), (DUMMY,))

    def test_first(self) -> None:
        """The first challenge has the flows in their order, and the params of stages that have
        some; it has no list of completed stages."""
        session = self.begin()
        self.assertEqual(
            self.uia.challenge(session, Progress({}), self.flows, asked=False),
            Challenge(
                session_id=session.session_id,
                flows=self.flows,
                params={QUESTION: self.question.params(session)},
            ),
        )

    def test_asked(self) -> None:
        """A follow-up gets the list of completed stages, in the order of their completion."""
        for results, completed in (
            ({}, ()),
            ({DUMMY: True, QUESTION: {}}, (DUMMY, QUESTION)),
        ):
            challenge = self.uia.challenge(self.begin(), Progress(results), self.flows, True)
            self.assertEqual((challenge.completed, challenge.errcode), (completed, None))

    def test_failed(self) -> None:
        """After a failed stage the challenge has the reason."""
        progress = Progress({DUMMY: True}, StageFailed("M_UNAUTHORIZED", "No."))
        challenge = self.uia.challenge(self.begin(), progress, self.flows, asked=True)
        self.assertEqual(
            (challenge.completed, challenge.errcode, challenge.error),
            ((DUMMY,), "M_UNAUTHORIZED", "No."),
        )


class TurnTests(UIACase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[str] = []

    def enter(
        self,
        name: str,
        session_id: str,
        until: Deferred[None],
        gone: Optional[Deferred[None]] = None,
    ) -> Deferred[None]:
        async def entering() -> None:
            async with self.uia.turn(session_id, gone):
                self.events.append(f"{name} in")
                with self.uia.turns.waiting_elsewhere(session_id):
                    await until
                self.events.append(f"{name} out")

        return Deferred.fromCoroutine(entering())

    def enter_many(self, how_many: int) -> tuple[Deferred[None], list[Deferred[None]]]:
        """One that goes on when the first of these is fired, and so many behind it."""
        first: Deferred[None] = Deferred()
        entered = [self.enter("first", "S", first)]
        entered += [self.enter(f"{number}", "S", succeed(None)) for number in range(how_many)]
        return first, entered

    def test_manyAtOnce(self) -> None:
        """Behind a request that goes on soon many may wait, but not any number."""
        first, entered = self.enter_many(MOST)
        self.failureResultOf(self.enter("late", "S", first), LimitExceeded)
        self.clock.advance(STALLED_S - 0.01)
        first.callback(None)
        for done in entered:
            self.successResultOf(done)
        self.assertEqual(self.events[-1], f"{MOST - 1} out")

    def test_stalled(self) -> None:
        """Behind a stalled request four may wait; the others, and later ones, are told to retry.
        When it goes on, there is room again."""
        first, (_, *behind) = self.enter_many(6)
        self.clock.advance(STALLED_S)
        for refused in (*behind[4:], self.enter("late", "S", first)):
            error = self.failureResultOf(refused, LimitExceeded).value
            self.assertEqual(error.retry_after_ms, RETRY_MS)
        first.callback(None)
        for done in behind[:4]:
            self.successResultOf(done)
        self.assertEqual(self.events[-1], "3 out")
        first, entered = self.enter_many(6)
        first.callback(None)
        self.successResultOf(entered[-1])

    def test_longWait(self) -> None:
        """No request waits longer for its turn than ten seconds, whatever the one before waits
        for."""

        async def waiting() -> None:
            async with self.uia.turn("S"):
                await Deferred()  # for a module, for instance

        Deferred.fromCoroutine(waiting())
        behind = self.enter("behind", "S", succeed(None))
        self.clock.advance(MOST_WAIT_S - 0.01)
        self.assertNoResult(behind)
        self.clock.advance(0.01)
        self.failureResultOf(behind, LimitExceeded)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hungUp(self) -> None:
        """A client that hangs up while waiting is not served, and leaves its place to others; one
        that hangs up later is served to the end."""
        ends: list[Deferred[None]] = [Deferred() for _ in range(2)]
        gone: list[Deferred[None]] = [Deferred() for _ in range(2)]
        first = self.enter("first", "S", ends[0], gone[0])
        second = self.enter("second", "S", ends[1], gone[1])
        third = self.enter("third", "S", succeed(None))
        for left in gone:
            left.callback(None)
        self.failureResultOf(second, ClientLeft)
        self.failureResultOf(self.enter("fourth", "S", ends[1], gone[1]), ClientLeft)
        ends[0].callback(None)
        self.successResultOf(first)
        self.successResultOf(third)
        self.assertEqual(self.events, ["first in", "first out", "third in", "third out"])

    def test_oneAfterTheOther(self) -> None:
        """Requests of one session wait for one another; those of others don't."""
        ends: list[Deferred[None]] = [Deferred() for _ in range(3)]
        self.enter("first", "S", ends[0])
        second = self.enter("second", "S", ends[1])
        self.enter("other", "T", ends[2])
        self.assertEqual(self.events, ["first in", "other in"])
        ends[0].callback(None)
        self.assertEqual(self.events[2:], ["first out", "second in"])
        ends[1].callback(None)
        self.assertIsNone(self.successResultOf(second))

    def test_failing(self) -> None:
        """A request that fails gives its turn to the next."""
        ends: list[Deferred[None]] = [Deferred(), Deferred()]
        first = self.enter("first", "S", ends[0])
        self.enter("second", "S", ends[1])
        ends[0].errback(ValueError())
        self.failureResultOf(first, ValueError)
        self.assertEqual(self.events, ["first in", "second in"])

    def test_goneWhileWaiting(self) -> None:
        """A request that is cancelled while it waits is not waited for."""
        ends: list[Deferred[None]] = [Deferred() for _ in range(3)]
        self.enter("first", "S", ends[0])
        second = self.enter("second", "S", ends[1])
        self.enter("third", "S", ends[2])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        ends[0].callback(None)
        self.assertEqual(self.events, ["first in", "first out", "third in"])

    def test_nothingIsKept(self) -> None:
        """Once no request of it runs or waits, a session takes no memory: clients choose the
        ids."""
        ends: list[Deferred[None]] = [Deferred(), Deferred()]
        self.enter("first", "S", ends[0])
        self.enter("second", "S", ends[1])
        ends[0].callback(None)
        self.assertEqual(len(self.uia.turns._queues), 1)
        ends[1].callback(None)
        self.assertEqual(len(self.uia.turns._queues), 0)
