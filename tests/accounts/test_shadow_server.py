"""The same accounts on a shadow server: another regsys, of which this one is an application service
(contract B12.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, ClassVar, Mapping, Optional

import attr
import yaml
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from regsys.accounts.shadow_server import GIVE_UP_MS, PURPOSE, SHADOW_REGISTER, ShadowServer
from regsys.errors import UserNotFound
from regsys.interfaces.internal import IJobPlanner
from regsys.model import Registration, Secret, Threepid, UserID
from regsys.storage.database import Database
from regsys.storage.encryption import Encryptor
from regsys.storage.jobs import JobStore
from regsys.testing import provides, standalone
from regsys.testing.database import memory_database
from tests.appservices.bridges import SERVICE, registration
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer, Client
from tests.support.databases import InFile, OnPostgreSQL
from tests.support.due_jobs import run_due
from tests.support.homeserver import LATER_S, POINTS, Died, Homeserver, failing_at

SHADOW = "shadow.example"
AS_TOKEN = "the-token-canary-of-the-shadow-server"
OPTIONS: Mapping[str, Any] = {
    "shadow_server": {"hs_url": f"https://{SHADOW}/", "as_token": AS_TOKEN, "hs": SHADOW},
}
ALICE = UserID("alice", "test.example")
HOUR_S = 3600.0
EMAIL = "m.login.email.identity"


class _Fixed(Resource):
    isLeaf = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__()
        self.status, self.body = status, body

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self.status)
        return self.body


class Door(Resource):
    """Before the shadow server. ``answers`` are given in place of its next ones; ``is_shut``: it
    cannot be reached; ``asked`` has the body of each request that has come to it."""

    def __init__(self, behind: Resource) -> None:
        super().__init__()
        self.behind = behind
        self.answers: list[tuple[int, Any]] = []
        self.is_shut = False
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[Optional[str]] = []

    def getChildWithDefault(self, path: Any, request: Any) -> Any:
        if self.is_shut:
            return _Fixed(503, b"<html>away</html>")
        self.asked.append(json.loads(request.content.read()))
        self.tokens.append(request.getHeader("authorization"))
        request.content.seek(0)
        if self.answers:
            status, body = self.answers.pop(0)
            return _Fixed(status, json.dumps(body).encode())
        return self.behind.getChildWithDefault(path, request)


class ShadowCase(SystemCase):
    """``there`` is a client of the shadow server."""

    options: ClassVar[Mapping[str, Any]] = OPTIONS

    def system(self, **options: Any) -> None:
        if not hasattr(self, "door"):
            self.door = Door(self.shadow())
        super().system(**{"treq": StubTreq(self.door), **self.options, **options})

    def shadow(self) -> Any:
        users = [{"regex": "@.*", "exclusive": False}]
        path = Path(self.mktemp())
        path.write_text(
            yaml.safe_dump(registration(as_token=AS_TOKEN, namespaces={"users": users}))
        )
        self.behind = standalone(
            self,
            self.clock,
            server_name=SHADOW,
            app_service_config_files=[str(path)],
            enable_registration=False,
            regsys={"appservice_may_set_password": True, "rc_availability": False},
        )
        resource = self.behind.resource()
        self.there = Client(self, resource)
        return resource

    def log_in(self, client: Client, name: str = "alice") -> Answer:
        body = {"type": "m.login.password", "user": name, "password": PASSWORD}
        return client.post(f"{V3}/login", body)

    def display_name(self, name: str = "alice") -> Any:
        rows = self.wait(
            self.behind.process.database.autocommit(
                "test",
                lambda txn: txn.all(
                    "SELECT display_name FROM profiles WHERE user_id = ?", (f"@{name}:{SHADOW}",)
                ),
            )
        )
        return rows[0][0] if rows else None

    def later(self, seconds: float = HOUR_S + 1) -> None:
        """Jobs that have failed are run again."""
        self.clock.advance(seconds)
        self.wait(run_due(self.subsystem.jobs))

    def jobs(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT kind FROM jobs")]

    def payload(self) -> Any:
        ((text,),) = self.rows("SELECT payload FROM jobs WHERE kind = ?", SHADOW_REGISTER)
        return json.loads(text)


class RegisteredTests(ShadowCase):
    def test_planner(self) -> None:
        planned = self.subsystem.handler._shadow
        assert isinstance(planned, ShadowServer)
        provides(IJobPlanner, planned)

    def test_account(self) -> None:
        """The account is there, with its password and its display name; the request is the one of
        the contract, and nothing is left of it here."""
        self.register(device_id="PHONE", initial_device_display_name="a phone")
        self.assertEqual(
            self.door.asked,
            [
                {
                    "type": SERVICE,
                    "username": "alice",
                    "display_name": "alice",
                    "password": PASSWORD,
                    "auth_result": {"m.login.dummy": True},
                    "bind_email": False,
                    "bind_msisdn": False,
                    "device_id": "PHONE",
                    "initial_device_display_name": "a phone",
                    "inhibit_login": False,
                }
            ],
        )
        self.assertEqual(self.door.tokens, [f"Bearer {AS_TOKEN}"])
        self.assertEqual(self.log_in(self.there).json["user_id"], f"@alice:{SHADOW}")
        self.assertEqual(self.jobs(), [])

    def test_withoutLogin(self) -> None:
        """An account that asks for no login here is asked for there as any other; absent values are
        left out."""
        self.register(inhibit_login=True)
        (asked,) = self.door.asked
        self.assertIs(asked["inhibit_login"], False)
        self.assertEqual(asked.keys() & {"device_id", "initial_device_display_name"}, set())

    def test_dialogue(self) -> None:
        """``bind_email`` and ``bind_msisdn`` of an earlier request are remembered. A password that
        the completing request has not brought cannot be passed on: the account is there without
        one."""
        asked = self.challenge(username="alice", password=PASSWORD, bind_email=True)
        self.clock.advance(0)
        auth = {**DUMMY, "session": asked["session"]}
        self.assertEqual(self.client.register(auth=auth).status, 200)
        (asked,) = self.door.asked
        self.assertEqual((asked["bind_email"], asked["bind_msisdn"]), (True, False))
        self.assertNotIn("password", asked)
        self.assertEqual(self.log_in(self.client).status, 200)
        self.assertEqual(self.log_in(self.there).status, 403)

    def test_notABoolean(self) -> None:
        """A value of another type is refused, where it is looked at."""
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY, "bind_email": "yes"}
        self.assertRefused(self.client.register(**body), 400, "M_BAD_JSON")
        self.system(shadow_server=None)
        self.assertEqual(self.client.register(**body).status, 200)

    def test_addresses(self) -> None:
        """An address that was validated here belongs to the account there."""
        threepids = (Threepid("email", "Alice@mail.example", 5), Threepid("msisdn", "4915", 6))
        self.make(threepids=threepids, stages={"m.login.registration_token": "canary"})
        (asked,) = self.door.asked
        email = {"medium": "email", "address": "alice@mail.example", "validated_at": 5}
        phone = {"medium": "msisdn", "address": "4915", "validated_at": 6}
        expected = {"m.login.registration_token": True, EMAIL: email, "m.login.msisdn": phone}
        self.assertEqual(asked["auth_result"], expected)
        token = self.log_in(self.there).json["access_token"]
        found = self.there.get(f"{V3}/account/3pid", token=token).json["threepids"]
        self.assertEqual([item["address"] for item in found], ["alice@mail.example", "4915"])

    def make(self, localpart: Optional[str] = "alice", **fields: Any) -> None:
        new = Registration(localpart=localpart, password=Secret(PASSWORD), **fields)
        self.wait(self.subsystem.handler.register_user(new))

    def test_generatedName(self) -> None:
        """It is told the name that was drawn."""
        self.make(None)
        self.assertEqual(self.door.asked[0]["username"], "1")

    def test_others(self) -> None:
        """Guests are not on the shadow server, until they become users; ghosts never are."""
        guest = self.guest()
        self.assertEqual(self.door.asked, [])
        name = UserID.parse(guest["user_id"]).localpart
        self.register(name, guest_access_token=guest["access_token"])
        (asked,) = self.door.asked
        self.assertEqual((asked["username"], asked["password"]), (name, PASSWORD))
        self.assertNotIn("display_name", asked)

    def test_ghosts(self) -> None:
        """So two servers may be each other's shadow."""
        path = Path(self.mktemp())
        path.write_text(yaml.safe_dump(registration()))
        self.system(app_service_config_files=[str(path)])
        ghost = self.subsystem.handler.appservice_register(
            "_irc_bob", Secret("the token of the bridge"), Secret(PASSWORD)
        )
        self.wait(ghost)
        self.assertEqual(self.door.asked, [])


