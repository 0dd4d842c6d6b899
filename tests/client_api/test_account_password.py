"""Changing a password (contract B17.5): what Complement's TestChangePassword and its neighbours
watch, and what can go wrong in between."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

import attr
from twisted.internet.defer import Deferred

from regsys.model import DeviceRequest, User
from regsys.storage.users import UserStore
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3
from tests.support.log_canaries import watch_for_leaks
from tests.support.passwords import ALICE_AUTH, CHANGE, NEW, PasswordCase

THIRD = "a third password"
R0 = CHANGE.replace("v3", "r0")


class ChangeTests(PasswordCase):
    def test_changed(self) -> None:
        """The new password logs in and the old one does not; the requesting device stays logged in
        and all others do not."""
        answer = self.change_password()
        self.assertEqual((answer.status, answer.json), (200, {}), answer)
        self.assertTrue(self.is_alive(self.phone))
        for token in (self.laptop, self.alice):
            self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")
        self.assertTrue(self.is_alive(self.bob))
        self.assertPassword(NEW)
        self.assertPassword(PASSWORD, "bob")

    def test_othersStay(self) -> None:
        """With logout_devices false all devices stay logged in."""
        self.assertEqual(self.change_password(logout_devices=False).status, 200)
        for token in (self.phone, self.laptop, self.alice):
            self.assertTrue(self.is_alive(token))
        self.assertPassword(NEW)

    def test_pushers(self) -> None:
        """The pushers of devices that are logged out are gone, and the requesting one's stays."""

        def pushkeys() -> list[str]:
            found = self.client.get(f"{V3}/pushers", token=self.phone).json["pushers"]
            return [pusher["pushkey"] for pusher in found]

        for device in ("PHONE", "LAPTOP"):
            self.put_pusher(device)
        self.change_password(logout_devices=False)
        self.assertEqual(pushkeys(), ["LAPTOP", "PHONE"])
        auth = {**ALICE_AUTH, "password": NEW}
        self.assertEqual(self.change_password(auth, new_password=THIRD).status, 200)
        self.assertEqual(pushkeys(), ["PHONE"])

    def put_pusher(self, device: str) -> None:
        self.change(
            "INSERT INTO pushers (user_id, app_id, pushkey, device_id, kind, app_display_name,"
            " device_display_name, data) VALUES (?, 'app', ?, ?, 'http', 'a', 'd', '{}')",
            "@alice:test.example",
            device,
            device,
        )

    def test_dialogue(self) -> None:
        """Without a confirmation there is a challenge, and nothing changes; its session confirms
        the change once, and answers a repeated request, which logs nobody out again."""
        challenge = self.change_password(auth=None)
        self.assertEqual(challenge.status, 401, challenge)
        self.assertEqual(challenge.json["flows"], [{"stages": ["m.login.password"]}])
        self.assertPassword(PASSWORD)
        auth = {**ALICE_AUTH, "session": challenge.json["session"]}
        self.assertEqual(self.change_password(auth).status, 200)
        newer = self.log_in(NEW).json["access_token"]
        stored = self.rows("SELECT password_hash FROM users")
        self.assertEqual(self.change_password(auth).json, {})
        self.assertEqual(self.change_password({"session": challenge.json["session"]}).json, {})
        self.assertTrue(self.is_alive(newer))
        self.assertEqual(self.rows("SELECT password_hash FROM users"), stored)
        # It has confirmed that one password, and no other.
        self.assertRefused(self.change_password(auth, new_password=THIRD), 400, "M_UNKNOWN")
        self.assertPassword(NEW)

    def test_repeatedElsewhere(self) -> None:
        """Another process, which has not hashed the password, answers a repeated request, too."""
        session = self.change_password(auth=None).json["session"]
        auth = {**ALICE_AUTH, "session": session}
        self.assertEqual(self.change_password(auth).status, 200)
        stored = self.rows("SELECT password_hash FROM users")
        self.system(database=self.database, **self.options)
        self.assertEqual(self.change_password(auth).json, {})
        self.assertRefused(self.change_password(auth, new_password=THIRD), 400, "M_UNKNOWN")
        self.assertEqual(self.rows("SELECT password_hash FROM users"), stored)
        self.clock.advance(601)
        self.assertRefused(self.change_password(auth), 400, "M_UNKNOWN")

    def test_wrongPassword(self) -> None:
        """A wrong password, and another user's, change nothing; the session lives."""
        session = self.change_password(auth=None).json["session"]
        bob = {"type": "m.id.user", "user": "bob"}
        for change in ({"password": "wrong"}, {"identifier": bob}):
            answer = self.change_password({**ALICE_AUTH, **change, "session": session})
            self.assertRefused(answer, 401, "M_FORBIDDEN")
        self.assertPassword(PASSWORD)
        self.assertEqual(self.change_password({**ALICE_AUTH, "session": session}).status, 200)

    def test_sessionsOfOthers(self) -> None:
        """A session is good for its user, path and version only, and for no registration."""
        session = self.change_password(auth=None).json["session"]
        auth = {**ALICE_AUTH, "session": session}
        self.assertRefused(self.change_password(auth, self.bob), 403, "M_FORBIDDEN")
        deactivate = self.client.post(f"{V3}/account/deactivate", {"auth": auth}, token=self.phone)
        self.assertRefused(deactivate, 403, "M_FORBIDDEN")
        body = {"auth": auth, "new_password": NEW}
        self.assertRefused(self.client.post(R0, body, token=self.phone), 403, "M_FORBIDDEN")
        self.assertRefused(self.client.post(CHANGE, body), 403, "M_FORBIDDEN")
        self.assertRefused(self.go_on(session), 403, "M_FORBIDDEN")
        begun = {**ALICE_AUTH, "session": self.begin("carol")}
        self.assertRefused(self.change_password(begun), 403, "M_FORBIDDEN")
        self.assertPassword(PASSWORD)

    def test_otherConfirmationsEnd(self) -> None:
        """What was confirmed by the old password, and not completed, is not confirmed any more."""
        waiting = self.change_password(auth=None, token=self.laptop).json["session"]
        # This one has passed its stage, and lacks a new password.
        passed = {**ALICE_AUTH, "session": waiting}
        answer = self.change_password(passed, self.laptop, new_password=None)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")
        self.assertEqual(self.change_password(logout_devices=False).status, 200)
        answer = self.change_password({"session": waiting}, self.laptop, new_password=THIRD)
        self.assertRefused(answer, 400, "M_UNKNOWN")
        self.assertPassword(NEW)

    def test_replaysEnd(self) -> None:
        """A registration whose device is logged out no longer repeats its token (B8.4)."""
        session = self.begin("carol")
        token = self.go_on(session).json["access_token"]
        device = self.whoami(token).json["device_id"]
        carol = {"type": "m.id.user", "user": "carol"}
        other = self.log_in(user="carol").json["access_token"]
        changed = self.change_password({**ALICE_AUTH, "identifier": carol}, other)
        self.assertEqual(changed.status, 200, changed)
        self.assertFalse(self.is_alive(token))
        self.assertRefused(self.go_on(session), 400, "M_UNKNOWN", device)

    def test_later(self) -> None:
        """The new password may come with a later request of the session, which has kept what was
        confirmed; an empty one is none."""
        session = self.change_password(auth=None, new_password=None).json["session"]
        auth = {**ALICE_AUTH, "session": session}
        for missing in (None, ""):
            answer = self.change_password(auth, new_password=missing)
            self.assertRefused(answer, 400, "M_MISSING_PARAM")
        self.assertEqual(self.change_password({"session": session}).status, 200)
        self.assertPassword(NEW)

    def test_body(self) -> None:
        """Malformed bodies are refused, before anything is confirmed."""
        for body, errcode in (
            ({"new_password": 1}, "M_BAD_JSON"),
            ({"new_password": "x" * 513}, "M_INVALID_PARAM"),
            ({"new_password": NEW, "logout_devices": "yes"}, "M_BAD_JSON"),
            ({"new_password": NEW, "auth": 1}, "M_BAD_JSON"),
        ):
            self.assertRefused(self.client.post(CHANGE, body, token=self.phone), 400, errcode)
        self.assertRefused(self.change_password(token="nobody's"), 401, "M_UNKNOWN_TOKEN")
        guest = self.guest()["access_token"]
        self.assertRefused(self.change_password(token=guest), 403, "M_GUEST_ACCESS_FORBIDDEN")
        self.assertPassword(PASSWORD)

    def test_policy(self) -> None:
        """A password that the policy does not allow is refused before anything is confirmed."""
        policy = {"enabled": True, "minimum_length": 15, "require_digit": True}
        self.system(database=self.database, password_config={"policy": policy}, **self.options)
        answer = self.change_password(auth=None, new_password="short")
        self.assertRefused(answer, 400, "M_PASSWORD_TOO_SHORT")
        answer = self.change_password(new_password="long enough, though")
        self.assertRefused(answer, 400, "M_PASSWORD_NO_DIGIT")
        self.assertEqual(self.change_password(new_password="long enough, 4 once").status, 200)

    def test_switchedOff(self) -> None:
        """Where no password is kept here, none can be changed, and clients are told beforehand."""
        for config in ({"enabled": False}, {"localdb_enabled": False}):
            self.system(database=self.database, password_config=config, **self.options)
            self.assertRefused(self.change_password(), 403, "M_FORBIDDEN")
            self.assertRefused(self.request_reset(), 403, "M_FORBIDDEN")
            self.assertRefused(self.client.post(CHANGE, {}), 403, "M_FORBIDDEN")
            self.assertEqual(self.capabilities()["m.change_password"], {"enabled": False})
        only = {"enabled": "only_for_reauth"}
        self.system(database=self.database, password_config=only, **self.options)
        self.assertEqual(self.change_password().status, 200)

    def capabilities(self) -> Any:
        answer = self.client.get(f"{V3}/capabilities", token=self.phone)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["capabilities"]

    def test_capabilities(self) -> None:
        """A client is told, before it offers them, whether passwords and addresses can be changed;
        only a user is."""
        on, off = {"enabled": True}, {"enabled": False}
        self.assertEqual(self.capabilities(), {"m.change_password": on, "m.3pid_changes": on})
        self.system(database=self.database, enable_3pid_changes=False, **self.options)
        self.assertEqual(self.capabilities(), {"m.change_password": on, "m.3pid_changes": off})
        self.assertRefused(self.client.get(f"{V3}/capabilities"), 401, "M_MISSING_TOKEN")

    def test_withoutPassword(self) -> None:
        """A user without a password is told how to get one, instead of being asked for it."""
        self.change("UPDATE users SET password_hash = NULL WHERE name_key = 'alice'")
        answer = self.change_password(auth=None)
        self.assertRefused(answer, 403, "M_FORBIDDEN")
        self.assertIn("has no password", answer.json["error"])
        self.assertRefused(self.change_password(), 401, "M_FORBIDDEN")
        self.assertEqual(self.reset(self.validated_reset()).status, 200)
        self.assertPassword(NEW)

    def test_secrets(self) -> None:
        """No password reaches the log or the database."""
        canaries = watch_for_leaks(self, {"the old": PASSWORD, "the new": NEW})
        session = self.change_password(auth=None).json["session"]
        self.assertEqual(self.change_password({**ALICE_AUTH, "session": session}).status, 200)
        self.reset(self.validated_reset(client_secret="another"), secret="another")
        for table in ("uia_sessions", "validations", "jobs", "outcomes"):
            canaries.check(table, str(self.rows(f"SELECT * FROM {table}")))
        self.assertGreater(canaries.event_count, 0)


