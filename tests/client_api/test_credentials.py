"""``Subsystem.passwords``: what an embedder's own /login asks, with the limits of ours."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from twisted.internet.defer import Deferred

from regsys.errors import (
    AwaitingApproval,
    BadJSON,
    InvalidParam,
    LimitExceeded,
    LoginFailed,
    MissingParam,
    PasswordRefused,
    UserDeactivated,
)
from regsys.model import Client, Secret, User, UserID
from regsys.storage.users import UserStore
from regsys.testing import (
    MemoryAccounts,
    MemoryAuth,
    MemoryDevices,
    config,
    memory_process,
)
from regsys.wiring import embedded
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import V3
from tests.support.validations import ALICE as MAIL
from tests.support.validations import EmailValidationCase

HOME = Client("192.0.2.1")
LARGE = {"per_second": 1000, "burst_count": 1000}
ALICE = UserID("alice", "test.example")


class CheckCase(SystemCase):
    def check(
        self, identifier: Any = "alice", password: Any = None, client: Any = HOME
    ) -> Deferred[User]:
        passwords = self.subsystem.passwords
        assert passwords is not None
        given = Secret(PASSWORD) if password is None else password
        return Deferred.fromCoroutine(passwords.check(identifier, given, client))

    def fits(self, *arguments: Any) -> User:
        return self.successResultOf(self.check(*arguments))

    def assertRaised(self, error: type[Exception], *arguments: Any) -> str:
        """What ``check`` says with this error."""
        return str(self.failureResultOf(self.check(*arguments), error).value)


class UserTests(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.register()

    def test_named(self) -> None:
        """A user is named by the identifier of a request, by a name, or by a user ID."""
        for identifier in (
            "alice",
            "ALICE",
            "@alice:test.example",
            "@Alice:TEST.example",
            ALICE,
            {"type": "m.id.user", "user": "alice"},
            {"type": "m.id.user", "user": str(ALICE), "medium": "email"},
        ):
            self.assertEqual(self.fits(identifier).user_id, ALICE, identifier)

    def test_refused(self) -> None:
        """An unknown user, another server's and a wrong password are the same refusal."""
        elsewhere = UserID("alice", "elsewhere.example")
        for identifier in ("bob", "", "@alice", elsewhere, str(elsewhere), "a:b"):
            self.assertRaised(LoginFailed, identifier)
        self.assertRaised(LoginFailed, "alice", Secret("wrong"))
        self.assertRaised(LoginFailed, "alice", Secret(""))

    def test_badInput(self) -> None:
        """What a client gets wrong is a refusal that it may be sent."""
        for identifier, error in (
            ({}, MissingParam),
            ({"type": "m.id.user"}, MissingParam),
            ({"type": "m.id.user", "user": 5}, BadJSON),
            ({"type": "m.id.fax", "user": "alice"}, BadJSON),
            ({"type": "m.id.user", "user": "al\0ice"}, InvalidParam),
            ("al\ud800ice", InvalidParam),
            ("a" * 513, InvalidParam),
        ):
            self.assertRaised(error, identifier)
        for password in ("\ud800", "a\0b", "a" * 513):
            self.assertRaised(InvalidParam, "alice", Secret(password))

    def test_wrongTypes(self) -> None:
        """What an embedder gets wrong is a TypeError that says what to do; it counts nothing."""
        few = {"per_second": 0.1, "burst_count": 1}
        self.system(database=self.database, rc_login={"address": few})
        for arguments, text in (
            (("alice", PASSWORD), "password must be Secret, not str: wrap it, Secret(…)"),
            (("alice", PASSWORD.encode()), "password must be Secret, not bytes"),
            (("alice", Secret(PASSWORD), "192.0.2.1"), "client must be Client or None, not str"),
        ):
            self.assertIn(text, self.assertRaised(TypeError, *arguments))
        self.fits()

    def test_anyJSON(self) -> None:
        """The identifier of a client's body may be passed on as it is."""
        for identifier, error in ((None, MissingParam), (5, BadJSON), ([], BadJSON)):
            self.assertRaised(error, identifier)

    def test_policy(self) -> None:
        """A new password is checked against the policy of registrations."""
        self.system(password_config={"policy": {"enabled": True, "minimum_length": 9}})
        passwords = self.subsystem.passwords
        assert passwords is not None
        passwords.check_policy(Secret("123456789"))
        refused = self.assertRaises(PasswordRefused, passwords.check_policy, Secret("12345678"))
        self.assertEqual(refused.errcode, "M_PASSWORD_TOO_SHORT")
        self.assertRaises(TypeError, passwords.check_policy, "123456789")

    def test_afterThePassword(self) -> None:
        """Only who knows the password learns that an account is deactivated or not approved."""
        for change, error in (
            ("UPDATE users SET approved = FALSE", AwaitingApproval),
            ("UPDATE users SET deactivated = TRUE", UserDeactivated),
        ):
            self.change(change)
            self.assertRaised(error)
            self.assertRaised(LoginFailed, "alice", Secret("wrong"))


