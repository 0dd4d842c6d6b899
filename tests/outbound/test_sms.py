"""The gateway for text messages: its requests, and the meaning of its answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from regsys.config.phones import SmsConfig
from regsys.errors import SmsDeferred, SmsRefused
from regsys.interfaces import ISmsSender
from regsys.outbound.http import DEADLINE_S, HTTPClient
from regsys.outbound.sms import SmsGateway
from regsys.testing import provides
from tests.outbound.test_http import Other

NUMBER = "4915112345678"
TEXT = 'Ümlaut & "more"=1 %(number)s %\n{"a": 1}'


class GatewayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.other, self.clock = Other(), Clock()
        self.gateway = self.made(as_form=True)

    def made(self, **config: Any) -> SmsGateway:
        http = HTTPClient(StubTreq(self.other), self.clock)
        return SmsGateway(config=SmsConfig(url="http://sms.example/send", **config), http=http)

    def send(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.gateway.send(NUMBER, TEXT))

    def test_provides(self) -> None:
        provides(ISmsSender, self.gateway)

    def test_form(self) -> None:
        """Each value is sent unchanged, and adds no field of its own."""
        self.successResultOf(self.send())
        (request,) = self.other.requests
        fields = parse_qs(request.sent.decode())
        self.assertEqual(fields, {"to": [f"+{NUMBER}"], "text": [TEXT]})
        self.assertIsNone(request.getHeader("authorization"))

    def test_answers(self) -> None:
        """2xx is success; a status about the message is final; any other may succeed later."""
        for status, outcome in (
            *((status, None) for status in (200, 201, 202, 204)),
            *((status, SmsRefused) for status in (400, 410, 422)),
            *((status, SmsDeferred) for status in (401, 402, 403, 404, 429, 500, 503, 302, 307)),
        ):

            def answer(request: Any, status: int = status) -> bytes:
                request.setResponseCode(status)
                return b""

            self.other.answer = answer
            if outcome is None:
                self.successResultOf(self.send())
            else:
                error = self.failureResultOf(self.send(), outcome).value
                self.assertNotIn(NUMBER, str(error))

    def test_stalls(self) -> None:
        """A gateway that does not answer is given up."""
        self.other.answer = lambda request: NOT_DONE_YET
        sending = self.send()
        self.assertNoResult(sending)
        self.clock.advance(DEADLINE_S)
        self.failureResultOf(sending, SmsDeferred)
