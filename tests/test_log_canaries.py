"""No secret appears in the log, in an answer, in an exception or in a repr, whatever goes wrong;
and tests.support.log_canaries would find it (threat B6, F10)."""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import Any

from twisted.internet.defer import fail
from twisted.logger import Logger
from zope.interface import implementer

from regsys.client_api.register_request import RegisterRequest
from regsys.client_api.signup import SignupRequest
from regsys.errors import Unavailable
from regsys.interfaces import IBlocking
from regsys.model import (
    Client,
    Created,
    DeviceRequest,
    MailPurpose,
    NewAccount,
    NewDevice,
    Registration,
    Secret,
    User,
    UserID,
    ValidationMail,
)
from regsys.model.threepids import Validation
from regsys.testing import MemoryMails, config
from regsys.threepids.validation_tokens import ValidationTokens
from regsys.uia.sessions import Auth
from tests.support import postgres
from tests.support.case import DUMMY, SystemCase
from tests.support.client import V3, Answer
from tests.support.databases import postgres_database
from tests.support.log_canaries import Canaries, leaked, watch_for_leaks
from tests.support.validations import MAILS, REQUEST, STAGE, SUBMIT

REGISTER = f"{V3}/register"
WHOAMI = f"{V3}/account/whoami"
CHANGE = f"{V3}/account/password"
THREEPIDS = f"{V3}/account/3pid"
PASSWORD = "password-canary"
INTROSPECTION = "introspection-canary"
MAIL_SECRET = "client-canary"
NEW_PASSWORD = "another-canary"
SECRETS = {
    "the password": PASSWORD,
    "a new password": NEW_PASSWORD,
    "the pepper": "pepper-canary",
    "the macaroon secret": "macaroon-canary",
    "the introspection secret": INTROSPECTION,
    "a client's secret": MAIL_SECRET,
}
ALICE = {"username": "alice", "password": PASSWORD, "refresh_token": True}
OPTIONS = {
    **MAILS,
    "macaroon_secret_key": SECRETS["the macaroon secret"],
    "password_config": {"pepper": SECRETS["the pepper"], "policy": {"minimum_length": 3}},
    "regsys": {"rc_availability": False, "introspection_secret": INTROSPECTION},
}
# The answers that give out tokens.
GIVING = (REGISTER, f"{V3}/login", f"{V3}/refresh")


class CanariesTests(SystemCase):
    """The canaries themselves."""

    def test_hears(self) -> None:
        """Each kind of secret is found, in a field, a format, a traceback, a standard log."""
        user = self.register("alice", refresh_token=True)
        (row,) = self.rows("SELECT password_hash FROM users")
        told_ones = (PASSWORD, row[0], user["access_token"], user["refresh_token"])
        for secret in (*told_ones, self.guest()["access_token"]):
            self.assertEqual(len(leaked(f"so {secret}.", SECRETS)), 1, secret)
        self.assertEqual(leaked("nothing", SECRETS), [])
        for tell in (
            lambda: Logger().debug("{it}", it=PASSWORD),
            lambda: Logger().debug("quiet", it=[PASSWORD]),
            lambda: logging.getLogger("x").debug("%s", PASSWORD),
            self.log_failure,
        ):
            canaries = Canaries(SECRETS)
            canaries.start()
            tell()
            canaries.stop()
            self.assertEqual(len(canaries.leaks), 1, canaries.leaks)

    def log_failure(self) -> None:
        try:
            raise ValueError(PASSWORD)
        except ValueError:
            Logger().failure("quiet")
        self.flushLoggedErrors(ValueError)


@implementer(IBlocking)
class Fragile:
    """Fails on each registration, and quotes it."""

    async def check(self, registration: Registration) -> None:
        raise RuntimeError(f"cannot judge {registration!r}")

    async def check_login(self, user: User) -> None: ...


