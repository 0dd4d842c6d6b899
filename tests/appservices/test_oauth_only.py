"""Accounts come from an authentication service: all that is off here (OPTIONS)."""

from __future__ import annotations

from tests.appservices.bridges import OTHER_TOKEN, BridgeCase, other, registration
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3

OFF = "M_FORBIDDEN"


class WithoutLoginsTests(BridgeCase):
    def test_unsupported(self) -> None:
        """With OAuth only, or MSC4190 in its file, a service's users get no login: asking for one
        is refused before anything is written."""
        oauth = {
            "matrix_authentication_service": {"enabled": True},
            "enable_registration": False,
            "allow_guest_access": False,
        }
        msc4190 = {"services": (registration(**{"io.element.msc4190": True}), other())}
        for options in (oauth, msc4190):
            self.system(**options)
            before = self.counts()
            for more in ({}, {"inhibit_login": False}):
                refused = self.ask(**more)
                self.assertRefused(refused, 400, "M_APPSERVICE_LOGIN_UNSUPPORTED", options)
            self.assertEqual(self.counts(), before)
            self.made(inhibit_login=True)
            self.assertRefused(self.log_in(), 400, "M_APPSERVICE_LOGIN_UNSUPPORTED", options)
            self.assertEqual(self.acts_as("@_irc_alice:test.example").status, 200)
        self.made("_other_x", token=OTHER_TOKEN)

    def test_nobodyElse(self) -> None:
        """With OAuth only, services alone register, in whatever way; there is no login, and
        addresses are changed in the authentication service."""
        self.system(registration_shared_secret="s")
        bob = self.register("bob")["access_token"]
        self.system(
            database=self.database,
            matrix_authentication_service={"enabled": True},
            registration_shared_secret="s",
            allow_guest_access=True,
        )
        before = self.counts()
        login = {"type": "m.login.password", "user": "bob", "password": PASSWORD}
        for path, body, token, status, errcode in (
            ("register", {"username": "c", "password": PASSWORD, "auth": DUMMY}, None, 403, OFF),
            ("register?kind=guest", {}, None, 403, OFF),
            ("register/email/requestToken", {}, None, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
            ("login", login, None, 400, "M_UNKNOWN"),
            ("account/3pid/add", {"sid": "1", "client_secret": "s"}, bob, 400, OFF),
            ("account/3pid/bind", {}, bob, 400, OFF),
            ("account/3pid/unbind", {}, bob, 400, OFF),
            ("account/3pid/delete", {}, bob, 400, OFF),
            ("account/3pid/email/requestToken", {}, bob, 400, OFF),
            ("account/3pid/msisdn/requestToken", {}, bob, 400, OFF),
        ):
            answer = self.client.post(f"{V3}/{path}", body, token=token)
            self.assertRefused(answer, status, errcode, path)
        available = self.client.get(f"{V3}/register/available?username=c")
        self.assertRefused(available, 403, OFF)
        self.assertRefused(self.client.get("/_synapse/admin/v1/register"), 400, "M_UNKNOWN")
        flows = self.client.get(f"{V3}/login").json
        self.assertEqual((flows, self.counts()), ({"flows": []}, before))
