"""What counts as an attempt to use a validation session."""

from __future__ import annotations

from typing import Optional

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import LimitExceeded, Unavailable, ValidationRefused
from regsys.limits.rate import LeakyBuckets
from regsys.model import Client
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.validation_tokens import no_such_validation


class AttemptTests(SynchronousTestCase):
    def setUp(self) -> None:
        limiter = LeakyBuckets(per_second=0.001, burst_count=1, seconds=lambda: 0.0)
        self.attempts = ValidationAttempts(limiter=limiter, key_of=str)

    def attempt(self, error: Optional[Exception] = None) -> Deferred[None]:
        async def attempt() -> None:
            async with self.attempts.counted(Client("192.0.2.1", "")):
                if error is not None:
                    raise error

        return Deferred.fromCoroutine(attempt())

    def test_counted(self) -> None:
        """A session that is not validated counts."""
        self.failureResultOf(self.attempt(no_such_validation()), ValidationRefused)
        self.failureResultOf(self.attempt(), LimitExceeded)

    def test_notCounted(self) -> None:
        """A validated session does not, nor one whose server is unavailable."""
        for _ in range(3):
            self.successResultOf(self.attempt())
            self.failureResultOf(self.attempt(Unavailable()), Unavailable)
