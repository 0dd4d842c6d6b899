"""Logins that modules check: by login types of their own, by password, and by address, at /login
and where a user confirms a request (contract B10.3, B13)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs

from regsys.callbacks.logins import NOT_SPAM
from regsys.config import ConfigError
from regsys.errors import LoginFailed, ModuleRefusal
from regsys.model import Client, Secret
from tests.modules.test_faults import FAULTS, Broken
from tests.support.client import V3, Answer
from tests.support.log_canaries import watch_for_leaks
from tests.support.modules import PASSWORD, ModuleCase
from tests.support.validations import ALICE as MAIL

TYPE = "org.example.key"
ALICE_ID, BOB_ID = "@alice:test.example", "@bob:test.example"
SECRET = "password-canary"
LARGE = {"per_second": 1000, "burst_count": 1000}
DEADLINE_S = 10
DELETE = f"{V3}/delete_devices"


class CheckerCase(ModuleCase):
    """Alice has a password of ours."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()["access_token"]

    def checker(
        self, check: Callable[..., Any], kind: str = "m.login.password", field: str = "password"
    ) -> str:
        """A module whose checker of this type is ``check``."""
        return self.module(auth_checkers={(kind, (field,)): check})

    def knows(self, name: str, user_id: Optional[str], callback: Any = None) -> Callable[..., Any]:
        """A checker that records its call, and knows ``user_id``; if that is None, nobody."""
        return self.recording(name, None if user_id is None else (user_id, callback))

    def by_key(self, name: str = "alice", **more: Any) -> Answer:
        """A login by the type of a module."""
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": TYPE, "identifier": identifier, "key": "door"}
        return self.client.post(f"{V3}/login", {**body, **more}, user_agent="Client/1")

    def types(self) -> list[str]:
        return [flow["type"] for flow in self.client.get(f"{V3}/login").json["flows"]]

    def deletion(self, name: str, password: str = SECRET, token: Optional[str] = None) -> Answer:
        """Alice confirms a deletion under this name."""
        auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}}
        body = {"devices": ["NONE"], "auth": {**auth, "password": password}}
        return self.client.post(DELETE, body, token=token or self.token)

    def assertLoggedIn(self, answer: Answer, user_id: str = ALICE_ID) -> None:
        self.assertEqual((answer.status, answer.json.get("user_id")), (200, user_id), answer)