class LaterTests(ShadowCase):
    def test_anHour(self) -> None:
        """While it is down for an hour nobody notices. Afterwards all accounts are there."""
        self.door.is_shut = True
        names = ("alice", "bob", "carol")
        for name in names:
            self.register(name)
            self.later(HOUR_S / 3)
        self.assertEqual(self.jobs(), [SHADOW_REGISTER] * 3)
        self.assertTrue(all("503" in error for error in self.failed_jobs.flush()))
        for name in names:
            self.assertEqual(self.log_in(self.client, name).status, 200)
        self.door.is_shut = False
        self.later()
        self.assertEqual(self.jobs(), [])
        for name in names:
            self.assertEqual(self.log_in(self.there, name).status, 200)

    def test_lostAnswer(self) -> None:
        """If the answer is lost, the name is taken at the next attempt, which is success."""
        self.door.answers = [(502, {})]
        self.register()
        body = {"type": SERVICE, "username": "alice"}
        self.assertEqual(self.there.post(f"{V3}/register", body, token=AS_TOKEN).status, 200)
        with capturedLogs() as events:
            self.later()
        self.assertEqual(self.jobs(), [])
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.assertNotIn("the shadow server has", str([formatEvent(event) for event in events]))

    def test_taken(self) -> None:
        """A name that is somebody's before anybody was asked is logged."""
        self.door.answers = [(400, {"errcode": "M_USER_IN_USE"})]
        with capturedLogs() as events:
            self.register()
        self.assertEqual(self.jobs(), [])
        text = "the shadow server has a user of the name of @alice:test.example already"
        self.assertIn(text, [formatEvent(event) for event in events])

    def test_refused(self) -> None:
        """A refusal is logged, and shown with the jobs, until the operator has mended its cause, or
        a week has passed; then the password is gone."""
        refusal = {"errcode": "M_EXCLUSIVE", "error": "This is not yours."}
        self.door.answers = [(400, refusal), (403, refusal)]
        self.register("alice")
        self.register("bob")
        ((error,), _) = self.rows("SELECT last_error FROM jobs")
        self.assertIn("it answers 400 M_EXCLUSIVE This is not yours.", error)
        self.later()
        self.assertEqual(self.jobs(), [])
        self.assertEqual(len(self.failed_jobs.flush()), 2)
        self.door.answers = [(400, refusal), (400, refusal), (400, refusal)]
        self.register("carol")
        self.later(GIVE_UP_MS / 1000 - 60)
        self.assertEqual(self.jobs(), [SHADOW_REGISTER])
        with capturedLogs() as events:
            self.later()
        self.assertEqual(self.jobs(), [])
        texts = [formatEvent(event) for event in events]
        (text,) = (text for text in texts if "not tried any more" in text)
        self.assertIn("@carol:test.example", text)
        self.assertEqual(len(self.failed_jobs.flush()), 2)

    def test_nonsense(self) -> None:
        """Whatever it answers is no reason to lose the account. What it says is logged, but for our
        secrets."""
        echo = f"{AS_TOKEN} {PASSWORD}"
        answers = [
            (200, []),
            (200, {"user_id": 5}),
            (302, {}),
            (401, {"errcode": "M_UNKNOWN_TOKEN", "error": echo}),
            (404, {"error": "x" * 1000}),
            (429, {"errcode": 7}),
            (500, {"errcode": "M_UNKNOWN", "error": "\n"}),
        ]
        self.door.answers = list(answers)
        with capturedLogs() as events:
            self.register()
            for _ in answers:
                self.later()
        self.assertEqual(self.jobs(), [])
        errors = self.failed_jobs.flush()
        self.assertEqual(len(errors), len(answers))
        for text in [*errors, *map(repr, events)]:
            self.assertNotIn(AS_TOKEN, text)
            self.assertNotIn(PASSWORD, text)
        self.assertLess(max(map(len, errors)), 300)

    def test_anotherName(self) -> None:
        """A user ID that is not of ``shadow_server.hs`` is logged: the wrong server was asked."""
        self.door.answers = [(200, {"user_id": "@alice:elsewhere.example"})]
        with capturedLogs() as events:
            self.register()
        (text,) = (text for text in map(formatEvent, events) if text and "hs" in text)
        self.assertIn("as @alice:elsewhere.example: see shadow_server.hs", text)

    def test_changedSecret(self) -> None:
        """A password that cannot be decrypted is left out, and the log says why."""
        self.door.is_shut = True
        self.register()
        self.failed_jobs.flush()
        self.door.is_shut = False
        self.system(database=self.database, macaroon_secret_key="another")
        with capturedLogs() as events:
            self.later()
        self.assertNotIn("password", self.door.asked[0])
        self.assertTrue(any("macaroon_secret_key" in (formatEvent(e) or "") for e in events))

    def test_deactivated(self) -> None:
        """Nobody is registered there who has left meanwhile."""
        self.door.is_shut = True
        self.register()
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.door.is_shut = False
        self.later()
        self.assertEqual((self.door.asked, self.jobs()), ([], []))
        self.failed_jobs.flush()


