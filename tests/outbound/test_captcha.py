"""The answers of a captcha service, and answers that are neither yes nor no."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Unavailable
from regsys.model import Secret
from regsys.outbound.captcha import SiteVerify
from regsys.outbound.http import DEADLINE_S, HTTPClient
from tests.doubles.captcha import BAD, DRIP, FAULTS, GOOD, SECRET, STALL, CaptchaDouble
from tests.support.log_canaries import watch_for_leaks

LOGGER = "regsys.outbound.captcha"
URL = "http://captcha.example/siteverify?kept=yes"


class SiteVerifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.double = CaptchaDouble(self.clock)
        self.treq = StubTreq(self.double)
        self.verifier = self.verifier_with(SECRET)

    def verifier_with(self, secret: str) -> SiteVerify:
        http = HTTPClient(self.treq, self.clock)
        return SiteVerify(url=URL, secret=Secret(secret), http=http)

    def verify(self, response: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.verifier.verify(response, "192.0.2.7"))

    def test_asks(self) -> None:
        """Our secret, the response and the client's address are sent to the configured URL."""
        self.assertIs(self.successResultOf(self.verify(GOOD)), True)
        asked = {"secret": SECRET, "response": GOOD, "remoteip": "192.0.2.7"}
        self.assertEqual(self.double.asked, [asked])
        self.assertEqual(self.double.paths, [b"/siteverify?kept=yes"])

    def test_no(self) -> None:
        """A plain no is a no, whatever codes are beside it."""
        for response in (BAD, "used", "silent-no", "odd-codes", "never heard of"):
            self.assertIs(self.successResultOf(self.verify(response)), False, response)

    def test_neitherYesNorNo(self) -> None:
        """Any other answer is Unavailable, with one log line and no secret in it."""
        watch_for_leaks(self, {"the private key": SECRET, "the response": "canary"})
        self.assertGreater(len(FAULTS), 15)
        for fault in (*FAULTS, STALL, DRIP):
            with capturedLogs() as events:
                asking = self.verify(f"{fault}#canary")
                self.treq.flush()
                if fault in (STALL, DRIP):
                    self.clock.advance(DEADLINE_S)
                self.treq.flush()
                error = self.failureResultOf(asking, Unavailable).value
            self.assertTrue(error.retry_after_ms, fault)
            (event,) = (event for event in events if event["log_namespace"] == LOGGER)
            self.assertEqual((event["log_level"].name, event["url"]), ("error", URL), fault)
            self.assertTrue(event["reason"], fault)
        self.assertNotIn(b"/elsewhere", self.double.paths)

    def test_ourOwnFault(self) -> None:
        """A service that does not know our key refuses no user: the error is logged."""
        self.verifier = self.verifier_with("another-canary")
        watch_for_leaks(self, {"the private key": "another-canary"})
        with capturedLogs() as events:
            self.failureResultOf(self.verify(GOOD), Unavailable)
        (event,) = (event for event in events if event["log_namespace"] == LOGGER)
        self.assertIn("private key", event["reason"])
