"""The callbacks of modules (contract B10.2-3): their arguments, and the effect of their results."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.callbacks import SpamChecks, ThreepidChanges, ThreepidRules
from regsys.errors import Unavailable
from regsys.interfaces import Verdict
from regsys.interfaces.internal import IThreepidRules
from regsys.model import Client, Registration, Threepid
from regsys.testing import provides

REGISTRATION = Registration(
    key="key",
    localpart="alice",
    threepids=(
        Threepid("msisdn", "447700900123", 1),
        Threepid("email", "alice@example.org", 2),
        Threepid("email", "alice@example.com", 3),
    ),
    client=Client("192.0.2.1", "Client/2"),
    clients=(Client("192.0.2.2", "Client/1"), Client("192.0.2.1", "Client/2")),
    auth_provider_id="oidc",
)


async def _later(answer: Any) -> Any:
    return await succeed(answer)


class CallbackCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.spam = SpamChecks(clock=self.clock)
        self.rules = ThreepidRules(clock=self.clock)

    def check(self, registration: Registration = REGISTRATION) -> Deferred[Verdict]:
        return Deferred.fromCoroutine(self.spam.check(registration))

    def is_allowed(self, registering: bool = True) -> Deferred[bool]:
        return Deferred.fromCoroutine(
            self.rules.is_allowed("email", "alice@example.org", registering)
        )


class SpamChecksTests(CallbackCase):
    def test_withoutCheckersEverybodyIsAllowed(self) -> None:
        """With no spam checker registered the verdict is to allow, at once."""
        self.assertIs(self.successResultOf(self.check()), Verdict.ALLOW)

    def test_whatCheckersAreAsked(self) -> None:
        """A checker gets the email address, name, requests and provider of the registration."""
        asked: list[tuple[object, ...]] = []
        self.spam.register("module", lambda *args: asked.append(args) or "allow")  # type: ignore
        self.successResultOf(self.check())
        self.assertEqual(
            asked,
            [
                (
                    {"medium": "email", "address": "alice@example.org", "validated_at": 2},
                    "alice",
                    [("Client/1", "192.0.2.2"), ("Client/2", "192.0.2.1")],
                    "oidc",
                )
            ],
        )

    def test_whatCheckersAreAskedOfNobody(self) -> None:
        """An attribute that a registration does not have is None, or an empty list."""
        asked: list[tuple[object, ...]] = []
        self.spam.register("module", lambda *args: asked.append(args) or "allow")  # type: ignore
        self.successResultOf(self.check(Registration(key="key")))
        own = Registration(key="key", client=Client("192.0.2.1", "Client/2"))
        self.successResultOf(self.check(own))
        self.assertEqual(
            asked,
            [(None, None, [], None), (None, None, [("Client/2", "192.0.2.1")], None)],
        )

    def test_everyCheckerGetsItsOwnArguments(self) -> None:
        """A checker that changes its arguments does not change those of the next one."""
        seen: list[tuple[object, object]] = []

        def change_arguments(
            email: Any, name: Optional[str], requests: Any, provider: Any
        ) -> Verdict:
            seen.append((dict(email), list(requests)))
            email.clear()
            requests.clear()
            return Verdict.ALLOW

        self.spam.register("one", change_arguments)
        self.spam.register("two", change_arguments)
        self.successResultOf(self.check())
        self.assertEqual(seen[0], seen[1])

    def test_answersOfEveryForm(self) -> None:
        """Verdicts and their names are accepted, whether returned at once, async or by a
        Deferred."""
        for verdict in Verdict:
            for answer in (verdict, verdict.value):
                for form in (lambda answer: answer, _later, succeed):
                    self.spam = SpamChecks(clock=self.clock)
                    self.spam.register("module", lambda *args: form(answer))  # noqa: B023
                    self.assertIs(self.successResultOf(self.check()), verdict)

    def test_notCallable(self) -> None:
        """What cannot be called is refused at once, as is a callback without a name."""
        for given, said in (
            (("module", None), "register('module', …) of check_registration_for_spam: a NoneType"),
            ((print, "module"), "first a name for the log"),
        ):
            error = self.assertRaises(TypeError, self.spam.register, *given)
            self.assertIn(said, str(error))
        self.assertRaises(TypeError, ThreepidChanges.on(self.clock).removals.register, "m", 5)
        self.assertEqual(self.spam.hooks, [])

    def test_whatItMayAnswer(self) -> None:
        """The log line about a wrong answer lists the right ones."""
        checks = ThreepidChanges.on(self.clock).checks
        for hooks, asked, said in (
            (
                self.spam,
                self.check,
                "a Verdict, or 'allow', 'deny', 'shadow_ban', 'needs_approval'",
            ),
            (self.rules, self.is_allowed, "True or False"),
            (
                checks,
                lambda: Deferred.fromCoroutine(checks.check("M_X", "@a:b", "email", "c@d", True)),
                "None, or a tuple of an errcode (or None) and a sentence",
            ),
        ):
            hooks.register("module", lambda *args: 5)  # type: ignore[attr-defined]
            with capturedLogs() as events:
                self.failureResultOf(asked(), Unavailable)  # type: ignore[operator]
            (event,) = events
            self.assertEqual(event["trouble"], f"answered with a int: it may answer with {said}")

    def test_firstThatDoesNotAllowWins(self) -> None:
        """Checkers are called in order until one does not allow; later ones aren't called."""
        asked: list[str] = []

        def answering(name: str, verdict: Verdict) -> Callable[..., Verdict]:
            return lambda *args: asked.append(name) or verdict  # type: ignore[func-returns-value]

        self.spam.register("one", answering("one", Verdict.ALLOW))
        self.spam.register("two", answering("two", Verdict.SHADOW_BAN))
        self.spam.register("three", answering("three", Verdict.DENY))
        self.assertIs(self.successResultOf(self.check()), Verdict.SHADOW_BAN)
        self.assertEqual(asked, ["one", "two"])