class ApprovalTests(ShadowCase):
    options: ClassVar[Mapping[str, Any]] = {
        **OPTIONS,
        "experimental_features": {
            "msc3866": {"enabled": True, "require_approval_for_new_accounts": True}
        },
    }

    def test_waits(self) -> None:
        """An account that waits for approval is not there before: its user could log in. That it
        waits is no failure."""
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
        self.assertEqual(self.client.register(**body).status, 403)
        self.later()
        self.assertEqual((self.door.asked, self.jobs()), ([], [SHADOW_REGISTER]))
        self.assertEqual(self.rows("SELECT attempts, last_error FROM jobs"), [(1, None)])
        self.change("UPDATE users SET approved = TRUE")
        self.later(901)
        self.assertEqual(self.log_in(self.there).status, 200)
        self.assertEqual(self.jobs(), [])


class AtRestTests:
    """On both databases."""

    def test_password(self: Any) -> None:
        """While the shadow server is down the password is nowhere in the database in plain; once
        the account is there, not even encrypted."""
        self.system(database=self.database_of_its_own())
        self.door.is_shut = True
        self.register()
        session = self.challenge(username="bob", password=PASSWORD)["session"]
        self.clock.advance(0)
        body = {"password": PASSWORD, "auth": {**DUMMY, "session": session}}
        self.assertEqual(self.client.register(**body).status, 200)
        sealed = [json.loads(row[0])["sealed"] for row in self.rows("SELECT payload FROM jobs")]
        self.assertEqual(len(sealed), 2)
        before = self.dump()
        self.assertIn(sealed[0].encode(), before)
        self.assertNotIn(PASSWORD.encode(), before)
        self.failed_jobs.flush()
        self.door.is_shut = False
        self.later()
        self.assertEqual([asked["password"] for asked in self.door.asked], [PASSWORD] * 2)
        after = self.dump()
        self.assertNotIn(PASSWORD.encode(), after)
        for text in sealed:
            self.assertFalse(self.rows("SELECT 1 FROM jobs WHERE payload LIKE ?", f"%{text}%"))


