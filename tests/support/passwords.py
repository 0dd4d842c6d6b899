"""Helpers for tests of accounts that change or reset their passwords."""

from __future__ import annotations

from typing import Any, Optional

from regsys.model import MailPurpose
from tests.support.accounts import AccountCase
from tests.support.case import PASSWORD
from tests.support.client import V3, Answer
from tests.support.validations import ALICE, SECRET

CHANGE = f"{V3}/account/password"
RESET_REQUEST = f"{CHANGE}/email/requestToken"
RESET_SUBMIT = "/_matrix/client/unstable/password_reset/email/submit_token"
NEW = "a new battery staple"
ALICE_AUTH = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": PASSWORD,
}


class PasswordCase(AccountCase):
    """Alice has an address, and is logged in at PHONE and at LAPTOP; Bob is logged in."""

    def setUp(self) -> None:
        super().setUp()
        self.add_address(self.alice)
        self.phone = self.log_in(device_id="PHONE").json["access_token"]
        self.laptop = self.log_in(device_id="LAPTOP").json["access_token"]

    def log_in(self, password: str = PASSWORD, user: str = "alice", **more: Any) -> Answer:
        identifier = {"type": "m.id.user", "user": user}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self.client.post(f"{V3}/login", {**body, **more})

    def change_password(
        self,
        auth: Any = ALICE_AUTH,
        token: Optional[str] = None,
        new_password: Any = NEW,
        **more: Any,
    ) -> Answer:
        """A request to change Alice's password, by default that of her phone."""
        body = {"new_password": new_password, **({} if auth is None else {"auth": auth}), **more}
        return self.client.post(CHANGE, body, token=token or self.phone)

    def is_alive(self, token: str) -> bool:
        return self.whoami(token).status == 200

    def assertPassword(self, password: str, user: str = "alice") -> None:
        """This is the user's password, and no other that the tests use."""
        for given in (PASSWORD, NEW, "a third password"):
            status = self.log_in(given, user).status
            self.assertEqual(status, 200 if given == password else 403, given)

    # --- A forgotten password ------------------------------------------------------------

    def request_reset(self, email: str = ALICE, **more: Any) -> Answer:
        body = {"email": email, "client_secret": SECRET, "send_attempt": 1, **more}
        return self.client.post(RESET_REQUEST, body)

    def validated_reset(self, **more: Any) -> str:
        """Alice's validation session for a reset; the sid."""
        answer = self.request_reset(**more)
        self.assertEqual((answer.status, answer.json.keys()), (200, {"sid"}), answer)
        self.assertEqual(self.mail.purpose, MailPurpose.PASSWORD_RESET)
        answer = self.client.post(RESET_SUBMIT, self.link(path=RESET_SUBMIT))
        self.assertEqual((answer.status, answer.json), (200, {"success": True}), answer)
        sid = self.link(path=RESET_SUBMIT)["sid"]
        assert isinstance(sid, str)
        return sid

    def reset(self, sid: Any, new_password: Any = NEW, secret: str = SECRET, **more: Any) -> Answer:
        """A request to set a new password by the address, as apps send it: without a session."""
        session = {"session": more.pop("session")} if "session" in more else {}
        creds = {"sid": sid, "client_secret": secret}
        auth = {"type": "m.login.email.identity", "threepid_creds": creds, **session}
        body = {"auth": auth, **({} if new_password is None else {"new_password": new_password})}
        return self.client.post(CHANGE, {**body, **more})
