"""The answers of an identity server about phone numbers, and answers that mean nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import DelegateRefused, Unavailable
from regsys.model import Threepid
from regsys.outbound.http import DEADLINE_S, HTTPClient
from regsys.outbound.identity_server_v1 import AHEAD_MS, IdentityServer
from tests.doubles.identity import (
    API,
    CODE,
    DRIP,
    MEANINGLESS,
    NOT_VALIDATED,
    ODD_VALIDATIONS,
    REFUSALS,
    STALL,
    VALIDATED_MS,
    VALIDATION,
    IdentityDouble,
)
from tests.support.log_canaries import watch_for_leaks

LOGGER = "regsys.outbound.identity_server_v1"
URL = "http://id.example/below"
NUMBER = "+4915112345678"
FIELDS = {"country": "DE", "phone_number": NUMBER, "send_attempt": 1}


class IdentityServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(VALIDATED_MS / 1000)
        self.double = IdentityDouble(self.clock)
        http = HTTPClient(StubTreq(self.double), self.clock)
        self.server = IdentityServer(url=URL, http=http, clock=self.clock)

    def ways(self, fault: str) -> dict[str, Any]:
        """Each of its methods, called so that the double has this fault."""
        return {
            "request": self.server.request_token({**FIELDS, "client_secret": f"{fault}..canary"}),
            "submit": self.server.submit_token(f"{fault}..canary", "secret", CODE),
            "proven": self.server.validated_threepid(f"{fault}..canary", "secret"),
        }

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_asks(self) -> None:
        """The fields are sent as the specification has them, below the URL as it is written; all
        plain values of the answer are returned."""
        fields = {**FIELDS, "client_secret": "secret"}
        answer = self.result(self.server.request_token(fields))
        plain = {"success": True, "msisdn": "x", "intl_fmt": "+49 …"}
        elsewhere = {"submit_url": "https://elsewhere.example/"}
        self.assertEqual(answer, {"sid": "given0", **plain, **elsewhere})
        self.assertIs(self.result(self.server.submit_token("given0", "secret", "1")), False)
        self.assertIs(self.result(self.server.submit_token("given0", "secret", CODE)), True)
        threepid = self.result(self.server.validated_threepid("given0", "secret"))
        self.assertEqual(threepid, Threepid("msisdn", NUMBER[1:], VALIDATED_MS))
        base = f"/below{API}"
        paths = [uri.partition("?")[0] for uri, _ in self.double.asked]
        submit = f"{base}/validate/msisdn/submitToken"
        self.assertEqual(
            paths,
            [
                f"{base}/validate/msisdn/requestToken",
                *(submit, submit),
                f"{base}/3pid/getValidated3pid",
            ],
        )
        self.assertEqual(self.double.asked[0][1], fields)

    def test_encoded(self) -> None:
        """A value from a client is one parameter, whatever it contains."""
        odd = "a&medium=email#ü%00/../+ "
        self.assertIsNone(self.result(self.server.validated_threepid(odd, "s&sid=good")))
        uri, fields = self.double.asked[0]
        self.assertEqual(fields, {"sid": odd, "client_secret": "s&sid=good"})
        self.assertIn(quote("ü"), uri)

    def test_plainNo(self) -> None:
        """A refusal is passed on with its status and code, and with its sentence if it is valid;
        for a validation it means that there is none."""
        for name, (status, body) in REFUSALS.items():
            ways = self.ways(name)
            if name != "limited":
                self.assertIsNone(self.result(ways["proven"]), name)
            ways.pop("proven").close()
            for way, coroutine in ways.items():
                failure = self.failureResultOf(Deferred.fromCoroutine(coroutine), DelegateRefused)
                error = failure.value
                got = (error.status, error.errcode, error.retry_after_ms)
                wanted = (status, body["errcode"], body.get("retry_after_ms"))
                self.assertEqual(got, wanted, (name, way))
                sentence = body["error"] if name != "silent" else DelegateRefused.sentence
                self.assertEqual(error.text, sentence, (name, way))

    def test_limited(self) -> None:
        """A rate-limited answer says nothing about a validation: the server is asked again after
        its hint."""
        asking = Deferred.fromCoroutine(self.server.validated_threepid("limited..canary", "secret"))
        refusal = self.failureResultOf(asking, Unavailable).value
        self.assertEqual(refusal.retry_after_ms, 1500)

    def test_saysNothing(self) -> None:
        """Any other answer is Unavailable, with a log line and no secret in it."""
        watch_for_leaks(self, {"sid or secret": "canary", "the number": NUMBER[1:]})
        self.assertGreater(len(MEANINGLESS), 15)
        for fault in (*MEANINGLESS, STALL, DRIP):
            for way, coroutine in self.ways(fault).items():
                if (fault, way) == ("empty-object", "proven"):
                    self.assertIsNone(self.result(coroutine))  # no medium: not validated
                    continue
                with capturedLogs() as events:
                    asking = Deferred.fromCoroutine(coroutine)
                    if fault in (STALL, DRIP):
                        self.assertNoResult(asking)
                        self.clock.pump([1] * int(DEADLINE_S))
                    self.failureResultOf(asking, Unavailable)
                lines = [event for event in events if event["log_namespace"] == LOGGER]
                self.assertEqual(len(lines), 1, (fault, way))

    def test_noValidation(self) -> None:
        """Another medium, or no time, is no validation; a malformed number or time is no answer."""
        for name in set(NOT_VALIDATED) - {"no-number"}:
            self.assertIsNone(self.result(self.server.validated_threepid(name, "secret")), name)
        for name in ODD_VALIDATIONS:
            asking = Deferred.fromCoroutine(self.server.validated_threepid(name, "secret"))
            self.failureResultOf(asking, Unavailable)
        self.assertEqual(
            self.result(self.server.validated_threepid("good", "s")).address, VALIDATION["address"]
        )

    def test_clocksApart(self) -> None:
        """Its clock may be five minutes ahead of ours, and no more."""
        good = Threepid("msisdn", VALIDATION["address"], VALIDATED_MS)
        for apart_ms, is_proven in ((AHEAD_MS, True), (AHEAD_MS + 1, False)):
            self.clock.rightNow = (VALIDATED_MS - apart_ms) / 1000
            asking = Deferred.fromCoroutine(self.server.validated_threepid("good", "secret"))
            if is_proven:
                self.assertEqual(self.successResultOf(asking), good)
            else:
                self.failureResultOf(asking, Unavailable)