class AtRestInFileTests(AtRestTests, ShadowCase):
    def database_of_its_own(self) -> Database:
        return InFile.database(self, self.clock)

    def dump(self) -> bytes:
        """All bytes of the database, its log included."""
        ((_, _, path),) = self.rows("PRAGMA database_list")
        folder = Path(path)
        return b"".join(file.read_bytes() for file in sorted(folder.parent.glob(f"{folder.name}*")))


class AtRestOnPostgreSQLTests(AtRestTests, ShadowCase):
    def database_of_its_own(self) -> Database:
        return OnPostgreSQL.database(self, self.clock)

    def dump(self) -> bytes:
        """All rows of all tables."""
        found = []
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (table,) in tables:
            found += self.rows(f"SELECT CAST(t AS TEXT) FROM {table} t")
        self.assertTrue(found)
        return repr(found).encode()


class HandlerTests(ShadowCase):
    """``handler.shadow_register``, for accounts that were made elsewhere."""

    def test_call(self) -> None:
        """It writes a job, once for each account."""
        self.system(shadow_server=None)
        self.register()
        self.system(database=self.database)
        params = {"password": Secret(PASSWORD), "bind_email": True, "device_id": None, "x": 1}
        result = {EMAIL: {"medium": "email", "address": "a@mail.example", "validated_at": 7}}
        for _ in range(2):
            self.wait(self.subsystem.handler.shadow_register("alice", "Al", result, params))
        (asked,) = self.door.asked
        self.assertEqual(asked["auth_result"], result)
        self.assertEqual((asked["password"], asked["bind_email"]), (PASSWORD, True))
        self.assertEqual(self.display_name(), "Al")
        self.assertEqual(self.jobs(), [])

    def test_wrong(self) -> None:
        """What cannot be used is named."""
        register = self.subsystem.handler.shadow_register
        self.register("bob")
        wrong: tuple[tuple[type[Exception], str, Callable[[], Any]], ...] = (
            (TypeError, "password", lambda: register("bob", params={"password": PASSWORD})),
            (TypeError, "bind_email", lambda: register("bob", params={"bind_email": 1})),
            (TypeError, "auth_result", lambda: register("bob", None, {"x": object()})),
            (TypeError, "display_name", lambda: register("bob", 7)),  # type: ignore[arg-type]
            (UserNotFound, "", lambda: register("nobody")),
        )
        for kind, name, call in wrong:
            failure = self.failureResultOf(Deferred.fromCoroutine(call()), kind)
            self.assertIn(name, str(failure.value))
        self.system(shadow_server=None)
        call_alone = self.subsystem.handler.shadow_register("bob")
        failure = self.failureResultOf(Deferred.fromCoroutine(call_alone), ValueError)
        self.assertIn("shadow_server", str(failure.value))


