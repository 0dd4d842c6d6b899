"""Phone numbers that are added to accounts: with codes of our own, and by an identity server."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping
from urllib.parse import urlencode

from regsys.model.threepids import VALIDATED_MS as GOOD_FOR_MS
from regsys.testing import MemoryMails
from tests.doubles.identity import (
    CODE,
    MEANINGLESS,
    NOT_VALIDATED,
    ODD_VALIDATIONS,
    REFUSALS,
    VALIDATED_MS,
)
from tests.support.accounts import THREEPIDS, AccountCase
from tests.support.client import Answer
from tests.support.sms import OWN, SmsCase
from tests.support.validations import MAILS
from tests.support.validations import SUBMIT as PAGE
from tests.threepids.test_phones import (
    CANONICAL,
    NUMBER,
    SECRET,
    STAGE,
    SUBMIT,
    UNAVAILABLE,
    PhoneCase,
)

REQUEST = f"{THREEPIDS}/msisdn/requestToken"
NUMBERS = {"registrations_require_3pid": ["msisdn"]}
NOT_VALIDATED_ERROR = (400, "M_THREEPID_AUTH_FAILED")


class AccountPhoneCase(PhoneCase, AccountCase):
    """Alice and Bob have accounts, and no number yet."""

    options: ClassVar[Mapping[str, Any]] = {**AccountCase.options, **MAILS}

    def request_number_token(self, token: str, number: str = NUMBER, **more: Any) -> Answer:
        body = {"phone_number": number, "country": "DE", "client_secret": SECRET}
        return self.client.post(REQUEST, {**body, "send_attempt": 1, **more}, token=token)

    def number_of(self, token: str) -> list[tuple[str, str]]:
        listed = self.client.get(THREEPIDS, token=token).json["threepids"]
        return [(item["medium"], item["address"]) for item in listed]

    def remove_number(self, token: str) -> None:
        self.assertEqual(self.delete(token, CANONICAL, "msisdn").status, 200)


class SmsTests(SmsCase, AccountPhoneCase):
    """regsys sends the codes."""

    options: ClassVar[Mapping[str, Any]] = {
        **AccountPhoneCase.options,
        "account_threepid_delegates": None,
        "regsys": OWN,
    }

    def setUp(self) -> None:
        self.mails = MemoryMails()
        super().setUp()

    def system(self, **options: Any) -> None:
        options.setdefault("hooks", self.hooks(sms=self.sms, mails=self.mails))
        super().system(**options)

    def validate_number_as(self, token: str, **more: Any) -> str:
        answer = self.request_number_token(token, **more)
        self.assertEqual(answer.status, 200, answer)
        sid = answer.json["sid"]
        assert isinstance(sid, str)
        self.assertEqual(self.submit(sid, self.code()).json, {"success": True})
        return sid

    def test_whole(self) -> None:
        """A code is sent, with its purpose; it validates the number, which then belongs to the
        account and can be used for login. A lost answer can be repeated."""
        answer = self.request_number_token(self.alice)
        self.assertEqual(answer.json["submit_url"], f"https://test.example{SUBMIT}")
        ((number, text),) = self.sms.sent
        self.assertEqual(number, CANONICAL)
        self.assertIn("adding this number to an account on test.example", text)
        self.assertLess(len(text), 160)
        self.assertRefused(self.add(self.alice, answer.json["sid"]), *NOT_VALIDATED_ERROR)
        sid = self.validate_number_as(self.alice)
        for _ in range(2):
            self.assertEqual(self.add_with_password(self.alice, sid).status, 200)
        self.assertEqual(self.number_of(self.alice), [("msisdn", CANONICAL)])
        by_phone = {"type": "m.id.phone", "country": "DE", "phone": NUMBER}
        login = {"type": "m.login.password", "identifier": by_phone, "password": "correct horse"}
        answer = self.client.post("/_matrix/client/v3/login", login)
        self.assertEqual(answer.json.get("user_id"), "@alice:test.example", answer)
        self.remove_number(self.alice)
        self.assertRefused(self.add(self.alice, sid), *NOT_VALIDATED_ERROR)

    def test_oddNumberThatItHas(self) -> None:
        """A number that an account has can be used for login, and removed, even if it could not be
        added today."""
        self.add_with_password(self.alice, self.validate_number_as(self.alice))
        self.change("UPDATE threepids SET address = '49110' WHERE medium = 'msisdn'")
        self.assertRefused(self.request_number_token(self.alice, "110"), 400, "M_INVALID_PARAM")
        by_phone = {"type": "m.id.phone", "country": "DE", "phone": "110"}
        login = {"type": "m.login.password", "identifier": by_phone, "password": "correct horse"}
        self.assertEqual(self.client.post("/_matrix/client/v3/login", login).status, 200)
        self.assertEqual(self.delete(self.alice, "+49 110", "msisdn").status, 200)
        self.assertEqual(self.number_of(self.alice), [])

    def test_notToRegisterWith(self) -> None:
        """If registration by phone is off, a number can be added all the same."""
        self.system(database=self.database, disable_msisdn_registration=True)
        self.assertEqual(
            self.add_with_password(self.alice, self.validate_number_as(self.alice)).status, 200
        )
        self.assertRefused(self.request_token("0151 1"), 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")

    def test_others(self) -> None:
        """A number that one account has validated cannot be used by another, nor by a
        registration."""
        sid = self.validate_number_as(self.alice)
        self.assertRefused(self.add(self.bob, sid), *NOT_VALIDATED_ERROR)
        self.system(database=self.database, registrations_require_3pid=["msisdn"])
        answer = self.present(self.begin("mallory"), sid)
        self.assertRefused(answer, 401, "M_UNAUTHORIZED")

    def test_inUse(self) -> None:
        """A number in use is refused; if that is hidden its user is told."""
        self.add_with_password(self.alice, self.validate_number_as(self.alice))
        self.assertRefused(self.request_number_token(self.bob), 400, "M_THREEPID_IN_USE")
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        self.assertEqual(self.request_number_token(self.bob).status, 200)
        self.assertIn("tried to add this number to an account", self.sms.sent[-1][1])

    def test_media(self) -> None:
        """The page of mails accepts no validation session of a phone, nor the reverse, although
        token and secret are right; the user is told so on a page."""
        sid = self.request_number_token(self.alice).json["sid"]
        given = {"sid": sid, "client_secret": SECRET, "token": self.code()}
        for path in (PAGE, PAGE.replace("registration", "add_threepid")):
            for answer in (
                self.client.get(f"{path}?{urlencode(given)}"),
                self.client.post(path, urlencode(given).encode()),
            ):
                self.assertEqual(answer.status, 400, path)
                self.assertIn("text/html", answer.headers["content-type"])
            self.assertRefused(self.client.post(path, given), 400, "M_NO_VALID_SESSION", path)
        self.request_token_to_add(self.alice)
        link = self.link(path=PAGE.replace("registration", "add_threepid"))
        self.assertRefused(self.client.post(SUBMIT, link), 400, "M_NO_VALID_SESSION")
        self.assertEqual(self.client.post(SUBMIT, given).json, {"success": True})


class DelegatedTests(AccountPhoneCase):
    """An identity server sends the codes, and has the validation sessions."""

    def validate_number_as(self, token: str, **more: Any) -> str:
        answer = self.request_number_token(token, **more)
        self.assertEqual(answer.status, 200, answer)
        sid = answer.json["sid"]
        assert isinstance(sid, str)
        self.assertEqual(self.submit(sid, CODE).json, {"success": True})
        return sid

    def test_whole(self) -> None:
        """Its validation adds the number, once; a lost answer can be repeated."""
        answer = self.request_number_token(self.alice)
        self.assertEqual(answer.json["submit_url"], f"https://test.example{SUBMIT}")
        self.assertRefused(self.add(self.alice, answer.json["sid"]), *NOT_VALIDATED_ERROR)
        sid = self.validate_number_as(self.alice)
        for _ in range(2):
            self.assertEqual(self.add_with_password(self.alice, sid).status, 200)
        self.assertEqual(self.number_of(self.alice), [("msisdn", CANONICAL)])
        self.remove_number(self.alice)
        self.assertRefused(self.add(self.alice, sid), *NOT_VALIDATED_ERROR)
        self.assertEqual(self.number_of(self.alice), [])

    def test_firstOnes(self) -> None:
        """It belongs to the account that presents it first, and cannot be used to register; nor can
        an account use one of a registration."""
        sid = self.validate_number_as(self.alice)
        session = self.session(self.alice, sid)
        self.assertRefused(self.add(self.bob, sid), *NOT_VALIDATED_ERROR)
        options = {"registrations_require_3pid": ["msisdn", "email"]}
        self.system(database=self.database, **options)
        newcomer = self.begin("mallory")
        self.assertRefused(self.present(newcomer, "good..1"), 401, "M_UNAUTHORIZED")
        self.assertIsNotNone(session)
        other = self.validate_number_as(self.alice, number="0151 12345679")
        self.assertEqual(self.present(newcomer, other).json["completed"], [STAGE])
        self.assertRefused(self.add(self.alice, other), *NOT_VALIDATED_ERROR)

    def test_old(self) -> None:
        """An old validation is refused: whether it was used is forgotten."""
        sid = self.validate_number_as(self.alice)
        end_s = (VALIDATED_MS + GOOD_FOR_MS) / 1000
        self.clock.advance(end_s - self.clock.seconds() - 1)
        self.session(self.alice, sid)
        self.clock.advance(1)
        self.assertRefused(self.add(self.alice, sid), *NOT_VALIDATED_ERROR)

    def test_faults(self) -> None:
        """An answer that does not clearly validate the number adds nothing; while the server is
        unavailable the request is refused with 503, and nothing is written."""
        for name in {*REFUSALS, *NOT_VALIDATED, "never-heard-of", "empty-object"} - {"limited"}:
            self.assertRefused(self.add(self.alice, f"{name}..1"), *NOT_VALIDATED_ERROR, name)
        for name in {*ODD_VALIDATIONS, *MEANINGLESS, "limited"} - {"empty-object"}:
            self.assertRefused(self.add(self.alice, f"{name}..1"), *UNAVAILABLE, name)
        self.assertEqual(self.rows("SELECT * FROM validations"), [])
        self.assertEqual(self.rows("SELECT * FROM uia_sessions"), [])

    def test_withoutToken(self) -> None:
        """A request without an access token starts a validation for the account that presents it
        first."""
        body = {"phone_number": NUMBER, "country": "DE", "client_secret": SECRET, "send_attempt": 1}
        answer = self.client.post(REQUEST, body)
        self.assertEqual(answer.status, 200, answer)
        self.submit(answer.json["sid"], CODE)
        self.assertEqual(self.add_with_password(self.alice, answer.json["sid"]).status, 200)
        self.assertRefused(self.add(self.bob, answer.json["sid"]), *NOT_VALIDATED_ERROR)

    def test_limit(self) -> None:
        """For sessions without a validation the other server is asked at a limited rate for each
        client; validated ones cost nothing. Our own sessions need no other server."""
        tight = {"per_second": 0.001, "burst_count": 3}
        self.system(database=self.database, rc_3pid_validation=tight)
        sid = self.validate_number_as(self.alice)
        for _ in range(5):
            self.session(self.alice, sid)
        self.double.asked.clear()
        for number in range(9):
            answer = self.add(self.alice, f"never-heard-of..{number}")
            if number < 3:
                self.assertRefused(answer, *NOT_VALIDATED_ERROR)
            else:
                self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(len(self.double.asked), 3)
        self.system(database=self.database, rc_3pid_validation=tight, **NUMBERS)
        session = self.begin("carol")
        statuses = [self.present(session, f"never-heard-of..{i}").status for i in range(5)]
        self.assertEqual((statuses, len(self.double.asked)), ([401, 401, 401, 429, 429], 3))

    def test_inUse(self) -> None:
        """Of two accounts that have validated one number the second is refused: the number is never
        moved."""
        sids = (
            self.validate_number_as(self.alice),
            self.validate_number_as(self.bob, client_secret=SECRET),
        )
        self.assertEqual(self.add_with_password(self.alice, sids[0]).status, 200)
        answer = self.add_with_password(self.bob, sids[1], "bob")
        self.assertRefused(answer, 400, "M_THREEPID_IN_USE")
        self.assertEqual(self.number_of(self.bob), [])
