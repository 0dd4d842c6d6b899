"""A user's devices over HTTP: listed, renamed, and deleted once the user has confirmed it."""

from __future__ import annotations

from typing import Any, Optional

from tests.appservices.bridges import TOKEN, BridgeCase
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer

DEVICES = f"{V3}/devices"
DELETE = f"{V3}/delete_devices"
ALICE_AUTH = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": PASSWORD,
}


class DeviceCase(SystemCase):
    """Alice is logged in at PHONE, LAPTOP and TABLET, Bob at a PHONE of his."""

    def setUp(self) -> None:
        super().setUp()
        first = {"device_id": "PHONE", "initial_device_display_name": "my phone"}
        self.phone = self.register("alice", **first)["access_token"]
        self.laptop, self.tablet = (self.log_in(name) for name in ("LAPTOP", "TABLET"))
        self.bob = self.register("bob", device_id="PHONE")["access_token"]

    def log_in(self, device_id: str) -> str:
        body = {**ALICE_AUTH, "device_id": device_id}
        token = self.client.post(f"{V3}/login", body).json["access_token"]
        assert isinstance(token, str)
        return token

    def listed(self, token: Optional[str] = None) -> list[str]:
        answer = self.client.get(DEVICES, token=token or self.phone)
        self.assertEqual(answer.status, 200, answer)
        return [device["device_id"] for device in answer.json["devices"]]

    def delete(self, device_id: str, auth: Any = None, token: Optional[str] = None) -> Answer:
        body = None if auth is None else {"auth": auth}
        path = f"{DEVICES}/{device_id}"
        return self.client.ask("DELETE", path, body, token=token or self.phone)

    def delete_several(self, *device_ids: str, auth: Any = None, **more: Any) -> Answer:
        body = {"devices": device_ids, **({} if auth is None else {"auth": auth})}
        return self.client.post(DELETE, body, token=more.get("token", self.phone))


class ListTests(DeviceCase):
    def test_listed(self) -> None:
        """A user's own devices, with their names; one that has none has no key."""
        answer = self.client.get(DEVICES, token=self.phone)
        phone = {"device_id": "PHONE", "display_name": "my phone"}
        others = [{"device_id": "LAPTOP"}, {"device_id": "TABLET"}]
        self.assertEqual(answer.json, {"devices": [others[0], phone, others[1]]})
        one = self.client.get(f"{DEVICES}/PHONE", token=self.phone)
        self.assertEqual((one.status, one.json), (200, phone))
        self.assertEqual(self.listed(self.bob), ["PHONE"])

    def test_unknown(self) -> None:
        """Another user's device is as unknown as one that does not exist."""
        for path in (f"{DEVICES}/LAPTOP", f"{DEVICES}/NONE"):
            self.assertRefused(self.client.get(path, token=self.bob), 404, "M_NOT_FOUND")
            renamed = self.client.ask("PUT", path, {"display_name": "x"}, token=self.bob)
            self.assertRefused(renamed, 404, "M_NOT_FOUND")
            unchanged = self.client.ask("PUT", path, {}, token=self.bob)
            self.assertRefused(unchanged, 404, "M_NOT_FOUND")
        self.assertRefused(self.client.get(DEVICES), 401, "M_MISSING_TOKEN")

    def test_renamed(self) -> None:
        """A device gets the name, and keeps it where none is given; a name has at most a hundred
        characters."""
        path = f"{DEVICES}/LAPTOP"
        for body in ({"display_name": "work"}, {}, {"display_name": None}):
            answer = self.client.ask("PUT", path, body, token=self.phone)
            self.assertEqual((answer.status, answer.json), (200, {}))
            found = self.client.get(path, token=self.phone).json
            self.assertEqual(found, {"device_id": "LAPTOP", "display_name": "work"})
        for body, errcode in (
            ({"display_name": "x" * 101}, "M_INVALID_PARAM"),
            ({"display_name": 1}, "M_BAD_JSON"),
        ):
            answer = self.client.ask("PUT", path, body, token=self.phone)
            self.assertRefused(answer, 400, errcode)
        bobs = self.client.get(f"{DEVICES}/PHONE", token=self.bob).json
        self.assertEqual(bobs, {"device_id": "PHONE"})

    def test_guest(self) -> None:
        """A guest sees and renames the one device, and deletes none."""
        guest = self.guest()["access_token"]
        self.assertEqual(self.listed(guest), ["guest_device"])
        path = f"{DEVICES}/guest_device"
        answer = self.client.ask("PUT", path, {"display_name": "x"}, token=guest)
        self.assertEqual(answer.status, 200, answer)
        for answer in (self.delete("guest_device", token=guest), self.delete_several(token=guest)):
            self.assertRefused(answer, 403, "M_GUEST_ACCESS_FORBIDDEN")


