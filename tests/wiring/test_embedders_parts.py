"""The calls of an embedder's parts: their deadline, and what is passed on."""

from __future__ import annotations

import gc
from typing import Any, Callable
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy, implementer

from regsys import deadlines
from regsys.errors import Unavailable, UnknownToken
from regsys.http.serving import InFlight
from regsys.interfaces import IAccountStore, IAppservices, IAuth, IStage, IUserLookup
from regsys.model import Requester, Secret, UserID
from regsys.testing import MemoryAccounts, MemoryAppservices, provides
from regsys.wiring.embedders_parts import EmbeddersParts
from regsys.wiring.subsystem import hooks
from tests.support.question_stage import QuestionStage

TOKEN = Secret("token")
ALICE = Requester(user_id=UserID("alice", "test.example"))
DEADLINE_S = 30.0


class IOfMore(IAuth):
    """A marker, such as regsys may look for."""


@implementer(IOfMore)
class Auth:
    """Answers with what ``answer`` returns."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.other = "an attribute of its own"

    def whose(self, token: Secret) -> Any:
        return self.answer()


class NoTimers(Clock):
    """A reactor on which a timer would be a mistake."""

    def callLater(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a timer")


class PartCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.working: Deferred[Any] = Deferred()

    def part(self, answer: Callable[[], Any]) -> Any:
        parts = EmbeddersParts("embedded", self.clock, DEADLINE_S)
        return parts.required("auth", IAuth, Auth(answer))

    def ask(self, answer: Callable[[], Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.part(answer).whose(TOKEN))

    async def stubborn(self) -> Any:
        """Goes on when it is cancelled, as a thread does."""
        try:
            await Deferred()
        except CancelledError:
            return await self.working

    async def waiting(self) -> Any:
        return await self.working


class DeadlineTests(PartCase):
    def test_atOnce(self) -> None:
        """A part that answers at once costs no timer, be it a coroutine or a Deferred."""

        async def answer() -> Requester:
            return ALICE

        async def refuse() -> str:
            raise UnknownToken()

        self.clock = NoTimers()
        for made in (answer, lambda: succeed(ALICE)):
            self.assertEqual(self.successResultOf(self.ask(made)), ALICE)
        for refused in (refuse, lambda: fail(UnknownToken())):
            self.failureResultOf(self.ask(refused), UnknownToken)

    def test_soon(self) -> None:
        """One that answers in time takes its timer with it."""
        for answer in (self.waiting, lambda: self.working):
            for result in (ALICE, UnknownToken()):
                self.working = Deferred()
                asking = self.ask(answer)
                self.clock.advance(DEADLINE_S - 0.1)
                self.assertNoResult(asking)
                if isinstance(result, Requester):
                    self.working.callback(result)
                    self.assertEqual(self.successResultOf(asking), result)
                else:
                    self.working.errback(result)
                    self.failureResultOf(asking, UnknownToken)
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        """One that does not answer is cancelled: its caller gets a 503, the operator a line."""
        for answer in (self.waiting, lambda: self.working):
            cancelled: list[object] = []
            self.working = Deferred(cancelled.append)
            asking = self.ask(answer)
            with capturedLogs() as events:
                self.clock.advance(DEADLINE_S - 0.1)
                self.assertEqual(cancelled, [])
                self.clock.advance(0.1)
            self.failureResultOf(asking, Unavailable)
            self.assertEqual(cancelled, [self.working])
            self.assertEqual(self.clock.getDelayedCalls(), [])
            found = [(event["method"], event["seconds"]) for event in events]
            self.assertEqual(found, [("embedded(auth=…): Auth.whose", DEADLINE_S)])

    def test_tooLate(self) -> None:
        """What a part that could not be stopped answers afterwards is dropped, without a sound."""
        for late in (ALICE, UnknownToken()):
            self.working = Deferred()
            asking = self.ask(self.stubborn)
            self.clock.advance(DEADLINE_S)
            self.failureResultOf(asking, Unavailable)
            (self.working.errback if late is not ALICE else self.working.callback)(late)
            del asking
            self.working = Deferred()
            gc.collect()
            self.assertEqual(self.flushLoggedErrors(), [])

    def test_cancelled(self) -> None:
        """A caller that is cancelled cancels the part, and does not wait for one that goes on."""
        for answer in (self.waiting, self.stubborn):
            self.working = Deferred()
            asking = self.ask(answer)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            self.assertEqual(self.working.called, answer == self.waiting)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ownTimeout(self) -> None:
        """What a part itself raises is passed on."""
        asking = self.ask(lambda: self.working)
        self.working.errback(TimeoutError("its own"))
        self.failureResultOf(asking, TimeoutError)

    def test_request(self) -> None:
        """Within a request a call ends with the request; one that begins late gets a second. What
        the request has started besides has the whole deadline, once it is answered."""
        part = self.part(lambda: Deferred())
        calls: list[Deferred[Any]] = []

        async def serve() -> None:
            with InFlight(self.clock).deadline():
                calls.append(Deferred.fromCoroutine(part.whose(TOKEN)))
                await calls[0]

        async def serve_late() -> None:
            with InFlight(self.clock).deadline():
                self.clock.advance(20)
                await part.whose(TOKEN)

        async def serve_and_start() -> None:
            async def later() -> None:
                await self.working
                await part.whose(TOKEN)

            with InFlight(self.clock).deadline():
                calls.append(Deferred.fromCoroutine(later()))

        for request, seconds in (
            (serve, deadlines.REQUEST_S),
            (serve_late, deadlines.LAST_CALL_S),
            (serve_and_start, DEADLINE_S),
        ):
            calls.clear()
            asking = Deferred.fromCoroutine(request())
            if request == serve_and_start:
                self.working.callback(None)
                asking = calls[0]
            self.clock.advance(seconds - 0.1)
            self.assertNoResult(asking)
            with capturedLogs() as events:
                self.clock.advance(0.1)
            self.assertEqual([event["seconds"] for event in events], [seconds])
            self.failureResultOf(asking, Unavailable)


class MistakeTests(PartCase):
    def test_notAwaitable(self) -> None:
        """A plain result is an error with a sentence, as is a Deferred that nobody awaits."""

        async def unawaited() -> Any:
            return Deferred()

        for answer, sentence in (
            (lambda: True, "embedded(auth=…): Auth.whose returned a bool, which cannot be awaited"),
            (lambda: None, "make it async, or return a Deferred"),
            (unawaited, "Auth.whose returned a Deferred in place of its result: await it"),
        ):
            failure = self.failureResultOf(self.ask(answer), TypeError)
            self.assertIn(sentence, str(failure.value))

    def test_wrongResult(self) -> None:
        """What a part returns has the type that its interface says, or is an error with a sentence,
        before it is used. True is no number."""

        class Store(MemoryAccounts):
            answer: Any = None

            async def is_taken(self, localpart: str) -> Any:
                return self.answer

            async def next_number(self) -> Any:
                return self.answer

        failure = self.failureResultOf(self.ask(lambda: succeed("alice")), TypeError)
        sentence = "embedded(auth=…): Auth.whose returned a str, not a Requester or None"
        self.assertEqual(str(failure.value), sentence)
        own = Store()
        parts = EmbeddersParts("embedded", self.clock, DEADLINE_S)
        store = parts.required("store", IAccountStore, own)
        for own.answer, call, sentence in (
            (None, store.is_taken("alice"), "Store.is_taken returned None, not a bool"),
            (1, store.is_taken("alice"), "Store.is_taken returned an int, not a bool"),
            (True, store.next_number(), "Store.next_number returned a bool, not an int"),
        ):
            failure = self.failureResultOf(Deferred.fromCoroutine(call), TypeError)  # type: ignore[arg-type]
            self.assertEqual(str(failure.value), f"embedded(store=…): {sentence}")

    def test_raisesAtOnce(self) -> None:
        """A plain function may raise a refusal before it returns its Deferred."""

        def refuse() -> Any:
            raise UnknownToken()

        self.failureResultOf(self.ask(refuse), UnknownToken)


class StandInTests(PartCase):
    def test_provides(self) -> None:
        """What stands for a part provides what it provides, with its signatures and attributes; its
        methods are looked up at each call."""
        part = self.part(lambda: succeed(ALICE))
        implementedBy(type(part))  # zope then remembers what the class declares: nothing
        provides(IAuth, part)
        self.assertIsInstance(part, Auth)
        self.assertTrue(IOfMore.providedBy(part))
        self.assertFalse(IUserLookup.providedBy(part))
        self.assertEqual(part.other, "an attribute of its own")
        self.assertRaises(AttributeError, lambda: part.another)
        self.assertIn("Auth object", repr(part))
        with mock.patch.object(Auth, "whose", lambda self, token: succeed(None)):
            asking = Deferred.fromCoroutine(part.whose(token=TOKEN))
            self.assertEqual(self.successResultOf(asking), None)

    def test_twice(self) -> None:
        """It can be passed on to another subsystem."""
        parts = EmbeddersParts("standalone", self.clock, DEADLINE_S)
        again = parts.required("auth", IAuth, self.part(lambda: succeed(ALICE)))
        asking = Deferred.fromCoroutine(again.whose(TOKEN))
        self.assertEqual(self.successResultOf(asking), ALICE)

    def test_plainMethods(self) -> None:
        """Methods that return at once are the part's own."""
        parts = EmbeddersParts("embedded", self.clock, DEADLINE_S)
        services = MemoryAppservices()
        self.assertIs(parts.optional("services", IAppservices, services), services)
        self.assertIsNone(parts.optional("services", IAppservices, None))
        stage = QuestionStage()
        (taken,) = parts.hooks(hooks(self.clock, stages=[stage])).stages
        provides(IStage, taken)
        self.assertEqual(taken.params, stage.params)

    def test_hooks(self) -> None:
        """Those that are in hooks have the deadline, too."""

        class Stalling(QuestionStage):
            def check(self, auth: Any, context: Any) -> Any:
                return Deferred()

        given = hooks(self.clock, stages=[Stalling()])
        chosen = EmbeddersParts("embedded", self.clock, DEADLINE_S).hooks(given)
        self.assertIs(chosen.spam, given.spam)
        asking = Deferred.fromCoroutine(chosen.stages[0].check({}, None))  # type: ignore[arg-type]
        with capturedLogs() as events:
            self.clock.advance(DEADLINE_S)
        self.failureResultOf(asking, Unavailable)
        (event,) = events
        self.assertEqual(event["method"], f"hooks(stage {Stalling.type}): Stalling.check")
