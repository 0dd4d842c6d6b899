"""Admission: which part is asked about a registration, in which order, and what is refused."""

from __future__ import annotations

from typing import Any, Awaitable

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.accounts.admission import Admission, NoBlocking
from regsys.callbacks import SpamChecks, ThreepidChanges, ThreepidRules
from regsys.errors import Forbidden, LimitExceeded, ThreepidDenied, Unavailable
from regsys.interfaces import IBlocking, Verdict
from regsys.limits.rate import LeakyBuckets
from regsys.model import Client, Registration, Threepid
from regsys.model.networks import address_key
from regsys.testing import provides

ADDRESS, NEIGHBOUR, STRANGER = "2001:db8::1", "2001:db8::2", "192.0.2.1"
REGISTRATION = Registration(key="key", client=Client(ADDRESS))


@implementer(IBlocking)
@attr.frozen
class BlockAll:
    """Blocks every registration, and records each."""

    asked: list[Registration] = attr.field(factory=list)

    async def check(self, registration: Registration) -> None:
        self.asked.append(registration)
        raise Forbidden()


class AdmissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.spam = SpamChecks(clock=clock)
        self.rules = ThreepidRules(clock=clock)
        self.admission = Admission(
            limiter=LeakyBuckets(per_second=0.5, burst_count=1, seconds=clock.seconds),
            key_of=address_key,
            spam=self.spam,
            blocking=NoBlocking(),
            threepids=self.rules,
            changes=ThreepidChanges.on(clock),
            denied_ms=7000,
        )

    def passes(self, answer: Awaitable[Any]) -> Any:
        return self.successResultOf(self._wait(answer))

    def refused(self, answer: Awaitable[Any], error: type[Exception]) -> Any:
        return self.failureResultOf(self._wait(answer), error).value

    def _wait(self, answer: Awaitable[Any]) -> Deferred[Any]:
        async def waiting() -> Any:
            return await answer

        return Deferred.fromCoroutine(waiting())

    def test_provides(self) -> None:
        """NoBlocking offers all of IBlocking."""
        provides(IBlocking, NoBlocking())

    def test_takingUsesUpTheLimitOfTheNetwork(self) -> None:
        """A registration counts against the limit of the whole /64 that it came from, and of no
        other network."""
        self.passes(self.admission.peek("2001:db8::1"))
        self.passes(self.admission.take(ADDRESS))
        for address in ("2001:db8::1", "2001:db8::2"):
            refusal = self.refused(self.admission.peek(address), LimitExceeded)
            self.assertEqual(refusal.retry_after_ms, 2000)
        self.refused(self.admission.take(NEIGHBOUR), LimitExceeded)
        self.passes(self.admission.peek("192.0.2.1"))
        self.passes(self.admission.take(STRANGER))

    def test_peekingUsesUpNothing(self) -> None:
        """Peeking at the limit counts nothing."""
        for _ in range(3):
            self.passes(self.admission.peek("2001:db8::1"))
        self.passes(self.admission.take(ADDRESS))

    def test_givenBack(self) -> None:
        """What a refused registration took from the limit is given back, to its own network."""
        self.passes(self.admission.take(ADDRESS))
        self.passes(self.admission.give_back(STRANGER))
        self.refused(self.admission.take(NEIGHBOUR), LimitExceeded)
        self.passes(self.admission.give_back(ADDRESS))
        self.passes(self.admission.take(NEIGHBOUR))

    def test_withoutAddressThereIsNoLimit(self) -> None:
        """A registration from an unknown address is not limited."""
        self.passes(self.admission.limiter.take(""))
        for address in (None, ""):
            for _ in range(3):
                self.passes(self.admission.take(address))
            self.passes(self.admission.give_back(address))
            self.passes(self.admission.peek(address))

    def test_judgement(self) -> None:
        """The spam checkers' verdict is returned; if one of them fails, the server is
        unavailable."""
        self.assertIs(self.passes(self.admission.check_spam(REGISTRATION)), Verdict.ALLOW)
        self.spam.register("module", lambda *args: "shadow_ban")
        self.assertIs(self.passes(self.admission.check_spam(REGISTRATION)), Verdict.SHADOW_BAN)
        failing = SpamChecks(clock=Clock())
        failing.register("module", lambda *args: "maybe")
        admission = attr.evolve(self.admission, spam=failing)
        self.refused(admission.check_spam(REGISTRATION), Unavailable)

    def test_deniedBySpamCheckersLooksLikeTheLimit(self) -> None:
        """A registration that the spam checkers deny gets the limit's own error, with its hint."""
        self.spam.register("module", lambda *args: "deny")
        refusal = self.refused(self.admission.check_spam(REGISTRATION), LimitExceeded)
        self.passes(self.admission.take(ADDRESS))
        limit = self.refused(self.admission.take(ADDRESS), LimitExceeded)
        self.assertEqual(refusal.retry_after_ms, 7000)
        self.assertEqual((refusal.text, refusal.extra.keys()), (limit.text, limit.extra.keys()))

    def test_everyAddressMustBeAllowed(self) -> None:
        """The rules are asked about each identifier that the account would get, until one is
        denied."""
        asked: list[tuple[object, ...]] = []

        def rule(medium: str, address: str, registering: bool) -> bool:
            asked.append((medium, address, registering))
            return not address.endswith("@bad.example")

        self.rules.register("module", rule)
        registration = Registration(
            key="key",
            threepids=(Threepid("msisdn", "447700900123", 1), Threepid("email", "a@b.example", 1)),
            bind_emails=("c@d.example",),
        )
        self.passes(self.admission.check_threepids_and_blocking(registration))
        self.assertEqual(
            asked,
            [
                ("msisdn", "447700900123", True),
                ("email", "a@b.example", True),
                ("email", "c@d.example", True),
            ],
        )
        validated = (Threepid("email", "x@bad.example", 1),)
        for denied in (
            attr.evolve(registration, threepids=validated),
            attr.evolve(registration, bind_emails=("y@bad.example",)),
        ):
            self.refused(self.admission.check_threepids_and_blocking(denied), ThreepidDenied)

    def test_deniedAddressComesBeforeBlocking(self) -> None:
        """A denied address is refused as such even if every registration is blocked."""
        self.rules.register("module", lambda *args: False)
        registration = attr.evolve(REGISTRATION, threepids=(Threepid("email", "a@b.example", 1),))
        admission = attr.evolve(self.admission, blocking=BlockAll())
        self.refused(admission.check_threepids_and_blocking(registration), ThreepidDenied)
        by_admin = attr.evolve(registration, by_admin=True)
        self.refused(admission.check_threepids_and_blocking(by_admin), ThreepidDenied)

    def test_blockingIsNotAskedOfAdmins(self) -> None:
        """Blocking refuses a blocked user, but not an account that an administrator registers."""
        blocked = BlockAll()
        admission = attr.evolve(self.admission, blocking=blocked)
        self.refused(admission.check_threepids_and_blocking(REGISTRATION), Forbidden)
        self.passes(
            admission.check_threepids_and_blocking(attr.evolve(REGISTRATION, by_admin=True))
        )
        self.assertEqual(blocked.asked, [REGISTRATION])

    def test_nobodyIsBlockedByDefault(self) -> None:
        """With nothing configured every registration passes the check."""
        self.passes(self.admission.check_threepids_and_blocking(REGISTRATION))
