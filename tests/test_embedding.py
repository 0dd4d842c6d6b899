"""docs/embedding.md as its reader would use it: the example runs, and the text quotes it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional
from unittest import mock

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from regsys.errors import InvalidParam, Unavailable, UnknownToken
from regsys.interfaces import IAuth, IStage
from regsys.model import Secret, Threepid, UserID
from regsys.testing import MemoryDirectory, config, memory_process, provides
from regsys.testing.contracts.case import device
from tests.support.client import V3, Answer, Client
from tests.support.examples import EXAMPLES, embedding, neighbours, store

DOCUMENT = EXAMPLES.parent / "embedding.md"
PASSWORD = "correct horse battery staple"
SHARED = "between the two of us"
DOOR = "org.example.door_code"
LOGIN = "m.login.password"


async def no_robots(
    email_threepid: Optional[dict[str, Any]],
    username: Optional[str],
    request_info: list[tuple[str, str]],
    auth_provider_id: Optional[str],
) -> str:
    return "deny" if (username or "").startswith("robot") else "allow"


class InlineConnections:
    """The part of adbapi that the example uses, on the calling thread."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.executescript(store.SCHEMA)

    def runInteraction(self, interaction: Callable[..., Any], *args: Any) -> Deferred[Any]:
        def run() -> Any:
            with self.connection:  # commits, or rolls back
                return interaction(self.connection.cursor(), *args)

        return maybeDeferred(run)

    def runQuery(self, sql: str, values: tuple[Any, ...]) -> Deferred[Any]:
        return self.runInteraction(lambda txn: txn.execute(sql, values).fetchall())


