"""Registration by the shared secret, and administrators' checks of names (B13, B16.14)."""

from __future__ import annotations

import hmac
from typing import Any, ClassVar, Mapping, Optional

from tests.support.case import SystemCase
from tests.support.client import Answer

REGISTER = "/_synapse/admin/v1/register"
SECRET = "known to administrators alone"
USER: dict[str, Any] = {"username": "Root", "password": "swordfish", "admin": True}


def mac_of(body: dict[str, Any], nonce: str, secret: str = SECRET) -> str:
    """As administrators' scripts make it."""
    mac = hmac.new(secret.encode(), digestmod="sha1")
    mac.update(nonce.encode() + b"\0" + body["username"].encode() + b"\0")
    mac.update(body["password"].encode() + b"\0" + (b"admin" if body.get("admin") else b"notadmin"))
    if "user_type" in body:
        mac.update(b"\0" + body["user_type"].encode())
    return mac.hexdigest()


class SharedSecretCase(SystemCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_shared_secret": SECRET,
        "enable_registration": False,
    }

    def nonce(self) -> str:
        nonce: str = self.client.get(REGISTER).json["nonce"]
        return nonce

    def send(self, body: dict[str, Any], nonce: Optional[str] = None, **more: Any) -> Answer:
        nonce = self.nonce() if nonce is None else nonce
        return self.client.post(
            REGISTER, {**body, "nonce": nonce, "mac": mac_of(body, nonce), **more}
        )