class DeleteTests(DeviceCase):
    def test_one(self) -> None:
        """Once it is confirmed, the device is gone with its token; a repeated request is
        answered, and other devices and users are untouched."""
        challenge = self.delete("LAPTOP")
        self.assertEqual(challenge.status, 401, challenge)
        self.assertEqual(self.listed(), ["LAPTOP", "PHONE", "TABLET"])
        auth = {**ALICE_AUTH, "session": challenge.json["session"]}
        for _ in range(2):
            answer = self.delete("LAPTOP", auth)
            self.assertEqual((answer.status, answer.json), (200, {}), answer)
        self.assertEqual(self.listed(), ["PHONE", "TABLET"])
        self.assertRefused(self.whoami(self.laptop), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.listed(self.bob), ["PHONE"])

    def test_repeatedLate(self) -> None:
        """A repeated request does not delete a device of that id that was logged in since."""
        auth = {**ALICE_AUTH, "session": self.delete("LAPTOP").json["session"]}
        self.delete("LAPTOP", auth)
        again = self.log_in("LAPTOP")
        self.assertEqual(self.delete("LAPTOP", auth).status, 200)
        self.assertEqual(self.whoami(again).status, 200)

    def test_several(self) -> None:
        """Several are deleted at once, known or not; the requesting one, too."""
        self.assertEqual(self.delete_several("LAPTOP", "NONE", auth=ALICE_AUTH).json, {})
        self.assertEqual(self.listed(), ["PHONE", "TABLET"])
        self.assertEqual(self.delete_several(auth=ALICE_AUTH).json, {})
        self.assertEqual(self.listed(), ["PHONE", "TABLET"])
        self.assertEqual(self.delete_several("PHONE", auth=ALICE_AUTH).json, {})
        self.assertRefused(self.whoami(self.phone), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.listed(self.tablet), ["TABLET"])
        self.assertEqual(self.listed(self.bob), ["PHONE"])

    def test_otherDevices(self) -> None:
        """What was begun for some devices confirms the deletion of no others, in any order of the
        same ones; nor does the session of one device's path."""
        session = self.delete_several("LAPTOP", "TABLET").json["session"]
        auth = {**ALICE_AUTH, "session": session}
        for others in (("LAPTOP",), ("LAPTOP", "PHONE"), ()):
            self.assertRefused(self.delete_several(*others, auth=auth), 403, "M_FORBIDDEN")
        one = {**ALICE_AUTH, "session": self.delete("LAPTOP").json["session"]}
        self.assertRefused(self.delete("TABLET", one), 403, "M_FORBIDDEN")
        self.assertRefused(self.delete_several("TABLET", auth=one), 403, "M_FORBIDDEN")
        self.assertEqual(self.listed(), ["LAPTOP", "PHONE", "TABLET"])
        self.assertEqual(self.delete_several("TABLET", "LAPTOP", auth=auth).status, 200)
        self.assertEqual(self.listed(), ["PHONE"])

    def test_wrongPassword(self) -> None:
        auth = {**ALICE_AUTH, "password": "wrong"}
        self.assertRefused(self.delete("LAPTOP", auth), 401, "M_FORBIDDEN")
        self.assertEqual(len(self.listed()), 3)

    def test_body(self) -> None:
        for body, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"devices": "LAPTOP"}, "M_BAD_JSON"),
            ({"devices": [1]}, "M_BAD_JSON"),
        ):
            answer = self.client.post(DELETE, {**body, "auth": ALICE_AUTH}, token=self.phone)
            self.assertRefused(answer, 400, errcode)

    def test_replays(self) -> None:
        """A registration whose device is deleted no longer repeats its token (B8.4)."""
        session = self.challenge(username="carol", password=PASSWORD)["session"]
        self.clock.advance(0)
        again = {"session": session, **DUMMY}
        carol = self.client.register(auth=again).json
        user = {"type": "m.id.user", "user": "carol"}
        answer = self.delete(
            carol["device_id"], {**ALICE_AUTH, "identifier": user}, carol["access_token"]
        )
        self.assertEqual(answer.status, 200, answer)
        self.assertRefused(self.client.register(auth=again), 400, "M_UNKNOWN")

    def test_withoutConfirmation(self) -> None:
        """Where users cannot confirm anything, nothing is deleted."""
        self.system(database=self.database, password_config={"enabled": False})
        self.assertRefused(self.delete("LAPTOP"), 403, "M_FORBIDDEN")
        self.assertEqual(len(self.listed()), 3)