class ExampleCase(SynchronousTestCase):
    """The example's own tables and resources, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.pool = InlineConnections()
        self.addCleanup(self.pool.connection.close)
        self.directory = MemoryDirectory()
        self.system()

    def system(self, **more: Any) -> None:
        options = {**embedding.OPTIONS, "macaroon_secret_key": "a secret of tests alone", **more}
        chosen = config(**options)
        process = memory_process(self, chosen, self.clock)
        self.registration, root = embedding.build(
            chosen, self.clock, self.pool, process=process, directory=self.directory
        )
        self.client = Client(self, root)

    def rows(self, query: str) -> list[Any]:
        return list(self.pool.connection.execute(query))

    def names(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT name FROM accounts ORDER BY name")]

    def challenge(self, name: str = "alice") -> Mapping[str, Any]:
        answer = self.client.register(username=name, password=PASSWORD)
        self.assertEqual(answer.status, 401, answer)
        return answer.json

    def register(self, name: str = "alice", session: Optional[str] = None, **more: Any) -> Answer:
        session = session or self.challenge(name)["session"]
        auth = {"type": DOOR, "session": session, "code": "sesame"}
        return self.client.register(username=name, password=PASSWORD, auth=auth, **more)

    def token(self, name: str = "alice", **more: Any) -> str:
        """The access token of a new account."""
        return str(self.register(name, **more).json["access_token"])

    def post(self, path: str, body: Any = None, token: Optional[str] = None) -> Answer:
        return self.client.post(f"{V3}/{path}", body, token=token)

    def log_in(self, password: str = PASSWORD, **more: Any) -> Answer:
        identifier = {"type": "m.id.user", "user": "Alice"}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self.post("login", {**body, **more})

    def confirmed(self, path: str, token: str, **body: Any) -> Answer:
        """Ask twice, the second time with the password."""
        challenge = self.post(path, body, token)
        self.assertEqual((challenge.status, challenge.json["flows"]), (401, [{"stages": [LOGIN]}]))
        auth = {
            "type": LOGIN,
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": PASSWORD,
            "session": challenge.json["session"],
        }
        return self.post(path, {**body, "auth": auth}, token)

    def sync(self, token: str) -> Answer:
        return self.client.get(f"{V3}/sync?timeout=0", token=token)


class RegisteringTests(ExampleCase):
    def test_provides(self) -> None:
        """The example's stage has the methods and arguments that regsys calls."""
        provides(IStage, embedding.DoorCode(Secret("")))

    def test_ownStage(self) -> None:
        """The homeserver's own stage must be passed before there is an account."""
        challenge = self.challenge()
        self.assertEqual(challenge["flows"], [{"stages": [DOOR]}])
        self.assertEqual(challenge["params"], {DOOR: {"hint": "It hangs beside our front door."}})
        session = challenge["session"]
        cases = {"M_UNAUTHORIZED": {"code": "open"}, "M_INVALID_PARAM": {"code": 1}}
        for errcode, fields in {**cases, "M_MISSING_PARAM": {}}.items():
            auth = {"type": DOOR, "session": session, **fields}
            answer = self.client.register(username="alice", password=PASSWORD, auth=auth)
            self.assertEqual((answer.status, answer.errcode), (401, errcode))
        self.assertEqual(self.names(), [])
        answer = self.register(session=session)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, "@alice:example.org"))
        self.assertEqual(self.names(), ["alice"])

    def test_ownPaths(self) -> None:
        """Other paths are answered by the homeserver, with its own 404."""
        answer = self.client.get("/_matrix/client/v3/rooms")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"No Such Resource", answer.json)
        self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_guest(self) -> None:
        """A guest's token works in the homeserver until the guest has become a user."""
        guest = self.client.register("?kind=guest").json
        self.assertEqual(self.sync(guest["access_token"]).status, 200)
        name = guest["user_id"][1:].partition(":")[0]
        auth = {"type": DOOR, "code": "sesame"}
        upgraded = self.client.register(
            username=name,
            password=PASSWORD,
            guest_access_token=guest["access_token"],
            auth=auth,
        )
        self.assertEqual((upgraded.status, upgraded.json["user_id"]), (200, guest["user_id"]))
        self.assertEqual(self.sync(guest["access_token"]).status, 401)
        self.assertEqual(self.sync(upgraded.json["access_token"]).status, 200)

    def test_guestInASession(self) -> None:
        """The last request of an upgrade need not contain the guest's token again, even if the
        homeserver failed in the middle of it."""
        guest = self.client.register("?kind=guest").json
        name = guest["user_id"][1:].partition(":")[0]
        token = guest["access_token"]
        begun = self.client.register(username=name, password=PASSWORD, guest_access_token=token)
        self.clock.advance(0)
        auth = {"type": DOOR, "code": "sesame", "session": begun.json["session"]}
        with self.failing(Unavailable()):
            self.assertEqual(self.client.register(auth=auth).status, 503)
        upgraded = self.client.register(auth=auth)
        self.assertEqual((upgraded.status, upgraded.json["user_id"]), (200, guest["user_id"]))
        self.assertEqual(self.sync(token).status, 401)
        self.assertEqual(self.sync(upgraded.json["access_token"]).status, 200)
        self.assertEqual(self.names(), [name])

    def test_takenName(self) -> None:
        """The homeserver's own unique key refuses a taken name, and then nothing is left."""
        self.register()
        session = self.challenge("bob")["session"]
        with mock.patch.object(embedding.Store, "is_taken", mock.AsyncMock(return_value=False)):
            answer = self.register("ALICE", session=session)
        self.assertEqual((answer.status, answer.errcode), (400, "M_USER_IN_USE"))
        self.assertEqual(self.register("bob", session=session).status, 200)
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_spamCheck(self) -> None:
        """A spam check may be registered at any time; a denied registration looks like a rate
        limit."""
        self.registration.hooks.spam.register("no_robots", no_robots)
        answer = self.register("robot1")
        self.assertEqual((answer.status, answer.errcode), (429, "M_LIMIT_EXCEEDED"))
        self.assertEqual(self.register("alice").status, 200)

    @contextmanager
    def failing(self, error: Exception) -> Iterator[None]:
        """The store loses its answer: it makes accounts, and then raises this error."""
        create_account = embedding.Store.create_account

        async def fail(store: Any, new: Any) -> None:
            await create_account(store, new)
            raise error

        with mock.patch.object(embedding.Store, "create_account", fail):
            yield

    def crash(self) -> str:
        """Register, with a failure once the account is there; returns the session."""
        session = str(self.challenge()["session"])
        with self.failing(RuntimeError("the lights went out")):
            self.assertEqual(self.register(session=session).status, 500)
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(self.names(), ["alice"])
        self.assertEqual(self.rows("SELECT COUNT(*) FROM devices"), [(1,)])
        return session

    def test_retryAfterACrash(self) -> None:
        """After such a failure the same session gets its account on a retry, with its device."""
        session = self.crash()
        answer = self.register(session=session)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, "@alice:example.org"))
        self.assertEqual(self.sync(answer.json["access_token"]).status, 200)
        self.assertEqual(self.names(), ["alice"])

    def test_recoveryAfterACrash(self) -> None:
        """Without a retry the account is completed a minute later, and its jobs run."""
        session = self.crash()
        self.registration.start()
        self.assertEqual(self.directory.shown, {})
        self.clock.advance(61)
        self.clock.advance(5)
        self.assertEqual(list(map(str, self.directory.shown)), ["@alice:example.org"])
        answer = self.register(session=session)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, "@alice:example.org"))
        self.successResultOf(Deferred.fromCoroutine(self.registration.stop()))