class ThreepidRulesTests(CallbackCase):
    def test_withoutRulesEveryAddressIsAllowed(self) -> None:
        """With no rule registered every address is allowed, at once."""
        provides(IThreepidRules, self.rules)
        self.assertIs(self.successResultOf(self.is_allowed()), True)

    def test_whatRulesAreAsked(self) -> None:
        """A rule gets medium, address, and whether an account is being made."""
        asked: list[tuple[object, ...]] = []
        self.rules.register("module", lambda *args: not asked.append(args))  # type: ignore
        self.successResultOf(self.is_allowed(True))
        self.successResultOf(self.is_allowed(False))
        self.assertEqual(
            asked, [("email", "alice@example.org", True), ("email", "alice@example.org", False)]
        )

    def test_firstNoWins(self) -> None:
        """One rule that refuses is enough, in every form; later ones are not called."""
        for form in (lambda answer: answer, _later, succeed):
            asked: list[str] = []
            self.rules = ThreepidRules(clock=self.clock)
            self.rules.register("one", lambda *args: form(True))  # noqa: B023
            self.rules.register("two", lambda *args: form(False))  # noqa: B023
            self.rules.register("three", lambda *args: not asked.append("three"))  # type: ignore  # noqa: B023
            self.assertIs(self.successResultOf(self.is_allowed()), False)
            self.assertEqual(asked, [])


