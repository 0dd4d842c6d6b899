"""POST /login with a password: which logins succeed, which fail, and the limits on attempts."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred

from regsys.credentials.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import V3, Answer

ANY_CASE = "@alice:TEST.Example"
LARGE = {"per_second": 1000, "burst_count": 1000}


class LoginCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.register()

    def ask(self, user: str = "alice", address: str = "192.0.2.1", **changed: Any) -> Answer:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": PASSWORD,
            **changed,
        }
        return self.client.post(f"{V3}/login", body, X_Forwarded_For=address)

    def assertLoggedIn(self, answer: Answer, case: object = None) -> None:
        self.assertEqual((answer.status, answer.errcode), (200, None), f"{case} {answer}")
        self.assertEqual(answer.json["user_id"], "@alice:test.example", case)


class NameTests(LoginCase):
    def test_waysToName(self) -> None:
        """A user is named by localpart or full user ID, in any case, in the identifier or in the
        old flat key, under v3 and r0."""
        for name in ("alice", "Alice", "@alice:test.example", "@ALICE:test.example", ANY_CASE):
            self.assertLoggedIn(self.ask(name), name)
            flat = {"type": "m.login.password", "user": name, "password": PASSWORD}
            for version in ("v3", "r0"):
                self.assertLoggedIn(
                    self.client.post(f"/_matrix/client/{version}/login", flat), name
                )

    def test_nobodyHere(self) -> None:
        """Another server's user, half an ID and an unknown name fail with the same answer as a
        wrong password."""
        wrong = self.ask(password="wrong")
        self.assertRefused(wrong, 403, "M_FORBIDDEN")
        for name in ("@alice:elsewhere.example", "@alice", "alice:test.example", "bob", ""):
            answer = self.ask(name)
            self.assertEqual((answer.status, answer.json), (403, wrong.json), name)

    def test_guest(self) -> None:
        """A guest has no password to log in with."""
        self.guest()
        for password in ("", PASSWORD):
            self.assertRefused(self.ask("1", password=password), 403, "M_FORBIDDEN")

    def test_deactivated(self) -> None:
        """A login to a deactivated account is told so with the right password only."""
        self.change("UPDATE users SET deactivated = TRUE")
        self.assertRefused(self.ask(), 403, "M_USER_DEACTIVATED")
        self.assertRefused(self.ask(password="wrong"), 403, "M_FORBIDDEN")
        self.assertEqual(self.counts()["logins"], 1)


class AnswerTests(LoginCase):
    def test_login(self) -> None:
        """A login has a device, with the given name, and a working token."""
        answer = self.ask(device_id="PHONE", initial_device_display_name="my phone")
        self.assertEqual(
            answer.json.keys(), {"user_id", "home_server", "device_id", "access_token"}
        )
        self.assertEqual(self.whoami(answer.json["access_token"]).json["device_id"], "PHONE")
        names = self.rows("SELECT display_name FROM devices WHERE device_id = 'PHONE'")
        self.assertEqual(names, [("my phone",)])

    def test_refreshToken(self) -> None:
        """With refresh_token the login has a refresh token, and its access token expires."""
        answer = self.ask(refresh_token=True).json
        self.assertEqual(answer["expires_in_ms"], 300_000)
        self.assertIn("refresh_token", answer)

    def test_knownDevice(self) -> None:
        """A device that logs in again keeps its name and loses its earlier tokens; the other
        devices are unchanged."""
        first = self.ask(device_id="PHONE", initial_device_display_name="my phone").json
        other = self.ask(device_id="OTHER").json
        again = self.ask(device_id="PHONE", initial_device_display_name="new name").json
        self.assertRefused(self.whoami(first["access_token"]), 401, "M_UNKNOWN_TOKEN")
        for token in (other["access_token"], again["access_token"]):
            self.assertEqual(self.whoami(token).status, 200)
        names = self.rows("SELECT display_name FROM devices WHERE device_id = 'PHONE'")
        self.assertEqual(names, [("my phone",)])

    def test_unnamedDevices(self) -> None:
        """A login without a device id is a new device."""
        self.assertNotEqual(self.ask().json["device_id"], self.ask().json["device_id"])


class RequestTests(LoginCase):
    def test_types(self) -> None:
        """Only the types that /login offers are accepted."""
        for kind in ("m.login.token", "m.login.dummy", ""):
            self.assertRefused(self.ask(type=kind), 400, "M_UNKNOWN", kind)
        self.system(database=self.database, password_config={"enabled": False})
        self.assertRefused(self.ask(), 400, "M_UNKNOWN")

    def test_missing(self) -> None:
        """Type, user and password are required."""
        whole = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        for key in whole:
            body = {name: value for name, value in whole.items() if name != key}
            self.assertRefused(self.client.post(f"{V3}/login", body), 400, "M_MISSING_PARAM", key)
        for identifier in ({}, {"user": "alice"}, {"type": "m.id.user"}):
            self.assertRefused(self.ask(identifier=identifier), 400, "M_MISSING_PARAM", identifier)

    def test_wrongTypes(self) -> None:
        """A value of the wrong type, or an identifier of an unknown kind, is M_BAD_JSON."""
        for wrong in (
            {"type": None},
            {"identifier": "alice"},
            {"identifier": {"type": 1}},
            {"identifier": {"type": "m.id.user", "user": ["alice"]}},
            {"identifier": {"type": "m.id.unheard.of", "user": "alice"}},
            {"password": 1},
            {"device_id": {}},
            {"initial_device_display_name": 1},
            {"refresh_token": "true"},
        ):
            self.assertRefused(self.ask(**wrong), 400, "M_BAD_JSON", wrong)

    def test_nullIsLeftOut(self) -> None:
        """Null for an optional key counts as absent; for a required key it is a wrong type."""
        nulls = dict.fromkeys(("device_id", "initial_device_display_name"), None)
        self.assertEqual(self.ask(**nulls).status, 200)
        nulls.update(dict.fromkeys(("identifier", "medium"), None))
        flat = {**nulls, "type": "m.login.password", "user": "alice", "password": PASSWORD}
        answer = self.client.post(f"{V3}/login", flat)
        self.assertEqual(answer.status, 200, answer)
        for wrong in (
            {"type": None},
            {"password": None},
            {"refresh_token": None},
            {"identifier": {"type": None, "user": "alice"}},
            {"identifier": {"type": "m.id.user", "user": None}},
        ):
            self.assertRefused(self.ask(**wrong), 400, "M_BAD_JSON", wrong)

    def test_lengths(self) -> None:
        """Name and password have at most 512 characters, a device id too, its name 100."""
        for changed in (
            {"user": "a" * 513},
            {"password": "a" * 513},
            {"device_id": "a" * (MAX_DEVICE_ID + 1)},
            {"initial_device_display_name": "a" * (MAX_DISPLAY_NAME + 1)},
        ):
            self.assertRefused(self.ask(**changed), 400, "M_INVALID_PARAM", changed)
        flat = {"type": "m.login.password", "user": "a" * 513, "password": PASSWORD}
        self.assertRefused(self.client.post(f"{V3}/login", flat), 400, "M_INVALID_PARAM")
        self.assertEqual(self.counts()["devices"], 1)


class LimitTests(LoginCase):
    def limit(self, **rates: Any) -> None:
        limits = {"address": LARGE, "account": LARGE, "failed_attempts": LARGE, **rates}
        self.system(database=self.database, rc_login=limits)

    def assertLimited(self, answer: Answer) -> None:
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer.json["retry_after_ms"], 10_000)

    def test_address(self) -> None:
        """Every attempt from an address counts, whichever user it names and however it ends; a /64
        is one address."""
        self.limit(address={"per_second": 0.1, "burst_count": 3})
        self.ask(address="2001:db8::1")
        self.ask("bob", "2001:db8::2")
        self.ask(address="2001:db8::3", password=1)
        self.assertLimited(self.ask(address="2001:db8::4"))
        self.assertLoggedIn(self.ask(address="2001:db8:0:1::1"))
        self.clock.advance(10)
        self.assertLoggedIn(self.ask(address="2001:db8::4"))

    def test_account(self) -> None:
        """Successful logins to an account count, from any address and however it is named. Failed
        ones don't, so that strangers can't use up the limit. Beyond the limit no password is
        verified."""
        self.limit(account={"per_second": 0.1, "burst_count": 2})
        for number in range(5):
            self.ask(password="wrong", address=f"192.0.2.{number}")
        for name in ("alice", "@ALICE:test.example"):
            self.assertLoggedIn(self.ask(name))
        for password in (PASSWORD, "wrong"):
            self.assertLimited(self.ask("Alice", "192.0.2.9", password=password))
        self.assertRefused(self.ask("bob"), 403, "M_FORBIDDEN")
        self.clock.advance(10)
        self.assertLoggedIn(self.ask())

    def test_failedAttempts(self) -> None:
        """Failed logins to an account count, whether it exists or not; beyond the limit even the
        right password has to wait. Successful ones don't count."""
        self.limit(failed_attempts={"per_second": 0.1, "burst_count": 2})
        for _ in range(5):
            self.assertLoggedIn(self.ask())
        for name in ("alice", "bob"):
            for spelling in (name, f"@{name.upper()}:test.example"):
                self.assertRefused(self.ask(spelling, password="wrong"), 403, "M_FORBIDDEN")
            self.assertLimited(self.ask(name))
        self.clock.advance(10)
        self.assertLoggedIn(self.ask())

    def test_guessesAtOnce(self) -> None:
        """Attempts that are still being verified count too, so that none is free."""
        waiting: list[Callable[[], None]] = []

        def later(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            waiting.append(lambda: done.callback(function(*args)))
            return done

        few = {"address": LARGE, "account": LARGE}
        few["failed_attempts"] = {"per_second": 0.1, "burst_count": 3}
        self.system(database=self.database, run=later, rc_login=few)
        guess = {"type": "m.login.password", "user": "alice", "password": "guess"}
        answers = [self.client.start("POST", f"{V3}/login", guess) for _ in range(5)]
        while waiting:
            waiting.pop(0)()
        statuses = [self.client.answer(answer).status for answer in answers]
        self.assertEqual(statuses, [403, 403, 403, 429, 429])

    def test_busy(self) -> None:
        """An attempt that could not be verified, because the queue of hashes is full, does not
        count as failed."""
        one = {"per_second": 0.1, "burst_count": 1}

        def never(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            return Deferred()

        limits = {"address": LARGE, "account": LARGE, "failed_attempts": one}
        self.system(database=self.database, run=never, rc_login=limits)
        crowd = {"type": "m.login.password", "password": PASSWORD}
        for number in range(33):
            self.client.start("POST", f"{V3}/login", {**crowd, "user": f"crowd{number}"})
        for _ in range(2):
            answer = self.ask()
            self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
            self.assertIn("busy", answer.json["error"])