class TypesTests(CheckerCase):
    def test_offered(self) -> None:
        """The types of checkers are offered. ``enabled`` switches passwords off for modules, too;
        ``localdb_enabled`` our own alone. Only what is offered is accepted."""
        password, key = "m.login.password", TYPE
        nobody = self.recording("check")
        both = {(password, ("password",)): nobody, (key, ("key",)): nobody}
        local, off = {"localdb_enabled": False}, {"enabled": False}
        for callbacks, config, expected in (
            ({"auth_checkers": both}, {}, [password, key]),
            ({"auth_checkers": both}, local, [password, key]),
            ({"auth_checkers": both}, off, [key]),
            ({"auth_checkers": both}, {"enabled": "only_for_reauth"}, [key]),
            ({"auth_checkers": {(key, ("key",)): nobody}}, local, [key]),
            ({"check_3pid_auth": nobody}, local, [password]),
            ({}, local, []),
        ):
            self.load(self.module(**callbacks), password_config=config)
            self.assertEqual(self.types(), expected, (callbacks, config))
            for kind, answer in ((password, self.log_in("bob")), (key, self.by_key("bob"))):
                refused = 403 if kind in expected else 400
                self.assertEqual(answer.status, refused, (callbacks, config, answer))

    def test_login(self) -> None:
        """A checker gets the name as it was typed, the type, and the fields of the type, any JSON;
        its callback the answer of the login."""
        callback = self.recording("answered")
        path = self.checker(self.knows("check", ALICE_ID, callback), TYPE, "key")
        self.load(path)
        for name, key in (("Al Ice", "door"), ("@ALICE:TEST.example", ["a"]), ("alice", 5)):
            self.calls.clear()
            answer = self.by_key(name, key=key, other="ignored")
            self.assertLoggedIn(answer)
            self.assertEqual(
                self.calls, [("check", name, TYPE, {"key": key}), ("answered", answer.json)]
            )
            self.assertEqual(self.whoami(answer.json["access_token"]).json["user_id"], ALICE_ID)
        for left_out in ({"key": None}, {"type": TYPE, "key": None, "identifier": None}):
            answer = self.by_key(**left_out)
            self.assertRefused(answer, 400, "M_MISSING_PARAM", left_out)

    def test_asLogins(self) -> None:
        """Spam checks, notices, blocking and the limit of an account are those of any login."""
        options = {"rc_login": {"address": LARGE, "account": {"per_second": 0.1, "burst_count": 2}}}
        self.load(
            self.checker(self.knows("check", ALICE_ID), TYPE, "key"),
            self.module(
                check_login_for_spam=self.recording("spam", NOT_SPAM),
                on_user_login=self.recording("in"),
            ),
            **options,
        )
        self.assertLoggedIn(self.by_key("al", device_id="PHONE"))
        spam = ("spam", ALICE_ID, "PHONE", None, [("Client/1", "127.0.0.1")], None)
        self.assertEqual(self.calls[1:], [spam, ("in", ALICE_ID, None, None)])
        self.by_key("alice")
        self.assertRefused(self.by_key("allie"), 429, "M_LIMIT_EXCEEDED")
        path = self.checker(self.knows("check", ALICE_ID, self.recording("told")), TYPE, "key")
        self.load(path, self.module(check_login_for_spam=lambda *args: "ORG_EXAMPLE"))
        self.assertRefused(self.by_key(), 403, "ORG_EXAMPLE")
        self.load(path, hs_disabled=True)
        self.assertRefused(self.by_key(), 403, "M_RESOURCE_LIMIT_EXCEEDED")
        self.assertNotIn("told", [call[0] for call in self.calls])

    def test_refusedMappings(self) -> None:
        """What cannot be a mapping of checkers stops the start, and names the module."""
        for wrong, reason in (
            (print, "is no mapping"),
            ({"m.login.password": print}, "write (login type, (field, …))"),
            ({("x", "key"): print}, "as a tuple: ('password',)"),
            ({("x", ("a",)): 1}, "a int cannot be called"),
            ({("x", ("a",)): print, ("x", ("b",)): print}, "is there twice"),
            ({("m.login.password", ("pin",)): print}, "'password' must be among the fields"),
            ({("m.login.application_service", ()): print}, "no checker can have this login type"),
        ):
            path = self.module(auth_checkers=wrong)
            error = self.assertRaises(ConfigError, self.load, path)
            self.assertIn(reason, error.problems[0])
            self.assertIn(f"auth_checkers of {path}", error.problems[0])
        paths = [self.checker(print, TYPE, field) for field in ("a", "b")]
        error = self.assertRaises(ConfigError, self.load, *paths)
        self.assertIn(f"has the fields b here, and a in {paths[0]}", error.problems[0])

    def test_severalFields(self) -> None:
        """A type may want several fields, a password among them."""
        check = self.knows("check", ALICE_ID)
        self.load(
            self.module(auth_checkers={("m.login.password", ("password", "otp")): check}),
            self.module(auth_checkers={("m.login.password", ("otp", "password")): check}),
        )
        self.assertRefused(self.log_in(), 400, "M_MISSING_PARAM")
        self.assertLoggedIn(self.log_in(otp=[1]))
        self.assertRefused(self.log_in(otp=[1], password=5), 400, "M_BAD_JSON")
        fields = {"password": PASSWORD, "otp": [1]}
        self.assertEqual(self.calls, [("check", "alice", "m.login.password", fields)])