class TroubleTests(CallbackCase):
    """Every callback that decides, with every kind of failure (contract B10.3)."""

    def questions(self, hook: Callable[..., Any]) -> list[tuple[str, Callable[[], Deferred[Any]]]]:
        self.setUp()
        self.spam.register("bad.Module", hook)
        self.rules.register("bad.Module", hook)
        return [
            ("check_registration_for_spam", self.check),
            ("is_3pid_allowed", self.is_allowed),
        ]

    def refused(self, moment: str, answer: Deferred[Any], events: Sequence[Any]) -> str:
        """The one log line about it, which names the module and the callback."""
        self.failureResultOf(answer, Unavailable)
        self.assertEqual(len(events), 1)
        [event] = events
        self.assertEqual(event["log_level"].name, "critical" if "log_failure" in event else "error")
        self.assertEqual((event["module"], event["moment"]), ("bad.Module", moment))
        return str(event.get("trouble"))

    def test_raising(self) -> None:
        """A callback that raises, in any form, causes a 503 and is logged by name."""

        def at_once(*args: object) -> None:
            raise KeyError("broken")

        async def in_a_coroutine(*args: object) -> None:
            raise KeyError("broken")

        def by_deferred(*args: object) -> Deferred[None]:
            return fail(KeyError("broken"))

        for hook in (at_once, in_a_coroutine, by_deferred):
            for moment, ask in self.questions(hook):
                with capturedLogs() as events:
                    answer = ask()
                self.refused(moment, answer, events)
                self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_ownTimeoutOrCancellation(self) -> None:
        """A callback that cancels itself or raises a timeout of its own has failed, nothing
        else."""
        for error in (CancelledError, TimeoutError, ValueError):
            for moment, ask in self.questions(lambda *args: fail(error())):  # noqa: B023
                with capturedLogs() as events:
                    answer = ask()
                self.assertEqual(self.refused(moment, answer, events), "None")
                self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_hanging(self) -> None:
        """A callback that does not return is cancelled after ten seconds: 503, logged by name."""
        cancelled: list[object] = []
        for moment, ask in self.questions(lambda *args: Deferred(cancelled.append)):
            cancelled.clear()
            with capturedLogs() as events:
                answer = ask()
                self.clock.advance(9.9)
                self.assertNoResult(answer)
                self.clock.advance(0.1)
            self.assertIn("10000 ms", self.refused(moment, answer, events))
            self.assertEqual(len(cancelled), 1)

    def test_hangingInSpiteOfCancellation(self) -> None:
        """The deadline holds for a callback that ignores its cancellation; its result is lost."""
        ends: list[Deferred[None]] = []

        async def stubborn(*args: object) -> None:
            try:
                await Deferred()
            except CancelledError:
                ends.append(Deferred())
                await ends[-1]
            raise KeyError("too late")

        for moment, ask in self.questions(stubborn):
            with capturedLogs() as events:
                answer = ask()
                self.clock.advance(10)
            self.refused(moment, answer, events)
            ends.pop().callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_wrongType(self) -> None:
        """A result of a wrong type causes a 503, and the log has its type only."""
        results: list[Any] = [None, 1, "perhaps", "ALLOW", [], {}, object(), b"allow", ("allow",)]
        for result in results:
            for moment, ask in self.questions(lambda *args: result):  # noqa: B023
                with capturedLogs() as events:
                    answer = ask()
                trouble = self.refused(moment, answer, events)
                self.assertIn(type(result).__name__, trouble)
                self.assertNotIn("perhaps", trouble)

    def test_eachHasItsOwnDeadline(self) -> None:
        """Two callbacks that each return in time are not too late together."""
        answers: list[Deferred[bool]] = []

        def slow(*args: object) -> Deferred[bool]:
            answers.append(Deferred())
            return answers[-1]

        self.rules = ThreepidRules(clock=self.clock, deadline_ms=500)
        self.rules.register("one", slow)
        self.rules.register("two", slow)
        allowed = self.is_allowed()
        for _ in range(2):
            self.clock.advance(0.4)
            answers[-1].callback(True)
        self.assertIs(self.successResultOf(allowed), True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clientGoesAway(self) -> None:
        """Cancelling the call cancels the callback, and is not the module's fault."""
        cancelled: list[object] = []
        for _, ask in self.questions(lambda *args: Deferred(cancelled.append)):
            cancelled.clear()
            with capturedLogs() as events:
                answer = ask()
                answer.cancel()
            self.failureResultOf(answer, CancelledError)
            self.assertEqual((len(cancelled), events), (1, []))
            self.assertEqual(self.clock.getDelayedCalls(), [])
