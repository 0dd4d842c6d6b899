"""Adding addresses as existing clients do: without an access token, and by the old endpoint."""

from __future__ import annotations

from typing import Any

from regsys.model import MailPurpose
from tests.support.accounts import THREEPIDS, AccountCase
from tests.support.validations import ADD_SUBMIT, ALICE, SECRET

OTHER = "other@mail.example"
REQUEST = f"{THREEPIDS}/email/requestToken"


class WithoutTokenTests(AccountCase):
    """Clients request a token without an access token."""

    def validate_without_account(self, email: str = ALICE, **more: Any) -> str:
        """Validate an address without an account; the sid."""
        body = {"email": email, "client_secret": SECRET, "send_attempt": 1, **more}
        answer = self.client.post(REQUEST, body)
        self.assertEqual((answer.status, answer.json.keys()), (200, {"sid"}), answer)
        self.assertEqual(self.mail.purpose, MailPurpose.ADD_THREEPID)
        self.client.post(ADD_SUBMIT, self.link(path=ADD_SUBMIT))
        sid = answer.json["sid"]
        assert isinstance(sid, str)
        return sid

    def test_added(self) -> None:
        """It belongs to the account that first presents it, confirmed or not; no registration can
        use it, and without its secret or before it is validated no account can."""
        sid = self.validate_without_account()
        answer = self.present(self.begin("mallory"), sid)
        self.assertEqual(answer.errcode, "M_UNAUTHORIZED", answer)
        for answer in (self.add(self.bob, sid, client_secret="wrong"), self.add(self.bob, "odd")):
            self.assertRefused(answer, 400, "M_THREEPID_AUTH_FAILED")
        body = {"email": OTHER, "client_secret": SECRET, "send_attempt": 1}
        unproven = self.client.post(REQUEST, body).json["sid"]
        self.assertRefused(self.add(self.alice, unproven), 400, "M_THREEPID_AUTH_FAILED")
        self.session(self.alice, sid)
        self.assertRefused(self.add(self.bob, sid), 400, "M_THREEPID_AUTH_FAILED")
        self.assertEqual(self.add_with_password(self.alice, sid).status, 200)
        self.assertEqual(
            (self.addresses_of(self.alice), self.addresses_of(self.bob)), ([ALICE], [])
        )

    def test_tokenThatIsGiven(self) -> None:
        """An access token that is given is checked; then the validation is that account's from the
        start."""
        self.assertRefused(self.request_token_to_add("nobody's"), 401, "M_UNKNOWN_TOKEN")
        sid = self.validate_as(self.alice)
        self.assertRefused(self.add(self.bob, sid), 400, "M_THREEPID_AUTH_FAILED")
        self.session(self.alice, sid)

    def test_sameRules(self) -> None:
        """Addresses in use, denied or beyond the limit are refused without a token, too; if that is
        hidden, the user of an address in use gets a mail."""
        tight = {"per_second": 0.001, "burst_count": 2}
        allowed = [{"medium": "email", "pattern": r"[^@]+@mail\.example$"}]
        self.add_address(self.alice)
        options: Any = {"allowed_local_3pids": allowed, "rc_3pid_validation": tight}
        self.system(database=self.database, **options)
        body = {"client_secret": SECRET, "send_attempt": 1}
        for email, status, errcode in (
            ("bob@evil.example", 403, "M_THREEPID_DENIED"),
            (ALICE, 400, "M_THREEPID_IN_USE"),
            (ALICE, 400, "M_THREEPID_IN_USE"),
            (OTHER, 429, "M_LIMIT_EXCEEDED"),
        ):
            answer = self.client.post(REQUEST, {**body, "email": email})
            self.assertRefused(answer, status, errcode, email)
        elsewhere = {"X_Forwarded_For": "192.0.2.77"}
        answer = self.client.post(REQUEST, {**body, "email": ALICE}, **elsewhere)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        self.assertEqual(self.client.post(REQUEST, {**body, "email": ALICE}).status, 200)
        self.assertEqual((self.mail.purpose, self.mail.link), (MailPurpose.IN_USE, None))
        self.assertFalse(self.mail.registering)

    def test_whereMailsNeedStages(self) -> None:
        """If mails need other stages first, a request without an account cannot avoid them."""
        self.system(database=self.database, regsys={"mail_needs_stages": True})
        body = {"email": ALICE, "client_secret": SECRET, "send_attempt": 1}
        self.assertRefused(self.client.post(REQUEST, body), 401, "M_MISSING_TOKEN")
        self.add_address(self.alice)


class DeprecatedEndpointTests(AccountCase):
    """POST /account/3pid, as clients added addresses before there was /add."""

    def post(self, token: str, body: Any) -> Any:
        return self.client.post(THREEPIDS, body, token=token)

    def test_added(self) -> None:
        """It adds a validated address, under either key, and asks for no password; a lost answer
        can be repeated."""
        for key, email in (("three_pid_creds", ALICE), ("threePidCreds", OTHER)):
            sid = self.validate_as(self.alice, email)
            creds = {"sid": sid, "client_secret": SECRET, "id_server": "x"}
            for _ in range(2):
                answer = self.post(self.alice, {key: creds, "bind": False})
                self.assertEqual((answer.status, answer.json), (200, {}), answer)
            self.assertRefused(self.post(self.bob, {key: creds}), 400, "M_THREEPID_AUTH_FAILED")
        self.assertEqual(self.addresses_of(self.alice), [ALICE, OTHER])

    def test_refused(self) -> None:
        """A parameter that is missing, of a wrong type or not validated adds nothing."""
        sid = self.request_token_to_add(self.alice).json["sid"]
        good = {"sid": sid, "client_secret": SECRET}
        for body, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"three_pid_creds": None}, "M_MISSING_PARAM"),
            ({"three_pid_creds": "x"}, "M_BAD_JSON"),
            ({"threePidCreds": []}, "M_BAD_JSON"),
            ({"three_pid_creds": {"sid": sid}}, "M_MISSING_PARAM"),
            ({"three_pid_creds": {**good, "sid": None}}, "M_BAD_JSON"),
            ({"three_pid_creds": {**good, "client_secret": "a b"}}, "M_INVALID_PARAM"),
            ({"three_pid_creds": good}, "M_THREEPID_AUTH_FAILED"),
        ):
            self.assertRefused(self.post(self.alice, body), 400, errcode, body)
        self.assertEqual(self.addresses_of(self.alice), [])
