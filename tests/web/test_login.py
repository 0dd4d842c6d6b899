"""Logging out and refreshing over HTTP, and what /login offers."""

from __future__ import annotations

from typing import Any

from tests.support.case import SystemCase
from tests.support.client import V3, Answer

MINUTE_S = 60


class FlowsTests(SystemCase):
    def test_offered(self) -> None:
        """GET /login lists the login types; if passwords are off there is none."""
        self.assertEqual(
            self.client.get(f"{V3}/login").json, {"flows": [{"type": "m.login.password"}]}
        )
        for off in (
            {"enabled": False},
            {"enabled": "only_for_reauth"},
            {"localdb_enabled": False},
        ):
            self.system(password_config=off)
            self.assertEqual(self.client.get(f"{V3}/login").json, {"flows": []}, off)


class LogoutTests(SystemCase):
    def log_in(self, device_id: str) -> str:
        body = {
            "type": "m.login.password",
            "user": "alice",
            "password": "correct horse",
            "device_id": device_id,
        }
        token = self.client.post(f"{V3}/login", body).json["access_token"]
        assert isinstance(token, str)
        return token

    def assertDead(self, token: str) -> None:
        """Its device does not exist any more either."""
        answer = self.whoami(token)
        self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")
        self.assertFalse(answer.json.get("soft_logout", False))

    def test_oneDevice(self) -> None:
        """Logging out ends all tokens of this device, and no others."""
        made = self.register(refresh_token=True)
        other = self.log_in("OTHER")
        answer = self.client.post(f"{V3}/logout", token=made["access_token"])
        self.assertEqual((answer.status, answer.json), (200, {}))
        self.assertDead(made["access_token"])
        refresh = {"refresh_token": made["refresh_token"]}
        answer = self.client.post(f"{V3}/refresh", refresh)
        self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.whoami(other).status, 200)
        self.assertEqual(self.rows("SELECT device_id FROM devices"), [("OTHER",)])

    def test_allDevices(self) -> None:
        """Logging out everywhere ends all of the user's tokens, and no other user's."""
        tokens = [self.register()["access_token"], self.log_in("B"), self.log_in("C")]
        bob = self.register("bob")["access_token"]
        self.assertEqual(self.client.post(f"{V3}/logout/all", token=tokens[1]).json, {})
        for token in tokens:
            self.assertDead(token)
        self.assertEqual(self.whoami(bob).status, 200)

    def test_withoutToken(self) -> None:
        """A missing or unknown token is refused."""
        for path in ("logout", "logout/all"):
            answer = self.client.post(f"{V3}/{path}")
            self.assertRefused(answer, 401, "M_MISSING_TOKEN", path)
            answer = self.client.post(f"{V3}/{path}", token="nobody's")
            self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN", path)

    def test_bodyIsNotLookedAt(self) -> None:
        """The body of a logout is ignored."""
        token = self.register()["access_token"]
        self.assertEqual(self.client.post(f"{V3}/logout", b"no JSON", token=token).status, 200)


class RefreshTests(SystemCase):
    """The chain of B4.6 as a client sees it."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.register(refresh_token=True)

    def refresh(self, pair: Any, version: str = "v3") -> Answer:
        body = {"refresh_token": pair["refresh_token"]}
        return self.client.post(f"/_matrix/client/{version}/refresh", body)

    def assertUnknown(self, answer: Answer, soft: bool) -> None:
        self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(answer.json.get("soft_logout", False), soft)

    def test_chain(self) -> None:
        """A pair is refreshed, under v3 and v1; it becomes invalid when the next is used."""
        pair = self.first
        for version in ("v3", "v1", "v3"):
            answer = self.refresh(pair, version)
            self.assertEqual(answer.status, 200, answer)
            fresh = answer.json
            self.assertEqual(fresh.keys(), {"access_token", "refresh_token", "expires_in_ms"})
            self.assertEqual(fresh["expires_in_ms"], 5 * MINUTE_S * 1000)
            self.assertEqual(self.whoami(pair["access_token"]).status, 200)
            who = self.whoami(fresh["access_token"])
            self.assertEqual(who.json["device_id"], self.first["device_id"])
            self.assertUnknown(self.whoami(pair["access_token"]), soft=True)
            self.assertUnknown(self.refresh(pair), soft=True)
            pair = fresh
        r0 = self.client.post("/_matrix/client/r0/refresh")
        self.assertRefused(r0, 404, "M_UNRECOGNIZED")

    def test_lostAnswer(self) -> None:
        """A client that lost the answer repeats the request, and goes on with the second answer."""
        self.refresh(self.first)
        second = self.refresh(self.first).json
        self.assertEqual(self.whoami(second["access_token"]).status, 200)
        self.assertEqual(self.refresh(second).status, 200)

    def test_expired(self) -> None:
        """An expired access token is a soft logout, and the pair can be refreshed."""
        self.clock.advance(5 * MINUTE_S)
        self.assertUnknown(self.whoami(self.first["access_token"]), soft=True)
        fresh = self.refresh(self.first).json
        self.assertEqual(self.whoami(fresh["access_token"]).status, 200)

    def test_endOfTheSession(self) -> None:
        """At the end of the session nothing can be refreshed, and the logout is no soft one."""
        self.system(session_lifetime="10m", refresh_token_lifetime="8m")
        pair = self.register(refresh_token=True)
        self.clock.advance(7 * MINUTE_S)
        pair = self.refresh(pair).json
        self.assertEqual(pair["expires_in_ms"], 3 * MINUTE_S * 1000)
        self.clock.advance(3 * MINUTE_S)
        self.assertUnknown(self.whoami(pair["access_token"]), soft=False)
        self.assertUnknown(self.refresh(pair), soft=False)

    def test_expiredRefreshToken(self) -> None:
        """An unused refresh token expires; its device lives."""
        self.system(refresh_token_lifetime="1h")
        pair = self.register(refresh_token=True)
        self.clock.advance(60 * MINUTE_S)
        self.assertUnknown(self.refresh(pair), soft=True)

    def test_clockJumps(self) -> None:
        """However the clock jumps, a new token's lifetime counts from the present."""
        for jump_s in (-3600, 3600, -315_360_000, 315_360_000):
            self.clock.advance(jump_s)
            fresh = self.refresh(self.first)
            self.assertEqual((fresh.status, fresh.json["expires_in_ms"]), (200, 300_000), jump_s)

    def test_wrongBodies(self) -> None:
        """The refresh token is a string, and required; an unknown one is refused."""
        path = f"{V3}/refresh"
        self.assertRefused(self.client.post(path), 400, "M_MISSING_PARAM")
        for wrong in (None, 1, ["x"]):
            answer = self.client.post(path, {"refresh_token": wrong})
            self.assertRefused(answer, 400, "M_BAD_JSON", wrong)
        for strange in ("", "ä", self.first["access_token"], "syr_x_y_z"):
            answer = self.client.post(path, {"refresh_token": strange})
            self.assertUnknown(answer, soft=False)
