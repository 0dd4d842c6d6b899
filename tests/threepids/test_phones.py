"""Registering with a phone number that an identity server validates (contract B7.8, B8.6)."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from treq.testing import StubTreq

from regsys.model import UserID
from regsys.model.threepids import VALIDATED_MS as GOOD_FOR_MS
from regsys.outbound.http import DEADLINE_S
from tests.doubles.identity import (
    API,
    CODE,
    MEANINGLESS,
    NOT_VALIDATED,
    ODD_VALIDATIONS,
    REFUSALS,
    STALL,
    VALIDATED_MS,
    IdentityDouble,
)
from tests.support.case import PASSWORD, UIASessionCase
from tests.support.client import V3, Answer
from tests.support.log_canaries import watch_for_leaks

STAGE = "m.login.msisdn"
REQUEST = f"{V3}/register/msisdn/requestToken"
SUBMIT = "/_matrix/client/unstable/add_threepid/msisdn/submit_token"
SECRET = "client.secret"
NUMBER = "0151 12345678"
CANONICAL = "4915112345678"
PLENTY = {"per_second": 1000, "burst_count": 1000}
MAILS = {"email": {"notif_from": "a@test.example"}}
# A rate-limited answer says nothing about a validation.
LIMITED = "limited"
UNAVAILABLE = (503, "M_UNKNOWN")


class PhoneCase(UIASessionCase):
    options: ClassVar[Mapping[str, Any]] = {"registrations_require_3pid": ["msisdn"]}

    def system(self, **options: Any) -> None:
        self.double = IdentityDouble(self.clock)
        options.setdefault("rc_3pid_validation", PLENTY)
        options.setdefault("account_threepid_delegates", {"msisdn": "http://id.example/"})
        super().system(treq=StubTreq(self.double), **options)

    def request_token(self, number: Any = NUMBER, country: Any = "DE", **more: Any) -> Answer:
        body = {"phone_number": number, "country": country, "client_secret": SECRET}
        return self.client.post(REQUEST, {**body, "send_attempt": 1, **more})

    def submit(self, sid: str, token: str = CODE) -> Answer:
        body = {"sid": sid, "client_secret": SECRET, "token": token}
        return self.client.post(SUBMIT, body)

    def validate_number(self, **more: Any) -> str:
        """Validate a number; the sid."""
        sid = self.request_token(**more).json["sid"]
        answer = self.submit(sid)
        self.assertEqual((answer.status, answer.json), (200, {"success": True}), answer)
        assert isinstance(sid, str)
        return sid

    def present(self, session: str, sid: Any, secret: Any = SECRET, **body: Any) -> Answer:
        stage = {"type": STAGE, "threepid_creds": {"sid": sid, "client_secret": secret}}
        return self.go_on(session, stage, **body)

    def owners(self) -> dict[str, str]:
        return dict(self.rows("SELECT address, user_id FROM threepids WHERE medium = 'msisdn'"))


class RequestTests(PhoneCase):
    def test_passedOn(self) -> None:
        """The request is passed on as written; the answer comes back, with our submit_url."""
        answer = self.request_token(next_link="https://app.example/", id_server="x", extra=1)
        self.assertEqual(answer.status, 200, answer)
        plain = {"success": True, "msisdn": "x", "intl_fmt": "+49 …"}
        submit_url = f"https://test.example{SUBMIT}"
        self.assertEqual(answer.json, {"sid": "given0", "submit_url": submit_url, **plain})
        self.assertEqual(self.double.asked[0][0], f"{API}/validate/msisdn/requestToken")
        fields = {"country": "DE", "phone_number": NUMBER, "client_secret": SECRET}
        more = {"send_attempt": 1, "next_link": "https://app.example/"}
        self.assertEqual(self.double.asked[0][1], {**fields, **more})
        self.assertEqual(self.request_token(country="de").status, 200)

    def test_refused(self) -> None:
        """Malformed requests, in the order of the checks; the identity server is not asked."""
        for body, errcode in (
            ({"number": None}, "M_BAD_JSON"),
            ({"country": 49}, "M_BAD_JSON"),
            ({"country": "DEU"}, "M_INVALID_PARAM"),
            ({"country": "XX"}, "M_INVALID_PARAM"),
            ({"number": "hello"}, "M_INVALID_PARAM"),
            ({"number": "1"}, "M_INVALID_PARAM"),
            ({"number": "12"}, "M_INVALID_PARAM"),
            ({"number": "110"}, "M_INVALID_PARAM"),
            ({"number": "5551234", "country": "US"}, "M_INVALID_PARAM"),
            ({"number": "1" * 200}, "M_INVALID_PARAM"),
            ({"client_secret": "a b"}, "M_INVALID_PARAM"),
            ({"send_attempt": True}, "M_BAD_JSON"),
            ({"next_link": "javascript:x"}, "M_INVALID_PARAM"),
        ):
            self.assertRefused(self.request_token(**body), 400, errcode, body)
        body = {"phone_number": NUMBER, "country": "DE", "client_secret": SECRET}
        self.assertRefused(self.client.post(REQUEST, body), 400, "M_MISSING_PARAM")
        self.assertEqual(self.double.asked, [])

    def test_switchedOff(self) -> None:
        """Without a way to validate numbers, with numbers switched off, or with registration
        off."""
        unsupported = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
        for options, status, errcode in (
            ({"account_threepid_delegates": None}, 400, unsupported),
            ({"disable_msisdn_registration": True}, 400, unsupported),
            ({"enable_registration": False}, 403, "M_FORBIDDEN"),
        ):
            options = {"registrations_require_3pid": [], **options}
            self.system(**options)
            self.assertRefused(self.request_token(number=None), status, errcode, options)
            self.assertEqual(self.double.asked, [])

    def test_denied(self) -> None:
        """A number that is not allowed is refused, and does not count against the limit."""
        allowed = [{"medium": "msisdn", "pattern": r"^4915\d+$"}]
        tight = {"per_second": 0.001, "burst_count": 1}
        self.system(allowed_local_3pids=allowed, rc_3pid_validation=tight)
        for _ in range(3):
            self.assertRefused(self.request_token("030 1234567"), 403, "M_THREEPID_DENIED")
        self.assertEqual(self.request_token().status, 200)

    def test_limits(self) -> None:
        """Spellings of one number share a limit, and so do the numbers of one client."""
        self.system(rc_3pid_validation={"per_second": 0.001, "burst_count": 2})
        spellings = (NUMBER, "+49 (151) 12345678", "0049151-12345678")
        statuses = [
            self.client.post(
                REQUEST,
                {
                    "phone_number": number,
                    "country": "DE",
                    "client_secret": SECRET,
                    "send_attempt": 1,
                },
                X_Forwarded_For=f"192.0.2.{turn}",
            ).status
            for turn, number in enumerate(spellings)
        ]
        self.assertEqual(statuses, [200, 200, 429])
        self.assertEqual(len(self.double.asked), 2)
        numbers = [self.request_token(f"0151 1234567{digit}").status for digit in range(3)]
        self.assertEqual(numbers, [200, 200, 429])

    def test_inUse(self) -> None:
        """A number in use is refused, unless that is hidden: then its user gets a code."""
        self.assertRegistered(self.present(self.begin("owner"), self.validate_number()), "owner")
        asked = len(self.double.asked)
        self.assertRefused(self.request_token(), 400, "M_THREEPID_IN_USE")
        self.assertEqual(len(self.double.asked), asked)
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        answer = self.request_token()
        self.assertEqual((answer.status, answer.json["sid"]), (200, "given0"))

    def test_delegateFails(self) -> None:
        """A refusal is passed on; an invalid answer is a 503, and no secret is logged."""
        watch_for_leaks(
            self, {"the number": CANONICAL, "as written": NUMBER, "the secret": "canary"}
        )
        for name, (status, body) in REFUSALS.items():
            answer = self.request_token(client_secret=f"{name}..canary")
            self.assertRefused(answer, status, body["errcode"], name)
        for name in MEANINGLESS:
            self.assertRefused(
                self.request_token(client_secret=f"{name}..canary"), *UNAVAILABLE, name
            )


class SubmitTests(PhoneCase):
    def test_code(self) -> None:
        """The right code validates, a wrong one does not, and another session is not affected."""
        sid = self.request_token().json["sid"]
        refused = self.submit(sid, "000000")
        self.assertRefused(refused, 400, "M_TOKEN_INCORRECT")
        self.assertIs(refused.json["success"], False)
        self.assertEqual(self.submit(sid).json, {"success": True})

    def test_limit(self) -> None:
        """Wrong codes are limited by the client's address, right ones are not."""
        self.system(rc_3pid_validation={"per_second": 0.001, "burst_count": 3})
        sid = self.request_token().json["sid"]
        statuses = [self.submit(sid, token).status for token in (CODE, CODE, "1", "2", "3", CODE)]
        self.assertEqual(statuses, [200, 200, 400, 400, 400, 429])

    def test_delegateFails(self) -> None:
        for name, (status, body) in REFUSALS.items():
            self.assertRefused(self.submit(f"{name}..1"), status, body["errcode"], name)
        for name in MEANINGLESS:
            self.assertRefused(self.submit(f"{name}..1"), *UNAVAILABLE, name)

    def test_withoutDelegate(self) -> None:
        """There is no server to submit to."""
        self.system(account_threepid_delegates=None, registrations_require_3pid=[])
        self.assertRefused(self.submit("sid"), 400, "M_NO_VALID_SESSION")