class OrderTests(CheckerCase):
    def test_modulesFirst(self) -> None:
        """Modules are asked in their order, the first that knows the login decides, and then our
        own password counts."""
        self.register("bob")
        self.load(
            self.checker(self.knows("first", None)),
            self.checker(lambda name, kind, fields: (BOB_ID, None) if name == "b" else None),
            self.checker(self.knows("third", None)),
        )
        self.assertLoggedIn(self.log_in("b"), BOB_ID)
        self.assertEqual([call[0] for call in self.calls], ["first"])
        self.calls.clear()
        self.assertLoggedIn(self.log_in("Alice"))
        self.assertRefused(self.log_in("alice", password="x"), 403, "M_FORBIDDEN")
        asked = [(call[0], call[1], call[3]["password"]) for call in self.calls]
        steps = [("Alice", PASSWORD), ("alice", "x")]
        self.assertEqual(asked, [(it, *step) for step in steps for it in ("first", "third")])
        local = {"localdb_enabled": False}
        self.load(self.checker(self.knows("first", None)), password_config=local)
        self.assertRefused(self.log_in(), 403, "M_FORBIDDEN")

    def test_notAsked(self) -> None:
        """A user ID of another server, and an empty password, are refused, and no module is
        asked."""
        path = self.module(
            check_3pid_auth=self.knows("3pid", ALICE_ID),
            auth_checkers={("m.login.password", ("password",)): self.knows("check", ALICE_ID)},
        )
        self.load(path)
        self.assertRefused(self.log_in("@alice:other.example"), 403, "M_FORBIDDEN")
        named = {"type": "m.id.thirdparty", "medium": "email", "address": MAIL}
        for more in ({}, {"identifier": named}):
            self.assertRefused(self.log_in(password="", **more), 403, "M_FORBIDDEN")
        self.assertEqual(self.calls, [])

    def test_address(self) -> None:
        """Who is named by an address is asked of ``check_3pid_auth`` first, with the canonical
        address; then of the checkers, by the user ID of the address's owner."""
        self.register_with_address(name="owner")
        owner = "@owner:test.example"
        named = {"type": "m.id.thirdparty", "medium": "email", "address": MAIL.upper()}
        nobodys = {"type": "m.id.phone", "country": "GB", "phone": "07700900001"}
        self.load(
            self.module(
                check_3pid_auth=self.recording("3pid"),
                auth_checkers={("m.login.password", ("password",)): self.recording("check")},
            )
        )
        fields = {"password": PASSWORD}
        check = ("check", owner, "m.login.password", fields)
        self.assertLoggedIn(self.log_in(identifier=named), owner)
        self.assertEqual(self.calls, [("3pid", "email", MAIL, PASSWORD), check])
        self.calls.clear()
        self.assertRefused(self.log_in(identifier=nobodys), 403, "M_FORBIDDEN")
        self.assertEqual(self.calls, [("3pid", "msisdn", "447700900001", PASSWORD)])
        self.calls.clear()
        told = self.recording("told")
        self.load(self.module(check_3pid_auth=self.knows("3pid", ALICE_ID, told)))
        answer = self.log_in(identifier=nobodys, password="of the directory")
        self.assertLoggedIn(answer)
        self.assertEqual(self.calls[1:], [("told", answer.json)])

    def test_embedders(self) -> None:
        """A homeserver's own /login asks the modules, too."""
        self.load(self.checker(self.knows("check", ALICE_ID)))
        passwords = self.subsystem.passwords
        assert passwords is not None
        client = Client("192.0.2.1")
        user = self.wait(passwords.check("Al", Secret(SECRET), client))
        self.assertEqual(str(user.user_id), ALICE_ID)
        self.load(self.module(auth_checkers={("m.login.password", ("password", "otp")): print}))
        passwords = self.subsystem.passwords
        assert passwords is not None
        failed = Deferred.fromCoroutine(passwords.check("alice", Secret(SECRET), client))
        self.failureResultOf(failed, LoginFailed)