class OwnEndpointTests(ExampleCase):
    def test_sync(self) -> None:
        """A registered user syncs at the homeserver's own /sync; an unknown token is refused as
        everywhere."""
        synced = self.sync(self.token())
        (event,) = synced.json["presence"]["events"]
        self.assertEqual(event["sender"], "@alice:example.org")
        self.assertEqual(event["content"], {"displayname": "alice"})
        (event,) = synced.json["account_data"]["events"]
        self.assertEqual(event["content"], {})
        unknown = self.sync("syt_nonsense")
        self.assertEqual((unknown.status, unknown.errcode), (401, "M_UNKNOWN_TOKEN"))

    def test_logIn(self) -> None:
        """A registered user logs in at the homeserver's own /login, in any case of letters."""
        self.register()
        self.assertEqual(self.client.get(f"{V3}/login").json, {"flows": [{"type": LOGIN}]})
        logged_in = self.log_in(device_id="LAPTOP").json
        self.assertEqual(logged_in["user_id"], "@alice:example.org")
        whoami = self.client.get(f"{V3}/account/whoami", token=logged_in["access_token"])
        self.assertEqual(whoami.json["device_id"], "LAPTOP")
        self.assertNotIn("expires_in_ms", logged_in)
        wrong = self.log_in("wrong")
        self.assertEqual((wrong.status, wrong.errcode), (403, "M_FORBIDDEN"))

    def test_badLogins(self) -> None:
        """What is missing or of a wrong type is refused by name."""
        self.register()
        for change, errcode in (
            ({"type": "m.login.sso"}, "M_UNKNOWN"),
            ({"type": 1}, "M_BAD_JSON"),
            ({"password": None}, "M_MISSING_PARAM"),
            ({"password": 1}, "M_BAD_JSON"),
            ({"identifier": {"type": "m.id.user"}}, "M_MISSING_PARAM"),
            ({"identifier": {"type": "m.id.user", "user": ["alice"]}}, "M_BAD_JSON"),
            ({"device_id": 1}, "M_BAD_JSON"),
            ({"initial_device_display_name": {}}, "M_BAD_JSON"),
        ):
            answer = self.log_in(**change)
            self.assertEqual((answer.status, answer.errcode), (400, errcode), change)
        self.assertEqual(self.post("login", {}).errcode, "M_MISSING_PARAM")

    def test_devices(self) -> None:
        """A device that logs in again keeps its name."""
        token = self.token(device_id="PHONE", initial_device_display_name="Alice's phone")
        self.log_in(device_id="LAPTOP", initial_device_display_name="Alice's laptop")
        again = self.log_in(device_id="PHONE", initial_device_display_name="another name").json
        self.assertEqual(self.sync(token).status, 401)
        answer = self.client.get(f"{V3}/devices", token=again["access_token"]).json
        names = {item["device_id"]: item["display_name"] for item in answer["devices"]}
        self.assertEqual(names, {"PHONE": "Alice's phone", "LAPTOP": "Alice's laptop"})

    def test_guestsToken(self) -> None:
        """A user gets no guest's token, and a guest no user's."""
        self.register()
        guest = self.client.register("?kind=guest").json["user_id"]
        own = embedding.Store(self.pool, self.clock)
        for user_id, is_guest in (("@alice:example.org", True), (guest, False)):
            new = device("token", is_guest=is_guest)
            self.failureResultOf(
                Deferred.fromCoroutine(own.register(UserID.parse(user_id), new)), InvalidParam
            )
        self.assertEqual(self.rows("SELECT COUNT(*) FROM devices"), [(2,)])

    def test_expired(self) -> None:
        """With a lifetime of sessions a token expires, and the client learns that its device still
        exists."""
        self.system(session_lifetime="1h", allow_guest_access=False)
        token = self.token()
        self.clock.advance(1800)
        later = self.log_in(device_id="LAPTOP").json
        self.assertEqual(later["expires_in_ms"], 3600_000)
        self.clock.advance(1800)
        expired = self.sync(token)
        self.assertEqual((expired.status, expired.json["soft_logout"]), (401, True))
        self.assertEqual(self.sync(later["access_token"]).status, 200)

    def test_logOut(self) -> None:
        """A device that has logged out is gone, also if its registration is repeated."""
        session = self.challenge()["session"]
        token = self.token(session=session)
        other = self.log_in().json["access_token"]
        self.assertEqual(self.post("logout", token=token).status, 200)
        self.assertEqual(self.sync(token).status, 401)
        self.assertEqual(self.sync(other).status, 200)
        self.assertEqual(self.register(session=session).status, 400)
        self.assertEqual(self.sync(token).status, 401)
        self.assertEqual(self.post("logout").errcode, "M_MISSING_TOKEN")

    def test_newPassword(self) -> None:
        """A user who confirms it gets a new password, and the other devices are logged out."""
        mine, other = self.token(), self.log_in().json["access_token"]
        self.assertEqual(self.confirmed("account/password", mine).errcode, "M_MISSING_PARAM")
        changed = self.confirmed("account/password", mine, new_password="another one")
        self.assertEqual((changed.status, changed.json), (200, {}))
        self.assertEqual((self.sync(mine).status, self.sync(other).status), (200, 401))
        self.assertEqual(self.log_in(PASSWORD).status, 403)
        self.assertEqual(self.log_in("another one").status, 200)

    def test_newPasswordKeepsDevices(self) -> None:
        """If the client asks for it, the other devices stay."""
        mine, other = self.token(), self.log_in().json["access_token"]
        body = {"new_password": "another one", "logout_devices": False}
        self.assertEqual(self.confirmed("account/password", mine, **body).status, 200)
        self.assertEqual((self.sync(mine).status, self.sync(other).status), (200, 200))

    def test_deactivated(self) -> None:
        """A deactivated account has no token, password or address; its name stays taken."""
        mine, other = self.token(), self.log_in().json["access_token"]
        alice = UserID("alice", "example.org")
        threepid = Threepid("email", "alice@mail.example", 1)
        held = embedding.Store(self.pool, self.clock)
        self.assertTrue(self.successResultOf(held.add(alice, threepid, 2)))
        self.assertEqual(self.confirmed("account/deactivate", mine).status, 200)
        self.assertEqual((self.sync(mine).status, self.sync(other).status), (401, 401))
        self.assertEqual(self.log_in().status, 403)
        self.assertEqual(self.rows("SELECT * FROM threepids"), [])
        taken = self.client.register(username="alice", password=PASSWORD)
        self.assertEqual(taken.errcode, "M_USER_IN_USE")