class StageTests(PhoneCase):
    def test_registers(self) -> None:
        """A validated number is the new account's, in its canonical form."""
        begun = self.challenge(username="alice", password=PASSWORD)
        self.assertEqual(begun["flows"], [{"stages": [STAGE]}])
        answer = self.present(begun["session"], self.validate_number(number="+4915112345678"))
        self.assertRegistered(answer, "alice")
        self.assertEqual(self.owners(), {CANONICAL: "@alice:test.example"})

    def test_flows(self) -> None:
        """A number may be one flow among others."""
        self.system(registrations_require_3pid=[], email={"notif_from": "a@test.example"})
        email = "m.login.email.identity"
        flows = [["m.login.dummy"], [email], [STAGE], [STAGE, email]]
        found = self.challenge(username="alice", password=PASSWORD)["flows"]
        self.assertEqual([flow["stages"] for flow in found], flows)
        self.system(registrations_require_3pid=[], disable_msisdn_registration=True)
        found = self.challenge(username="alice", password=PASSWORD)
        self.assertEqual(found["flows"], [{"stages": ["m.login.dummy"]}])
        # It is configured, so it may be passed, although no flow requires it.
        passed = self.present(found["session"], "good")
        self.assertEqual((passed.status, passed.json["completed"]), (401, [STAGE]), passed)

    def test_notValidated(self) -> None:
        """An answer that does not clearly validate the number passes no stage, and the session
        lives on."""
        watch_for_leaks(self, {"the number": CANONICAL, "sid": "canary"})
        session = self.begin("alice")
        for name in ({*REFUSALS} - {LIMITED}) | {*NOT_VALIDATED, "never-heard-of", "empty-object"}:
            answer = self.present(session, f"{name}..canary")
            self.assertRefused(answer, 401, "M_UNAUTHORIZED", name)
            self.assertEqual(answer.json["completed"], [], name)
        for name in (*ODD_VALIDATIONS, *MEANINGLESS, LIMITED):
            if name != "empty-object":
                self.assertRefused(self.present(session, f"{name}..canary"), *UNAVAILABLE, name)
        self.assertEqual(self.counts()["users"], 0)
        self.assertRegistered(self.present(session, "good"), "alice")

    def test_stalls(self) -> None:
        """A request that waits for a stalled server is answered at the deadline."""
        session = self.begin("alice")
        request = self.client.start(
            "POST",
            f"{V3}/register",
            {
                "auth": {
                    "session": session,
                    "type": STAGE,
                    "threepid_creds": {"sid": STALL, "client_secret": SECRET},
                }
            },
        )
        self.assertNoResult(request)
        self.clock.advance(DEADLINE_S)
        self.assertRefused(self.client.answer(request), *UNAVAILABLE)

    def test_shape(self) -> None:
        """A missing or malformed key of threepid_creds is refused without asking the server."""
        session = self.begin("alice")
        for creds, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"sid": "good"}, "M_MISSING_PARAM"),
            ({"sid": 5, "client_secret": "a"}, "M_INVALID_PARAM"),
            ([], "M_INVALID_PARAM"),
        ):
            answer = self.go_on(session, {"type": STAGE, "threepid_creds": creds})
            self.assertRefused(answer, 401, errcode, creds)
        self.assertEqual(self.double.asked, [])

    def test_oneSession(self) -> None:
        """A validation passes one session, however its sid is spelt; that session may present it
        again."""
        self.system(registrations_require_3pid=["msisdn", "email"], **MAILS)
        first, second = self.begin("alice"), self.begin("bob")
        for _ in range(2):
            answer = self.present(first, "good")
            self.assertEqual(answer.json["completed"], [STAGE])
        for sid in ("good", "good..again"):
            self.assertRefused(self.present(second, sid), 401, "M_UNAUTHORIZED", sid)
        rows = self.rows("SELECT address, validated_ms, claimed_by FROM validations")
        self.assertEqual([tuple(row) for row in rows], [(CANONICAL, VALIDATED_MS, first)])

    def test_old(self) -> None:
        """A validation makes one account, also when that is deactivated and the session is deleted:
        one that is older than the longest session is refused."""
        self.clock.advance((VALIDATED_MS + GOOD_FOR_MS) / 1000 - self.clock.seconds() - 3600)
        self.assertRegistered(self.present(self.begin("alice"), "good"), "alice")
        self.wait(self.subsystem.handler.deactivated(UserID("alice", "test.example")))
        self.assertEqual(self.owners(), {})
        for hours in (0, 2, 48):
            self.clock.advance(hours * 3600)
            self.wait(self.subsystem._housekeeping._sweep())
            answer = self.present(self.begin(f"bob{hours}"), "good..again")
            self.assertRefused(answer, 401, "M_UNAUTHORIZED", hours)

    def test_forgottenSession(self) -> None:
        """A used validation is remembered for as long as it is valid, also if its session ends
        before."""
        self.clock.rightNow -= 47 * 3600
        session = self.begin("alice")
        self.clock.advance(47 * 3600)
        self.assertRegistered(self.present(session, "good"), "alice")
        self.wait(self.subsystem.handler.deactivated(UserID("alice", "test.example")))
        self.clock.advance(2 * 3600)
        self.wait(self.subsystem._housekeeping._sweep())
        self.assertRefused(self.present(self.begin("bob"), "good"), 401, "M_UNAUTHORIZED")

    def test_anotherNumber(self) -> None:
        """A session that presents another validation, and fails, has lost the first one."""
        self.system(registrations_require_3pid=["msisdn", "email"], **MAILS)
        session = self.begin("alice")
        self.assertEqual(self.present(session, "good").json["completed"], [STAGE])
        self.assertEqual(self.present(session, "no-session").json["completed"], [])

    def test_denied(self) -> None:
        """A number that is not allowed any more makes no account, although it is validated."""
        allowed = [{"medium": "msisdn", "pattern": r"^33\d+$"}]
        self.system(allowed_local_3pids=allowed)
        self.assertRefused(self.present(self.begin("a"), "good"), 403, "M_THREEPID_DENIED")
        self.assertEqual(self.owners(), {})

    def test_oneAccount(self) -> None:
        """Of two clients that have validated one number, one gets it."""
        sids = [self.validate_number(), self.validate_number(number="+49 151 12345678")]
        sessions = [self.begin("alice"), self.begin("bob")]
        self.assertRegistered(self.present(sessions[0], sids[0]), "alice")
        self.assertRefused(self.present(sessions[1], sids[1]), 400, "M_THREEPID_IN_USE")
        self.assertEqual(self.owners(), {CANONICAL: "@alice:test.example"})