class AccountTests(CheckerCase):
    def test_refused(self) -> None:
        """A checker's user who has no account here, or one that nobody can log in to, is refused as
        for a wrong password; a deactivated one is told so. The log says whom the module knows."""
        self.guest()
        wrong = self.log_in(password="wrong").json
        for user_id in ("@nobody:test.example", "@1:test.example", "@alice:other.example"):
            path = self.checker(self.knows("check", user_id))
            self.load(path)
            with capturedLogs() as events:
                answer = self.log_in()
            self.assertEqual((answer.status, answer.json), (403, wrong), user_id)
            (line,) = [event for event in events if event.get("user_id") == user_id]
            self.assertEqual(line["module"], path)
        for user_id in (ALICE_ID, "@ALICE:TEST.example"):
            self.load(self.checker(self.knows("check", user_id)))
            self.assertLoggedIn(self.log_in())
        self.change("UPDATE users SET shadow_banned = TRUE")
        self.assertLoggedIn(self.log_in())
        self.change("UPDATE users SET approved = FALSE")
        self.assertRefused(self.log_in(), 403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL")
        self.change("UPDATE users SET deactivated = TRUE")
        self.assertRefused(self.log_in(), 403, "M_USER_DEACTIVATED")

    def test_failedAttempts(self) -> None:
        """Failed attempts count, however the name is spelled that a directory takes for the same;
        what is known does not count."""
        few = {"per_second": 0.1, "burst_count": 2}
        limits = {"address": LARGE, "account": LARGE, "failed_attempts": few}
        good: Mapping[str, Any] = {"password": "of the directory"}

        def check(name: str, kind: str, fields: Any) -> Any:
            return (ALICE_ID, None) if fields == good else None

        self.load(self.checker(check), rc_login=limits)
        for _ in range(4):
            self.assertLoggedIn(self.log_in(**good))
        for name in ("alice", " ALICE "):
            self.assertRefused(self.log_in(name, password="wrong"), 403, "M_FORBIDDEN")
        for name in ("a lice", "\uff21lice", "@alice:test.example"):
            self.assertRefused(self.log_in(name, **good), 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.log_in("bob").status, 403)


class FaultTests(CheckerCase):
    """Either callback with each fault: passed over or, if it hangs, refused; nothing is written,
    the module is named, no log has the password, and the same request works afterwards."""

    def faulty(self, name: str, wrap: Callable[[Any], Any], identifier: Any) -> None:
        self.fault: Any = None
        path = self.module(
            **{name: wrap(lambda *args: self.fault.call(*args) if self.fault else None)}
        )
        few = {"per_second": 0.001, "burst_count": 1}
        limits = {"address": LARGE, "account": LARGE, "failed_attempts": few}
        self.load(path, self.module(**{name: wrap(self.recording("next"))}), rc_login=limits)
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        for what, self.fault in FAULTS.items():
            self.calls.clear()
            before = self.counts()
            with capturedLogs() as events:
                started = self.client.start("POST", f"{V3}/login", body)
                if self.fault.hangs:
                    self.client._flush(started)
                    self.clock.advance(DEADLINE_S - 0.1)
                    self.assertNoResult(started)
                    self.clock.advance(0.1)
                answer = self.client.answer(started)
            case = f"{name}, {what}: {answer}"
            lines = [event for event in events if event.get("moment") == name]
            self.assertEqual([event["module"] for event in lines], [path], case)
            self.assertIn(self.fault.said, lines[0]["trouble"], case)
            self.assertEqual(len(self.calls), 0 if self.fault.hangs else 1, case)
            self.assertEqual(answer.status, 503 if self.fault.hangs else 200, case)
            if self.fault.hangs:
                self.assertEqual(self.counts(), before, case)
        self.fault = None
        self.assertEqual(self.client.post(f"{V3}/login", body).status, 200)
        failures = self.subsystem.process.metrics.registry
        for reason, count in (("raised", 3), ("timeout", 1), ("wrong_type", 1)):
            labels = {"callback": name, "module": path, "reason": reason}
            sample = failures.get_sample_value("regsys_module_failures_total", labels)
            self.assertEqual(sample, count, (name, reason))

    def test_checkers(self) -> None:
        identifier = {"type": "m.id.user", "user": "alice"}
        key = ("m.login.password", ("password",))
        self.faulty("auth_checkers", lambda check: {key: check}, identifier)

    def test_addresses(self) -> None:
        self.register_with_address(name="owner")
        identifier = {"type": "m.id.thirdparty", "medium": "email", "address": MAIL}
        self.faulty("check_3pid_auth", lambda check: check, identifier)

    def test_oddAnswers(self) -> None:
        """An answer of another shape is passed over."""
        for odd in (True, ALICE_ID, (ALICE_ID,), [ALICE_ID, None], (ALICE_ID, 1), ("alice", None)):
            path = self.checker(self.recording("check", odd), TYPE, "key")
            self.load(path, self.checker(self.knows("next", ALICE_ID), TYPE, "key"))
            with capturedLogs() as events:
                self.assertLoggedIn(self.by_key())
            (line,) = [event for event in events if event.get("moment") == "auth_checkers"]
            self.assertIn("None, or a tuple of a user ID and a callback", line["trouble"], odd)

    def test_passwordIsNotLogged(self) -> None:
        """An exception that quotes the password leaves no trace of it: the log has the exception's
        class, and where it was raised."""
        watch_for_leaks(self, {"the password": SECRET})

        def check(name: str, kind: str, fields: Any) -> Any:
            try:
                raise KeyError(fields["password"])
            except KeyError as error:
                raise ModuleRefusal(403, f"no {error}") from error

        self.load(self.checker(check), self.module(check_3pid_auth=check))
        with capturedLogs() as events:
            self.assertEqual(self.log_in(password=SECRET).status, 403)
        (line,) = [event for event in events if "trouble" in event]
        self.assertIn("failed: ModuleRefusal in", line["trouble"])
        self.assertIn("test_checkers.py, line", line["trouble"])

    def test_answerCallback(self) -> None:
        """A callback that fails, hangs or changes the answer neither changes nor delays it; the log
        has neither the answer's token nor the fault's text."""

        def change(answer: Any) -> None:
            answer.clear()

        for what, call in (*((what, fault.call) for what, fault in FAULTS.items()), ("", change)):
            path = self.checker(self.knows("check", ALICE_ID, call), TYPE, "key")
            self.load(path)
            with capturedLogs() as events:
                self.assertLoggedIn(self.by_key())
                self.clock.advance(DEADLINE_S)
            named = [event["module"] for event in events if event.get("moment") == "auth_checkers"]
            self.assertEqual(named, [] if what in ("wrong type", "") else [path], what)
            self.flushLoggedErrors(Broken, CancelledError)


class ConfirmationTests(CheckerCase):
    """A user confirms a request by a password that a module knows."""

    def known(self, user_id: str, **options: Any) -> None:
        def check(name: str, kind: str, fields: Any) -> Any:
            self.calls.append((name, fields))
            return (user_id, None) if fields["password"] == SECRET else None

        self.load(self.checker(check), **options)

    def test_confirmed(self) -> None:
        """By the name as it was typed, or by our own password. It confirms nobody else."""
        self.register("bob")
        self.known(ALICE_ID)
        self.assertEqual(self.deletion("Al Ice").status, 200)
        self.assertEqual(self.calls, [("Al Ice", {"password": SECRET})])
        self.assertEqual(self.deletion("alice", PASSWORD).status, 200)
        self.assertEqual(self.deletion("bob", PASSWORD).status, 401)
        self.known(BOB_ID)
        for name in ("alice", "bob"):
            self.assertEqual(self.deletion(name).status, 401, name)
        self.known("@nobody:test.example")
        self.assertEqual(self.deletion("alice").status, 401)

    def test_limit(self) -> None:
        """Attempts count for the user who is logged in, whatever name they try, so that nobody's
        password can be guessed by many, and nobody else is locked out."""
        self.register("bob")
        few = {"per_second": 0.1, "burst_count": 3}
        limits = {"address": LARGE, "account": LARGE, "failed_attempts": few}
        self.known(BOB_ID, rc_login=limits)
        for name, password in (("bob", "guess"), ("Bob", SECRET), ("b", "guess")):
            self.assertEqual(self.deletion(name, password).status, 401, name)
        self.assertRefused(self.deletion("bob", SECRET), 429, "M_LIMIT_EXCEEDED")
        self.assertLoggedIn(self.log_in("bob"), BOB_ID)

    def test_withoutPasswordOfOurs(self) -> None:
        """Where our passwords do not count, or the account has none, a module's does; without such
        a module, the user is told that there is none."""
        local = {"localdb_enabled": False}
        start: dict[str, Any] = {"devices": ["NONE"]}
        self.known(ALICE_ID, password_config=local)
        flows = [{"stages": ["m.login.password"]}]
        challenge = self.client.post(DELETE, start, token=self.token)
        self.assertEqual((challenge.status, challenge.json["flows"]), (401, flows))
        self.assertEqual(self.deletion("alice", PASSWORD).status, 401)
        self.assertEqual(self.deletion("alice").status, 200)
        self.load(self.module(on_user_login=print), password_config=local)
        self.assertRefused(self.client.post(DELETE, start, token=self.token), 403, "M_FORBIDDEN")
        self.assertEqual(self.deletion("alice", PASSWORD).status, 401)
        self.change("UPDATE users SET password_hash = NULL")
        self.load(self.module(on_user_login=print))
        self.assertRefused(self.client.post(DELETE, start, token=self.token), 403, "M_FORBIDDEN")
        self.known(ALICE_ID)
        self.assertEqual(self.client.post(DELETE, start, token=self.token).status, 401)
        self.assertEqual(self.deletion("alice").status, 200)
        self.load(self.module(auth_checkers={(TYPE, ("key",)): print}))
        self.assertRefused(self.client.post(DELETE, start, token=self.token), 403, "M_FORBIDDEN")

    def test_hangs(self) -> None:
        """A checker that hangs ends in a 503, and the same request works once it answers."""
        waiting: Deferred[Any] = Deferred()
        answers = [waiting, (ALICE_ID, None)]
        self.load(self.checker(lambda *args: answers.pop(0)))
        auth = {"type": "m.login.password", "user": "alice", "password": SECRET}
        body = {"devices": ["NONE"], "auth": auth}
        started = self.client.start("POST", DELETE, body, token=self.token)
        self.client._flush(started)
        self.clock.advance(DEADLINE_S)
        self.assertEqual(self.client.answer(started).status, 503)
        self.assertEqual(self.client.post(DELETE, body, token=self.token).status, 200)

    def test_ownPasswordChanged(self) -> None:
        """Who is confirmed by a module may set a password of ours."""
        self.change("UPDATE users SET password_hash = NULL")
        self.known(ALICE_ID)
        auth = {"type": "m.login.password", "user": "Al", "password": SECRET}
        body = {"auth": auth, "new_password": "a better one"}
        answer = self.client.post(f"{V3}/account/password", body, token=self.token)
        self.assertEqual(answer.status, 200, answer)
        self.assertLoggedIn(self.log_in(password="a better one"))