class LogoutTests(DeviceCase):
    """What Complement's TestLogout watches."""

    def test_one(self) -> None:
        """A logout ends its device and its token, and no other; it cannot be repeated."""
        answer = self.client.post(f"{V3}/logout", {}, token=self.laptop)
        self.assertEqual((answer.status, answer.json), (200, {}))
        self.assertRefused(self.whoami(self.laptop), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.listed(), ["PHONE", "TABLET"])
        answer = self.client.post(f"{V3}/logout", {}, token=self.laptop)
        self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")

    def test_all(self) -> None:
        """A logout of all devices ends them all, and nobody else's."""
        self.assertEqual(self.client.post(f"{V3}/logout/all", {}, token=self.laptop).json, {})
        for token in (self.phone, self.laptop, self.tablet):
            self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.listed(self.bob), ["PHONE"])


class AppserviceTests(BridgeCase):
    """An application service manages the devices of its users, and has nothing to confirm."""

    def of(self, path: str, user: str = "@_irc_alice:test.example") -> str:
        return f"{path}?user_id={user}"

    def test_life(self) -> None:
        """It makes a device (201), renames it (200) and deletes it; an unknown one is no error."""
        self.made(inhibit_login=True)
        path = self.of(f"{DEVICES}/GHOST")
        body = {"display_name": "a ghost's"}
        made = self.client.ask("PUT", path, body, token=TOKEN)
        self.assertEqual((made.status, made.json), (201, {}))
        renamed = self.client.ask("PUT", path, {"display_name": "renamed"}, token=TOKEN)
        self.assertEqual(renamed.status, 200)
        listed = self.client.get(self.of(DEVICES), token=TOKEN).json["devices"]
        self.assertEqual(listed, [{"device_id": "GHOST", "display_name": "renamed"}])
        for _ in range(2):
            gone = self.client.ask("DELETE", path, None, token=TOKEN)
            self.assertEqual((gone.status, gone.json), (200, {}), gone)
        body = {"devices": ["GHOST", "NONE"]}
        self.assertEqual(self.client.post(self.of(DELETE), body, token=TOKEN).json, {})
        self.assertEqual(self.client.get(self.of(DEVICES), token=TOKEN).json, {"devices": []})

    def test_others(self) -> None:
        """It touches no devices of users who are not its own."""
        self.register("alice")
        path = self.of(f"{DEVICES}/GHOST", "@alice:test.example")
        for method in ("GET", "PUT", "DELETE"):
            answer = self.client.ask(method, path, {} if method == "PUT" else None, token=TOKEN)
            self.assertRefused(answer, 403, "M_FORBIDDEN")

    def test_odd(self) -> None:
        """An id or a name that is too long makes no device."""
        self.made(inhibit_login=True)
        path = self.of(f"{DEVICES}/{'x' * 513}")
        self.assertRefused(self.client.ask("PUT", path, {}, token=TOKEN), 400, "M_INVALID_PARAM")
        self.assertEqual(self.rows("SELECT * FROM devices"), [])
