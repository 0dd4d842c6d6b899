"""Helpers for tests of accounts that change their addresses."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional

from tests.support.case import PASSWORD
from tests.support.client import V3, Answer
from tests.support.validations import ADD_SUBMIT, ALICE, SECRET, EmailValidationCase

THREEPIDS = f"{V3}/account/3pid"
PASSWORD_AUTH = {"type": "m.login.password", "password": PASSWORD}


class AccountCase(EmailValidationCase):
    """Alice and Bob have accounts, and no address yet."""

    options: ClassVar[Mapping[str, Any]] = {
        "rc_login": {
            part: {"per_second": 1000, "burst_count": 1000}
            for part in ("address", "account", "failed_attempts")
        }
    }

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.register("alice")["access_token"]
        self.bob = self.register("bob")["access_token"]

    # --- A client's requests -------------------------------------------------------------

    def request_token_to_add(self, token: str, email: Any = ALICE, **more: Any) -> Answer:
        body = {"email": email, "client_secret": SECRET, "send_attempt": 1, **more}
        return self.client.post(f"{THREEPIDS}/email/requestToken", body, token=token)

    def validate_as(self, token: str, email: str = ALICE, **more: Any) -> str:
        """The owner of this token validates an address; the sid."""
        answer = self.request_token_to_add(token, email, **more)
        self.assertEqual(answer.status, 200, answer)
        answer = self.client.post(ADD_SUBMIT, self.link(path=ADD_SUBMIT))
        self.assertEqual((answer.status, answer.json), (200, {"success": True}), answer)
        sid = self.link(path=ADD_SUBMIT)["sid"]
        assert isinstance(sid, str)
        return sid

    def add(self, token: str, sid: Any, auth: Optional[Any] = None, **more: Any) -> Answer:
        """One request to add a validated address."""
        body = {"sid": sid, "client_secret": SECRET, **more}
        if auth is not None:
            body["auth"] = auth
        return self.client.post(f"{THREEPIDS}/add", body, token=token)

    def session(self, token: str, sid: str) -> str:
        """The UIA session in which the user is to confirm the addition."""
        answer = self.add(token, sid)
        self.assertEqual(answer.status, 401, answer)
        session = answer.json["session"]
        assert isinstance(session, str)
        return session

    def add_with_password(self, token: str, sid: str, user: str = "alice") -> Answer:
        """Add the address, and reauthenticate by password."""
        auth = {**PASSWORD_AUTH, "session": self.session(token, sid)}
        auth["identifier"] = {"type": "m.id.user", "user": user}
        return self.add(token, sid, auth)

    def add_address(self, token: str, email: str = ALICE, user: str = "alice") -> None:
        """Add this address to the user's account."""
        answer = self.add_with_password(token, self.validate_as(token, email), user)
        self.assertEqual((answer.status, answer.json), (200, {}), answer)

    def delete(
        self, token: str, address: Any = ALICE, medium: Any = "email", **more: Any
    ) -> Answer:
        body = {"medium": medium, "address": address, **more}
        return self.client.post(f"{THREEPIDS}/delete", body, token=token)

    def addresses_of(self, token: str) -> list[str]:
        """The addresses of the token's owner."""
        answer = self.client.get(THREEPIDS, token=token)
        self.assertEqual(answer.status, 200, answer)
        return [item["address"] for item in answer.json["threepids"]]
