"""The owner of a token, asked by its client and by a homeserver; versions and health."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional
from urllib.parse import quote

from tests.support.case import SystemCase
from tests.support.client import V3, Answer

SECRET = "between the two of us"


class WhoamiTests(SystemCase):
    def test_user(self) -> None:
        """A token's owner is returned with its device; under r0 too, and by the legacy query
        parameter."""
        made = self.register(device_id="PHONE")
        expected = {"user_id": "@alice:test.example", "device_id": "PHONE", "is_guest": False}
        token = made["access_token"]
        self.assertEqual(self.whoami(token).json, expected)
        for path in (f"{V3}/account/whoami", "/_matrix/client/r0/account/whoami"):
            answer = self.client.get(f"{path}?access_token={quote(token)}")
            self.assertEqual(answer.json, expected)

    def test_nobody(self) -> None:
        """A missing token and an unknown one have different errors."""
        self.assertRefused(self.client.get(f"{V3}/account/whoami"), 401, "M_MISSING_TOKEN")
        for token in ("", "nobody's", "syt_x"):
            self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN", token)

    def test_deactivated(self) -> None:
        """The tokens of a deactivated account are unknown."""
        token = self.register()["access_token"]
        self.change("UPDATE users SET deactivated = TRUE")
        self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")


class VersionsTests(SystemCase):
    def test_versions(self) -> None:
        """/versions lists versions of the specification, no more than clients require before they
        register, and no feature that isn't there."""
        answer = self.client.get("/_matrix/client/versions").json
        self.assertEqual(answer.keys(), {"versions", "unstable_features"})
        self.assertEqual(answer["unstable_features"], {})
        for version in answer["versions"]:
            self.assertRegex(version, r"\A(r0\.6\.[01]|v1\.\d+)\Z")
        # matrix-js-sdk requires v1.1, or in its newest releases v1.5. Later ones would promise
        # authenticated media, for instance.
        self.assertIn("v1.1", answer["versions"])
        self.assertEqual(answer["versions"][-1], "v1.5")


class HealthTests(SystemCase):
    def test_health(self) -> None:
        """/health says that the process answers."""
        self.assertEqual(self.client.get("/health").status, 200)


class IntrospectionTests(SystemCase):
    options: ClassVar[Mapping[str, Any]] = {"regsys": {"introspection_secret": SECRET}}

    def ask(self, token: Optional[str], secret: Optional[str] = SECRET) -> Answer:
        form = "hint=x" if token is None else f"token={quote(token)}"
        return self.client.ask("POST", "/_regsys/v1/introspect", form.encode(), token=secret)

    def test_user(self) -> None:
        """A homeserver with the secret learns the owner of a valid token, and its expiry."""
        made = self.register(device_id="PHONE", refresh_token=True)
        expected: dict[str, Any] = {
            "active": True,
            "sub": "@alice:test.example",
            "username": "alice",
            "device_id": "PHONE",
            "is_guest": False,
            "token_type": "access_token",
            "exp": self.now_ms // 1000 + 300,
        }
        self.assertEqual(self.ask(made["access_token"]).json, expected)

    def test_endless(self) -> None:
        """A token without an expiry has no ``exp``; a guest is marked as one."""
        self.assertNotIn("exp", self.ask(self.register()["access_token"]).json)
        guest = self.ask(self.guest()["access_token"]).json
        self.assertEqual((guest["is_guest"], guest["device_id"]), (True, "guest_device"))

    def test_inactive(self) -> None:
        """Any other token is reported as not active, with nothing else."""
        expired = self.register(refresh_token=True)
        self.clock.advance(300)
        out = self.register("bob")["access_token"]
        self.client.post(f"{V3}/logout", token=out)
        for token in (expired["access_token"], expired["refresh_token"], out, "x", "ä€"):
            answer = self.ask(token)
            self.assertEqual((answer.status, answer.json), (200, {"active": False}), token)

    def test_useSpendsTheOldPair(self) -> None:
        """A token that a homeserver asks about is in use: the pair before it is invalid."""
        first = self.register(refresh_token=True)
        body = {"refresh_token": first["refresh_token"]}
        fresh = self.client.post(f"{V3}/refresh", body).json
        self.assertTrue(self.ask(first["access_token"]).json["active"])
        self.assertTrue(self.ask(fresh["access_token"]).json["active"])
        self.assertFalse(self.ask(first["access_token"]).json["active"])

    def test_strangers(self) -> None:
        """Without the secret the request is refused."""
        token = self.register()["access_token"]
        self.assertRefused(self.ask(token, None), 401, "M_MISSING_TOKEN")
        for wrong in ("", SECRET[:-1], SECRET + "x", token):
            self.assertRefused(self.ask(token, wrong), 401, "M_UNKNOWN_TOKEN", wrong)

    def test_missingToken(self) -> None:
        """The token must be in the form."""
        self.assertRefused(self.ask(None), 400, "M_MISSING_PARAM")

    def test_notOffered(self) -> None:
        """If no secret is configured there is no such endpoint."""
        self.system()
        self.assertRefused(self.ask("x"), 404, "M_UNRECOGNIZED")