class TrustedTests(PasswordCase):
    options: ClassVar[Mapping[str, Any]] = {
        **PasswordCase.options,
        "ui_auth": {"session_timeout": "5m"},
    }

    def test_trusted(self) -> None:
        """A device that has reauthenticated lately need not do so again; other devices must."""
        self.assertEqual(self.change_password(logout_devices=False).status, 200)
        self.assertEqual(
            self.change_password(None, new_password=THIRD, logout_devices=False).status, 200
        )
        self.assertEqual(self.change_password(None, self.laptop).status, 401)
        self.assertPassword(THIRD)


class LimitTests(PasswordCase):
    def test_guesses(self) -> None:
        """Wrong passwords count against the account's limit of failed logins."""
        plenty = {"per_second": 1000, "burst_count": 1000}
        tight = {"per_second": 0.001, "burst_count": 2}
        limits = {"address": plenty, "account": plenty, "failed_attempts": tight}
        self.system(database=self.database, rc_login=limits)
        wrong = {**ALICE_AUTH, "password": "wrong"}
        for _ in range(2):
            self.assertRefused(self.change_password(wrong), 401, "M_FORBIDDEN")
        self.assertRefused(self.change_password(wrong), 429, "M_LIMIT_EXCEEDED")
        self.assertRefused(self.change_password(), 429, "M_LIMIT_EXCEEDED")