class AddressTests(EmailValidationCase, CheckCase):
    def test_addresses(self) -> None:
        """A user is named by an address, in any spelling; text that is none names nobody."""
        self.register_with_address()
        third = {"type": "m.id.thirdparty", "medium": "email"}
        found = self.fits({**third, "address": MAIL.upper()})
        self.assertEqual(found.user_id, UserID("owner", "test.example"))
        for address in ("bob@mail.example", "nonsense"):
            self.assertRaised(LoginFailed, {**third, "address": address})
        self.assertRaised(BadJSON, {**third, "medium": "fax", "address": "1"})
        phone = {"type": "m.id.phone", "country": "DE", "phone": "0151 12345678"}
        self.assertRaised(LoginFailed, phone)
        self.change("UPDATE threepids SET medium = 'msisdn', address = '4915112345678'")
        self.assertEqual(self.fits(phone), found)


class LimitTests(CheckCase):
    def limit(self, **rates: Any) -> None:
        limits: Mapping[str, Any] = {
            "address": LARGE,
            "account": LARGE,
            "failed_attempts": LARGE,
            **rates,
        }
        self.system(rc_login=limits)
        self.register()

    def log_in(self, user: str = "alice", address: str = HOME.address) -> int:
        """At our own /login; the status of its answer."""
        identifier = {"type": "m.id.user", "user": user}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        return self.client.post(f"{V3}/login", body, X_Forwarded_For=address).status

    def test_address(self) -> None:
        """An attempt counts against its address, together with those at /login, whatever it names
        and however it ends; without a client it doesn't."""
        self.limit(address={"per_second": 0.1, "burst_count": 4})
        self.assertRaised(LoginFailed, "nobody")
        self.assertRaised(BadJSON, {"type": "m.id.fax"})
        self.fits()
        self.assertEqual(self.log_in(), 200)
        self.assertRaised(LimitExceeded)
        self.assertEqual(self.log_in(), 429)
        self.fits("alice", None, Client("192.0.2.2"))
        self.fits("alice", None, None)

    def test_account(self) -> None:
        """Successful logins to an account count, from any address, here and at /login."""
        self.limit(account={"per_second": 0.1, "burst_count": 2})
        self.assertRaised(LoginFailed, "alice", Secret("wrong"))
        self.fits(ALICE, None, None)
        self.assertEqual(self.log_in(address="192.0.2.7"), 200)
        self.assertRaised(LimitExceeded)

    def test_failed(self) -> None:
        """Failed attempts at an account count, here and at /login."""
        self.limit(failed_attempts={"per_second": 0.1, "burst_count": 2})
        for spelling in ("alice", "@ALICE:test.example"):
            self.assertRaised(LoginFailed, spelling, Secret("wrong"))
        self.assertRaised(LimitExceeded)
        self.assertEqual(self.log_in(), 429)

    def test_order(self) -> None:
        """The limit by address comes first, then that of the account, then the password."""
        few = {"per_second": 0.1, "burst_count": 1}
        self.limit(address=few, account=few)
        hashed: list[Any] = []

        def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            hashed.append(function)
            done: Deferred[Any] = Deferred()
            done.callback(function(*arguments))
            return done

        self.system(database=self.database, run=run, rc_login={"address": few, "account": few})
        self.fits()
        self.assertRaised(LimitExceeded, {"type": "m.id.fax"})
        self.assertRaised(LimitExceeded, "alice", Secret("wrong"), None)
        self.assertEqual(len(hashed), 1)


class EmbeddedTests(CheckCase):
    def test_users(self) -> None:
        """Where accounts can be looked up, passwords are checked against what is found; elsewhere
        there is nothing to check them with."""
        self.register()
        accounts, chosen = MemoryAccounts(), config()
        devices = MemoryDevices(accounts)
        parts: dict[str, Any] = {"store": accounts, "devices": devices, "auth": MemoryAuth(devices)}
        parts["process"] = memory_process(self, chosen, self.clock, self.database)
        self.assertIsNone(embedded(chosen, self.clock, **parts).passwords)
        users = UserStore(self.database)
        self.subsystem = embedded(chosen, self.clock, users=users, **parts)
        self.assertEqual(self.fits().user_id, ALICE)
        self.assertRaised(LoginFailed, "alice", Secret("wrong"))