class FlowTests(SystemCase):
    """Everything that a client can do, right or wrong, with canaries for secrets."""

    options = OPTIONS

    def setUp(self) -> None:
        self.mails = MemoryMails()
        super().setUp()
        self.canaries = watch_for_leaks(self, SECRETS)

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """A request whose answer is checked as well."""
        answer = self.client.ask(method, path, body, **more)
        self.clock.advance(0)
        giving = path.partition("?")[0] in GIVING and answer.status == 200
        self.canaries.check(f"{method} {path}", f"{answer}", tokens_expected=giving)
        return answer

    def system(self, **options: Any) -> None:
        options.setdefault("hooks", self.hooks(mails=self.mails))
        super().system(**options)

    def everything(self) -> list[int]:
        """Each flow once, and each of its usual mistakes; the statuses in their order."""
        asked = [self.ask("POST", REGISTER, {**ALICE, "auth": DUMMY})]
        alice = {"access_token": "syt_a_lost_one", "refresh_token": "syr_a_lost", **asked[0].json}
        begun = self.ask("POST", REGISTER, {"username": "bob", "password": PASSWORD})
        auth = {**DUMMY, "session": begun.json.get("session", "lost")}
        asked += [self.ask("POST", REGISTER, {"auth": auth}) for _ in range(2)]
        asked += [
            *self.guests(),
            *self.mistakes(auth),
            *self.validations(auth),
            *self.uses(**alice),
        ]
        self.failed_jobs.flush()  # a mail could not be sent
        return [answer.status for answer in asked]

    def guests(self) -> list[Answer]:
        guest = self.ask("POST", f"{REGISTER}?kind=guest", {}).json
        token = guest.get("access_token", "MDA" + "x" * 40)
        name = guest.get("user_id", "@1:x")[1:].partition(":")[0]
        upgrade = {**ALICE, "username": name, "guest_access_token": token, "auth": DUMMY}
        return [
            self.ask("GET", WHOAMI, token=token),
            self.ask("POST", REGISTER, upgrade),
            self.ask("POST", REGISTER, upgrade),
        ]

    def mistakes(self, auth: dict[str, Any]) -> list[Answer]:
        """Registrations with their secrets in the wrong places."""
        return [
            self.ask("POST", REGISTER, {**ALICE, "auth": DUMMY}),
            self.ask("POST", REGISTER, {"username": PASSWORD.upper(), "auth": DUMMY}),
            self.ask("POST", REGISTER, {"username": f"{PASSWORD}?", "auth": {"type": PASSWORD}}),
            self.ask("POST", REGISTER, {**ALICE, "password": [PASSWORD]}),
            self.ask("POST", REGISTER, {**ALICE, "password": PASSWORD * 100}),
            self.ask("POST", REGISTER, {**ALICE, "password": f"{PASSWORD}\ud800"}),
            self.ask("POST", REGISTER, json.dumps(ALICE).encode()[:-1]),
            self.ask("POST", REGISTER, {"auth": {**auth, "password": PASSWORD, "type": "x"}}),
            self.ask("POST", f"{REGISTER}?x={PASSWORD}", {**ALICE, "auth": {"session": "x"}}),
        ]

    def validations(self, auth: dict[str, Any]) -> list[Answer]:
        """Validations of an email address, with a wrong code and a right one, and with a mail that
        can't be sent."""
        mail = {"email": "alice@mail.example", "client_secret": MAIL_SECRET, "send_attempt": 1}
        answers = [self.ask("POST", REQUEST, mail)]
        creds = {"sid": answers[0].json.get("sid", "lost"), "client_secret": MAIL_SECRET}
        code = self.mails.sent[-1].code if self.mails.sent else "LOSTCODE"
        self.mails.trouble = Unavailable()
        return [
            *answers,
            self.ask("POST", REQUEST, {**mail, "send_attempt": 2}),
            self.ask("POST", REQUEST, {**mail, "next_link": f"javascript:{MAIL_SECRET}"}),
            self.ask("POST", REQUEST, {**mail, "client_secret": f"{MAIL_SECRET}?"}),
            self.ask("POST", SUBMIT, {**creds, "token": MAIL_SECRET}),
            self.ask("POST", SUBMIT, {**creds, "token": code}),
            self.ask("POST", REGISTER, {"auth": {**auth, "type": STAGE, "threepid_creds": creds}}),
        ]

    def changes(self, access_token: str) -> list[Answer]:
        """Changes of a user's addresses."""
        self.mails.trouble = None
        mail = {"email": "new@mail.example", "client_secret": MAIL_SECRET, "send_attempt": 1}
        asked = self.ask("POST", f"{THREEPIDS}/email/requestToken", mail, token=access_token)
        creds = {"sid": asked.json.get("sid", "lost"), "client_secret": MAIL_SECRET}
        code = self.mails.sent[-1].code if self.mails.sent else "LOSTCODE"
        auth = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        lost = {"medium": "email", "address": "new@mail.example", "x": PASSWORD}
        add, delete = f"{THREEPIDS}/add", f"{THREEPIDS}/delete"
        return [
            asked,
            self.ask("POST", add, creds, token=access_token),
            self.ask("POST", SUBMIT, {**creds, "token": code}),
            self.ask("POST", add, {**creds, "auth": auth}, token=f"{access_token}x"),
            self.ask("POST", add, {**creds, "auth": {**auth, "user": "x"}}, token=access_token),
            self.ask("POST", add, {**creds, "auth": auth}, token=access_token),
            self.ask("GET", THREEPIDS, token=access_token),
            self.ask("POST", delete, {**lost, "medium": PASSWORD}, token=access_token),
            self.ask("POST", delete, lost, token=access_token),
        ]

    def uses(self, access_token: str, refresh_token: str, **others: str) -> list[Answer]:
        """Further requests with a user's tokens."""
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        introspect, form = "/_regsys/v1/introspect", f"token={access_token}".encode()
        return [
            self.ask("POST", f"{V3}/login", login),
            self.ask("POST", f"{V3}/login", {**login, "password": "wrong"}),
            self.ask("POST", f"{V3}/login", {**login, "type": PASSWORD}),
            self.ask("POST", f"{V3}/login", {**login, "device_id": PASSWORD * 99}),
            self.ask("POST", f"{V3}/refresh", {"refresh_token": refresh_token}),
            self.ask("POST", f"{V3}/refresh", {"refresh_token": f"{refresh_token}x"}),
            *self.changes(access_token),
            *self.life(access_token),
            self.ask("GET", WHOAMI, token=access_token),
            self.ask("GET", f"{WHOAMI}?access_token={access_token}x"),
            self.ask("POST", introspect, form, token=INTROSPECTION),
            self.ask("POST", introspect, form, token=f"{INTROSPECTION}x"),
            self.ask("POST", f"{V3}/{PASSWORD}"),
            self.ask("BREW", f"{V3}/login"),
            self.ask("POST", f"{V3}/logout", token=access_token),
            self.ask("POST", f"{V3}/logout/all", token=access_token),
            *self.leaving(),
        ]

    def life(self, access_token: str) -> list[Answer]:
        """A new password, a forgotten one, and devices: how a user confirms it, and fails to."""
        auth = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        new = {"new_password": NEW_PASSWORD, "logout_devices": False}
        mail = {"email": "lost@mail.example", "client_secret": MAIL_SECRET, "send_attempt": 1}
        creds = {"sid": "lost", "client_secret": MAIL_SECRET}
        devices = {"devices": ["PHONE", PASSWORD]}
        wrong = {"password": f"{PASSWORD}x"}
        return [
            self.ask("POST", CHANGE, {**new, "auth": {**auth, **wrong}}, token=access_token),
            self.ask(
                "POST", CHANGE, {**new, "new_password": "x", "auth": auth}, token=access_token
            ),
            self.ask("POST", CHANGE, {**new, "logout_devices": NEW_PASSWORD}, token=access_token),
            self.ask("POST", CHANGE, {**new, "auth": auth}, token=f"{access_token}x"),
            self.ask("POST", f"{CHANGE}/email/requestToken", mail),
            self.ask("POST", CHANGE, {**new, "auth": {"type": STAGE, "threepid_creds": creds}}),
            self.ask("POST", f"{V3}/delete_devices", devices, token=access_token),
            self.ask("POST", f"{V3}/delete_devices", {**devices, "auth": auth}, token=access_token),
            self.ask("DELETE", f"{V3}/devices/{PASSWORD}", {"auth": auth}, token=access_token),
            self.ask("POST", CHANGE, {**new, "auth": auth}, token=access_token),
            self.ask("GET", f"{V3}/devices", token=access_token),
            self.ask("GET", f"{V3}/capabilities", token=access_token),
        ]

    def leaving(self) -> list[Answer]:
        """A deactivation, by the new password."""
        path, user = f"{V3}/account/deactivate", {"type": "m.login.password", "user": "alice"}
        login = self.ask("POST", f"{V3}/login", {**user, "password": NEW_PASSWORD})
        token = login.json.get("access_token", "syt_a_lost_one")
        return [
            login,
            self.ask("POST", path, {"auth": {**user, "password": PASSWORD}}, token=token),
            self.ask("POST", path, {"auth": {**user, "password": NEW_PASSWORD}}, token=token),
        ]

    def test_everything(self) -> None:
        """When everything works, and when clients make mistakes."""
        statuses = self.everything()
        self.assertEqual(statuses[:5], [200] * 5)
        self.assertEqual(set(statuses), {200, 400, 401, 403, 404, 405})
        self.assertGreater(self.canaries.event_count, 3)

    def test_databaseDown(self) -> None:
        """When the database fails every statement."""
        self.database.pool.connection = Down()
        statuses = self.everything()
        self.assertEqual(statuses[0], 503)
        self.assertLessEqual(set(statuses), {400, 401, 404, 405, 503})

    def test_unexpectedException(self) -> None:
        """When a hook fails with the registration as its argument."""
        self.system(blocking=Fragile(), hooks=self.hooks(mails=self.mails), **OPTIONS)
        self.assertEqual(self.everything()[0], 500)
        self.assertIn("cannot judge", str(self.flushLoggedErrors(RuntimeError)[0]))

    def test_hasherFails(self) -> None:
        """When hashing fails with the password as its argument."""

        def run(function: Any, *args: Any) -> Any:
            return fail(RuntimeError("no thread"))

        self.system(run=run, **OPTIONS)
        self.assertEqual(self.everything()[0], 500)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))