class SharedSecretTests(SharedSecretCase):
    def test_registers(self) -> None:
        """A client with the secret registers an admin, whether registration is open or not; the
        name is signed as sent and lower-cased, the answer is like /register's."""
        answer = self.send(USER, displayname="The Root", device_id="CONSOLE", refresh_token=True)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["user_id"], "@root:test.example")
        self.assertEqual(answer.json["device_id"], "CONSOLE")
        self.assertIn("refresh_token", answer.json)
        self.assertEqual(self.whoami(answer.json["access_token"]).status, 200)
        self.assertEqual(
            self.rows("SELECT admin, display_name FROM users JOIN profiles USING (user_id)"),
            [(1, "The Root")],
        )

    def test_ordinaryUser(self) -> None:
        """Without ``admin`` the user is an ordinary one; with ``inhibit_login`` there is no
        token."""
        body = {"username": "bob", "password": "swordfish"}
        answer = self.send(body, inhibit_login=True)
        expected = {"user_id": "@bob:test.example", "home_server": "test.example"}
        self.assertEqual((answer.status, answer.json), (200, expected))
        self.assertEqual(self.rows("SELECT admin FROM users"), [(0,)])
        self.assertEqual(self.counts()["devices"], 0)

    def test_userType(self) -> None:
        """The user type is signed too, and must be a known one."""
        self.assertEqual(self.send({**USER, "user_type": "bot"}).status, 200)
        self.assertEqual(self.rows("SELECT user_type FROM users"), [("bot",)])
        unsigned = self.send({**USER, "username": "b"}, user_type="bot")
        self.assertRefused(unsigned, 403, "M_FORBIDDEN")
        unknown = self.send({**USER, "username": "c", "user_type": "ghost"})
        self.assertRefused(unknown, 400, "M_INVALID_PARAM")

    def test_wrongMac(self) -> None:
        """A wrong mac is 403, whatever it contains, and uses the nonce up."""
        nonce = self.nonce()
        for mac in ("", "0" * 40, "é", mac_of(USER, nonce, "another secret")):
            fresh = self.nonce()
            answer = self.client.post(REGISTER, {**USER, "nonce": fresh, "mac": mac or "x"})
            self.assertRefused(answer, 403, "M_FORBIDDEN", mac)
        self.client.post(REGISTER, {**USER, "nonce": nonce, "mac": "wrong"})
        self.assertRefused(self.send(USER, nonce), 400, "M_UNKNOWN")
        self.assertEqual(self.counts()["users"], 0)

    def test_nonces(self) -> None:
        """A nonce is valid once, for a minute, and only if it is ours; requesting one writes no
        row."""
        nonce = self.nonce()
        self.assertEqual(self.send(USER, nonce).status, 200)
        self.assertRefused(self.send({**USER, "username": "b"}, nonce), 400, "M_UNKNOWN")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM used_nonces"), [(1,)])
        late = self.nonce()
        self.clock.advance(60)
        forged = late.replace(late[:13], str(self.now_ms))
        for bad in (late, forged, "", "x", "é", "1.2.3", late + "x"):
            answer = self.client.post(
                REGISTER, {**USER, "nonce": bad or "-", "mac": mac_of(USER, bad or "-")}
            )
            self.assertRefused(answer, 400, "M_UNKNOWN", bad)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM used_nonces"), [(1,)])

    def test_otherProcess(self) -> None:
        """A nonce of one process is valid in another, and only once in both."""
        nonce = self.nonce()
        self.system(database=self.database, **self.options)
        self.assertEqual(self.send(USER, nonce).status, 200)
        self.system(database=self.database, **self.options)
        self.assertRefused(self.send({**USER, "username": "b"}, nonce), 400, "M_UNKNOWN")

    def test_badBodies(self) -> None:
        """Missing keys and wrong types are M_BAD_JSON, and use no nonce up."""
        nonce = self.nonce()
        good = {**USER, "nonce": nonce, "mac": mac_of(USER, nonce)}
        for key in ("username", "password", "nonce", "mac"):
            for bad in ({}, {key: None}, {key: 5}, {key: ""}):
                body = {**{name: good[name] for name in good if name != key}, **bad}
                self.assertRefused(self.client.post(REGISTER, body), 400, "M_BAD_JSON", bad)
        wrong = {"admin": "yes", "refresh_token": None, "user_type": 1, "device_id": 1}
        for key, value in wrong.items():
            answer = self.client.post(REGISTER, {**good, key: value})
            self.assertRefused(answer, 400, "M_BAD_JSON", key)
        self.assertEqual(self.client.post(REGISTER, good).status, 200)

    def test_nullIsLeftOut(self) -> None:
        """An optional key may be null, as a known tool sends it; it is no part of the mac then."""
        nulls = dict.fromkeys(
            ("user_type", "admin", "displayname", "device_id", "inhibit_login"), None
        )
        who = {"username": "bob", "password": "swordfish"}
        nonce = self.nonce()
        body = {**who, **nulls, "nonce": nonce, "mac": mac_of(who, nonce)}
        self.assertEqual(self.client.post(REGISTER, body).status, 200)

    def test_nameRules(self) -> None:
        """Taken and invalid names are refused as everywhere; the password policy is not applied."""
        self.system(
            **{
                **self.options,
                "password_config": {"policy": {"enabled": True, "minimum_length": 99}},
            }
        )
        self.assertEqual(self.send(USER).status, 200)
        self.assertRefused(self.send(USER), 400, "M_USER_IN_USE")
        impossible = self.send({**USER, "username": "_x"})
        self.assertRefused(impossible, 400, "M_INVALID_USERNAME")

    def test_noLimit(self) -> None:
        """The limit of registrations neither applies nor counts."""
        self.system(**{**self.options, "rc_registration": {"per_second": 0.001, "burst_count": 1}})
        for name in ("a", "b", "c"):
            self.assertEqual(self.send({**USER, "username": name}).status, 200)

    def test_beforeHashing(self) -> None:
        """A request without the secret costs no hash."""
        hashed = []
        hasher = self.subsystem.process.hasher
        self.patch(type(hasher), "hash", lambda *args: hashed.append(args))
        self.client.post(REGISTER, {**USER, "nonce": self.nonce(), "mac": "wrong"})
        self.assertEqual(hashed, [])


class NoSecretTests(SystemCase):
    def test_noSecret(self) -> None:
        """Without a secret in the configuration there is no such endpoint."""
        self.assertRefused(self.client.get(REGISTER), 400, "M_UNKNOWN")
        self.assertRefused(self.client.post(REGISTER, USER), 400, "M_UNKNOWN")


class UsernameAvailableTests(SystemCase):
    PATH = "/_synapse/admin/v1/username_available"

    def test_adminsAsk(self) -> None:
        """An administrator gets the answers of /register/available; no other user does."""
        token = self.register("alice")["access_token"]
        self.assertRefused(self.client.get(f"{self.PATH}?username=b"), 401, "M_MISSING_TOKEN")
        answer = self.client.get(f"{self.PATH}?username=b", token=token)
        self.assertRefused(answer, 403, "M_FORBIDDEN")
        self.change("UPDATE users SET admin = TRUE")
        answer = self.client.get(f"{self.PATH}?username=b", token=token)
        self.assertEqual((answer.status, answer.json), (200, {"available": True}))
        for query, errcode in (
            ("?username=alice", "M_USER_IN_USE"),
            ("?username=Alice", "M_INVALID_USERNAME"),
            ("", "M_MISSING_PARAM"),
        ):
            answer = self.client.get(f"{self.PATH}{query}", token=token)
            self.assertRefused(answer, 400, errcode, query)