class DocumentTests(SynchronousTestCase):
    def test_quotations(self) -> None:
        """Every piece of Python on the pages about embedding is in an example or in its tests."""
        here = Path(__file__).parent
        ours = [*here.glob("test_embedding*.py"), *here.glob("typing/*.py")]
        sources = [path.read_text() for path in [*EXAMPLES.glob("*.py"), *ours]]
        names = ("embedding.md", "handler.md", "hooks.md", "typing.md")
        pages = "".join(DOCUMENT.with_name(name).read_text() for name in names)
        blocks = re.findall(r"```python\n(.*?)```", pages, re.DOTALL)
        self.assertGreater(len(blocks), 15)
        for block in blocks:
            self.assertTrue(any(block in source for source in sources), block)


class NeighbourTests(SynchronousTestCase):
    """regsys keeps the accounts; the homeserver has its own paths and asks for the owner of a
    token."""

    def setUp(self) -> None:
        clock, own = Clock(), Data(b"the homeserver's own", "text/plain")
        own.isLeaf = True
        chosen = config(regsys={"introspection_secret": SHARED})
        process = memory_process(self, chosen, clock)
        self.registration, self.root = neighbours.mount(chosen, clock, own, process=process)
        self.client = Client(self, self.root)

    def register(self) -> str:
        answer = self.client.register(
            username="alice", password=PASSWORD, auth={"type": "m.login.dummy"}
        )
        return str(answer.json["access_token"])

    def test_mounted(self) -> None:
        """Endpoints that are left out are the homeserver's; the others know the accounts and
        tokens."""
        answer = self.client.get("/_matrix/client/versions")
        self.assertEqual(answer.json, b"the homeserver's own")
        sender = neighbours.sender_of(self.registration, self.register())
        user_id = self.successResultOf(Deferred.fromCoroutine(sender))
        self.assertEqual(str(user_id), "@alice:test.example")
        nobody = neighbours.sender_of(self.registration, "syt_nonsense")
        self.failureResultOf(Deferred.fromCoroutine(nobody), UnknownToken)

    def whose(self, token: str, secret: str) -> Deferred[Any]:
        http = StubTreq(self.root)
        auth = neighbours.RemoteAuth(http=http, base_url="http://x", secret=Secret(secret))
        provides(IAuth, auth)
        answer = Deferred.fromCoroutine(auth.whose(Secret(token)))
        http.flush()
        return answer

    def test_askedOverHTTP(self) -> None:
        """A homeserver with the secret learns the owner of a token, and that a token is unknown."""
        token = self.register()
        requester = self.successResultOf(self.whose(token, SHARED))
        self.assertEqual(str(requester.user_id), "@alice:test.example")
        self.assertIsNone(self.successResultOf(self.whose(token + "x", SHARED)))
        self.failureResultOf(self.whose(token, "a guess"), Unavailable)
