"""What an identity server says of phone numbers, and what it says when it says nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import DelegateRefused, Unavailable
from regsys.interfaces import IPhoneValidationServer
from regsys.model import Threepid
from regsys.outbound.http import DEADLINE_S, HTTPClient
from regsys.outbound.identity_server_v1 import AHEAD_MS, IdentityServer
from regsys.testing import provides
from tests.doubles.identity import (
    API,
    CODE,
    DRIP,
    NO_PROOFS,
    ODD_PROOFS,
    PROOF,
    REFUSALS,
    SILENCES,
    STALL,
    VALIDATED_MS,
    IdentityDouble,
)
from tests.support.log_canaries import watch

SAYS = "regsys.outbound.identity_server_v1"
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

    def ways(self, mishap: str) -> dict[str, Any]:
        """Each of its methods, called so that the double has this mishap."""
        return {
            "request": self.server.request_token({**FIELDS, "client_secret": f"{mishap}..canary"}),
            "submit": self.server.submit_token(f"{mishap}..canary", "secret", CODE),
            "proven": self.server.proven(f"{mishap}..canary", "secret"),
        }

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_provides(self) -> None:
        provides(IPhoneValidationServer, self.server)

    def test_asks(self) -> None:
        """The fields go where the specification has them, below the address as it is written; of
        the answer all that is plain comes back."""
        fields = {**FIELDS, "client_secret": "secret"}
        answer = self.result(self.server.request_token(fields))
        plain = {"success": True, "msisdn": "x", "intl_fmt": "+49 …"}
        elsewhere = {"submit_url": "https://elsewhere.example/"}
        self.assertEqual(answer, {"sid": "given0", **plain, **elsewhere})
        self.assertIs(self.result(self.server.submit_token("given0", "secret", "1")), False)
        self.assertIs(self.result(self.server.submit_token("given0", "secret", CODE)), True)
        proof = self.result(self.server.proven("given0", "secret"))
        self.assertEqual(proof, Threepid("msisdn", NUMBER[1:], VALIDATED_MS))
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
        """What a client named is one parameter, whatever is in it."""
        odd = "a&medium=email#ü%00/../+ "
        self.assertIsNone(self.result(self.server.proven(odd, "s&sid=good")))
        uri, fields = self.double.asked[0]
        self.assertEqual(fields, {"sid": odd, "client_secret": "s&sid=good"})
        self.assertIn(quote("ü"), uri)

    def test_plainNo(self) -> None:
        """A refusal is passed on with its status and code, and a sentence if it is one; of a
        proof it means that there is none."""
        for name, (status, body) in REFUSALS.items():
            ways = self.ways(name)
            if name != "limited":
                self.assertIsNone(self.result(ways["proven"]), name)
            ways.pop("proven").close()
            for way, coroutine in ways.items():
                failure = self.failureResultOf(Deferred.fromCoroutine(coroutine), DelegateRefused)
                told = failure.value
                got = (told.status, told.errcode, told.retry_after_ms)
                wanted = (status, body["errcode"], body.get("retry_after_ms"))
                self.assertEqual(got, wanted, (name, way))
                sentence = body["error"] if name != "silent" else DelegateRefused.sentence
                self.assertEqual(told.text, sentence, (name, way))

    def test_limited(self) -> None:
        """One who is asked too often says nothing of a proof: it is asked again, when it says."""
        asking = Deferred.fromCoroutine(self.server.proven("limited..canary", "secret"))
        refusal = self.failureResultOf(asking, Unavailable).value
        self.assertEqual(refusal.retry_after_ms, 1500)

    def test_saysNothing(self) -> None:
        """Anything else is Unavailable, with a line for the operator and no secret in it."""
        watch(self, {"sid or secret": "canary", "the number": NUMBER[1:]})
        self.assertGreater(len(SILENCES), 15)
        for mishap in (*SILENCES, STALL, DRIP):
            for way, coroutine in self.ways(mishap).items():
                if (mishap, way) == ("empty-object", "proven"):
                    self.assertIsNone(self.result(coroutine))  # no medium: no proof
                    continue
                with capturedLogs() as events:
                    asking = Deferred.fromCoroutine(coroutine)
                    if mishap in (STALL, DRIP):
                        self.assertNoResult(asking)
                        self.clock.pump([1] * int(DEADLINE_S))
                    self.failureResultOf(asking, Unavailable)
                lines = [event for event in events if event["log_namespace"] == SAYS]
                self.assertEqual(len(lines), 1, (mishap, way))

    def test_noProof(self) -> None:
        """Another medium, or no moment, is no proof; a number or a moment that is none is no
        answer."""
        for name in set(NO_PROOFS) - {"no-number"}:
            self.assertIsNone(self.result(self.server.proven(name, "secret")), name)
        for name in ODD_PROOFS:
            asking = Deferred.fromCoroutine(self.server.proven(name, "secret"))
            self.failureResultOf(asking, Unavailable)
        self.assertEqual(self.result(self.server.proven("good", "s")).address, PROOF["address"])

    def test_clocksApart(self) -> None:
        """Its clock may be five minutes ahead of ours, and no more."""
        good = Threepid("msisdn", PROOF["address"], VALIDATED_MS)
        for apart_ms, is_proven in ((AHEAD_MS, True), (AHEAD_MS + 1, False)):
            self.clock.rightNow = (VALIDATED_MS - apart_ms) / 1000
            asking = Deferred.fromCoroutine(self.server.proven("good", "secret"))
            if is_proven:
                self.assertEqual(self.successResultOf(asking), good)
            else:
                self.failureResultOf(asking, Unavailable)