class Down:
    """A connection to a database that is down."""

    def cursor(self) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        """There is nothing to close."""


class RowQuotedTests(SystemCase):
    """PostgreSQL quotes whole rows in its errors."""

    def test_brokenRule(self) -> None:
        """The log of a refused statement contains nothing of its row."""
        canaries = watch_for_leaks(self, SECRETS)
        database = postgres_database(self, self.clock, postgres.dsn(self))
        self.system(database=database, **OPTIONS)
        for change in (
            "ALTER TABLE users ADD CHECK (name_key <> 'alice')",
            "ALTER TABLE logins ADD CHECK (user_id NOT LIKE '@bob:%')",
        ):
            database.pool.connection.cursor().execute(change)
        for name in ("alice", "bob"):
            body = {"username": name, "password": PASSWORD, "auth": DUMMY}
            self.assertEqual(self.client.post(REGISTER, body).status, 500)
        self.assertEqual(len(self.flushLoggedErrors()), 2)
        self.assertGreater(canaries.event_count, 1)


class ReprTests(SystemCase):
    """What a debugger, an assertion or a careless log line would show."""

    options = OPTIONS

    def test_values(self) -> None:
        """No value that has a secret shows it in its repr."""
        canaries = watch_for_leaks(self, SECRETS)
        key = "call"
        device = DeviceRequest(wants_refresh_token=True)
        logins = self.subsystem.handler._planner.logins
        login = logins.issue(UserID("a", "b"), logins.terms(device), key)
        body = {"username": "alice", "password": PASSWORD, "guest_access_token": PASSWORD}
        auth = {"type": PASSWORD, "session": "s", "token": PASSWORD}
        for value in (
            config(**OPTIONS),
            self.subsystem,
            self.subsystem.process,
            self.subsystem.process.hasher,
            self.subsystem.auth,
            logins,
            login,
            NewDevice(login=login),
            Created(user_id=UserID("a", "b"), login=login),
            Secret(PASSWORD),
            Registration(key=key, password=Secret(PASSWORD)),
            Registration(key=key, password_hash="$2b$04$x"),
            NewAccount(key=key, user_id=UserID("a", "b"), created_ms=0, password_hash="$2b$04$x"),
            User(user_id=UserID("a", "b"), password_hash="$2b$04$x"),
            SignupRequest(kind="user", body=body, uri="/", client=Client("192.0.2.1")),
            RegisterRequest.from_body(body),
            Auth("s", "m.login.dummy", auth),
            ValidationTokens(SECRETS["the macaroon secret"].encode()),
            ValidationMail(
                purpose=MailPurpose.REGISTRATION,
                address="a@x.example",
                languages=(),
                message_id="1",
                link=f"https://x.example/?client_secret={MAIL_SECRET}",
                code=PASSWORD,
            ),
            Validation(
                sid="s",
                medium="email",
                address="a@x.example",
                client_secret=MAIL_SECRET,
                next_link=None,
                expires_ms=0,
            ),
        ):
            canaries.check(f"repr of {type(value).__name__}", f"{value!r} {value}")