class LoginUnderWayTests(PasswordCase):
    def test_oldPassword(self) -> None:
        """A login that has checked the old password, and is written after the change, is refused;
        one with the new password is not."""
        users = UserStore(self.database)
        before = self.wait(users.find("alice"))
        assert isinstance(before, User)
        self.assertEqual(self.change_password(logout_devices=False).status, 200)
        handler = self.subsystem.handler
        failed = self.failureResultOf(
            Deferred.fromCoroutine(handler.log_in(before, DeviceRequest(device_id="LATE")))
        )
        self.assertEqual(failed.value.errcode, "M_FORBIDDEN")
        self.assertEqual(self.rows("SELECT * FROM devices WHERE device_id = 'LATE'"), [])
        after = self.wait(users.find("alice"))
        self.wait(handler.log_in(after, DeviceRequest(device_id="LATE")))

    def test_withoutPassword(self) -> None:
        """An application service shows no password: its login does not depend on it."""
        users = UserStore(self.database)
        before = attr.evolve(self.wait(users.find("alice")), password_hash="another")
        request = DeviceRequest(device_id="GHOST", is_appservice_ghost=True)
        login = self.wait(self.subsystem.handler.log_in(before, request))
        self.assertEqual(login.device_id, "GHOST")

    def test_twoChanges(self) -> None:
        """Of two changes that were confirmed by one password, the second is refused, and its device
        is logged out."""
        first = self.change_password(auth=None).json["session"]
        second = self.change_password(auth=None, token=self.laptop).json["session"]
        self.assertEqual(self.change_password({**ALICE_AUTH, "session": first}).status, 200)
        answer = self.change_password(
            {**ALICE_AUTH, "session": second}, self.laptop, new_password=THIRD
        )
        self.assertRefused(answer, 401, "M_UNKNOWN_TOKEN")
        self.assertPassword(NEW)


class RegisteredTests(PasswordCase):
    def test_registrationsStay(self) -> None:
        """Registrations that are under way have nothing to do with it."""
        session = self.begin("carol")
        self.assertEqual(self.change_password().status, 200)
        self.assertRegistered(self.go_on(session, DUMMY), "carol")