@attr.define
class Server:
    """Stands for the shadow server."""

    asked: list[Mapping[str, Any]] = attr.field(factory=list)

    async def register(self, body: Mapping[str, Any]) -> Optional[str]:
        self.asked.append(body)
        return f"@{body['username']}:{SHADOW}"


class CrashTests(TestCase):
    async def test_recovery(self) -> None:
        """Wherever a process dies that makes an account in a homeserver's store, the account is on
        the shadow server if it exists, with its password."""
        for point in POINTS:
            server, there = Homeserver(self), Server()
            await server.begin()
            shadow = ShadowServer(
                server=there,
                server_name=SHADOW,
                encryptor=Encryptor(b"secret"),
                users=None,
                jobs=JobStore(memory_database(self)),
                start_jobs=lambda jobs: None,
                clock=server.clock,
            )
            parts: dict[str, Any] = {"planners": shadow, "handlers": {SHADOW_REGISTER: shadow.run}}
            writer, _ = server.process(failing_at(point, Died()), **parts)
            terms = shadow.terms_of(Registration(localpart="alice", password=Secret(PASSWORD)))
            new = attr.evolve(server.new_account(), shadow=terms)
            new = attr.evolve(new, jobs=tuple(shadow.jobs_for(new)))
            with self.assertRaises(Died):
                await writer.create_account(new)
            for _ in range(3):
                server.clock.advance(LATER_S)
                await run_due(server.process(**parts)[1])
            made = bool(server.accounts.by_name)
            self.assertEqual([body["password"] for body in there.asked], [PASSWORD] * made, point)


class EncryptionTests(SynchronousTestCase):
    def test_purpose(self) -> None:
        """Nothing else that is encrypted with the same secret is taken for a password."""
        encryptor = Encryptor(b"secret")
        self.assertIsNone(encryptor.decrypt(encryptor.encrypt("a binding", "binding"), PURPOSE))
