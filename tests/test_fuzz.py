"""Generated requests and byte streams cause no 5xx and no failure in the log, and a refused request
leaves no row but its own session (threat A20, A21, F3).

The examples are the same each time, so that a failure is caused by the change; with
REGSYS_TEST_SCALE above 1 they are different each time.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.web.resource import Resource

from regsys import http
from tests.appservices import bridges
from tests.http.wire import Wire
from tests.support.case import PASSWORD
from tests.support.mutated_requests import (
    MAIL,
    NUMBER,
    PLACEHOLDERS,
    REGISTER,
    SECRET,
    Request,
    requests,
)
from tests.support.scale import examples
from tests.support.validations import MAILS, REQUEST


class Refusing(Resource):
    """An identity server that refuses, and other answers of foreign servers."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setResponseCode(403)
        return json.dumps({"errcode": "M_FORBIDDEN", "error": "\0\ud800\r\n"}).encode()


class FuzzTests(bridges.BridgeCase):
    services = (bridges.registration(namespaces={"users": [{"regex": "@", "exclusive": False}]}),)
    options = {  # noqa: RUF012 (BridgeCase declares it)
        **MAILS,
        "treq": StubTreq(Refusing()),
        "enable_registration_token_3pid_bypass": True,
        "rc_registration_token_validity": {"per_second": 1000, "burst_count": 1000},
        "regsys": {
            "rc_availability": False,
            "sessions_per_ip": 100_000,
            "introspection_secret": SECRET,
            "sms": {"enabled": True},
            "appservice_may_set_password": True,
        },
    }

    def setUp(self) -> None:
        super().setUp()
        self.resource = self.subsystem.resource(client_address=http.first_forwarded)
        self.number = 0
        self.admin = self.register("alice")["access_token"]
        self.change("UPDATE users SET admin = TRUE")
        self.wait(self.subsystem.registration_tokens.create(token="welcome", settings={}))
        self.live = self.newcomers()

    def assertNothingFailed(self) -> None:
        """Nothing was logged as an error, and no job failed except those that need a mail
        server."""
        self.assertEqual(self.flushLoggedErrors(), [])
        for error in self.failed_jobs.flush():
            self.assertTrue(error.startswith("MailDeferred: "), error)

    def newcomers(self) -> dict[str, str]:
        """A user, a guest and a session, none of them used yet."""
        self.number += 1
        own = f"user{self.number}"
        user = self.register(own, refresh_token=True, device_id="PHONE")
        guest = self.guest()
        session = self.challenge(password=PASSWORD)["session"]
        self.clock.advance(1)
        name = guest["user_id"][1:].partition(":")[0]
        tokens = (user["access_token"], user["refresh_token"], guest["access_token"])
        newcomer = f"newcomer{self.number}"
        mail = {**MAIL, "email": f"{newcomer}@mail.example", "client_secret": "secret"}
        sid = self.client.post(REQUEST, mail).json["sid"]
        number = f"0151 {10_000_000 + self.number}"
        asked = {**NUMBER, "phone_number": number}
        phone = self.client.post(f"{REGISTER}/msisdn/requestToken", asked).json["sid"]
        self.change("UPDATE validations SET validated_ms = 1 WHERE sid IN (?, ?)", sid, phone)
        found = (session, *tokens, name, newcomer, self.admin, sid, number, phone, own)
        return dict(zip(PLACEHOLDERS, found, strict=True))

    def send(self, request: Request) -> tuple[int, Optional[Any]]:
        """The status and the JSON of the answer; None for a page, or no body."""
        answer = Wire(self.resource).send(request.encoded(self.live))
        self.assertTrue(answer.startswith(b"HTTP/1.1 "), answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        is_json = body and b"application/json" in head
        return int(head.split()[1]), json.loads(body) if is_json else None

    @examples(1500)
    @given(requests())
    def test_requests(self, request: Request) -> None:
        """Every request is answered as a successful one, or refused without a trace."""
        before = self.counts()
        status, body = self.send(request)
        self.clock.advance(1)
        self.assertNothingFailed()
        self.assertLess(status, 500)
        if status < 400:
            if request.method not in ("GET", "HEAD", "OPTIONS"):
                self.live = self.newcomers()
            return
        if body is not None:
            self.assertIn("session" if "flows" in body else "errcode", body)
        before["uia_sessions"] += (
            status == 401 and self.counts()["uia_sessions"] > before["uia_sessions"]
        )
        self.assertEqual(self.counts(), before)

    @examples(400)
    @given(
        st.lists(
            st.builds(Request.encoded, requests(), st.just({}))
            | st.binary(max_size=40)
            | st.sampled_from(
                [
                    b"\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Transfer-Encoding: gzip\r\n",
                    b"Content-Length: -1\r\n",
                    b"Content-Length: 99999999999999999999\r\n",
                    b"Expect: 100-continue\r\n",
                    b"POST /_matrix/client/v3/register HTTP/1.0\r\n",
                    b"GET * HTTP/9.9\r\n\r\n",
                    b"ffffffffffffffff\r\n",
                    b"0\r\n\r\n",
                    b" folded: header\r\n",
                    b"A" * 20_000,
                ]
            ),
            max_size=6,
        ),
        st.integers(1, 400),
    )
    def test_byteStreams(self, pieces: list[bytes], step: int) -> None:
        """Malformed bytes are refused or cut off; nothing fails."""
        wire = Wire(self.resource)
        stream = b"".join(pieces)
        answers = b""
        for start in range(0, len(stream), step):
            answers += wire.send(stream[start : start + step])
            if wire.closed:
                break
        wire.hang_up()
        self.clock.advance(1)
        self.assertNothingFailed()
        self.assertNotIn(b"HTTP/1.1 5", answers)
