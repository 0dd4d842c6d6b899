"""docs/embedding.md as its reader would use it: the example runs, and the text quotes it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping, Optional
from unittest import mock

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from regsys.errors import Unavailable, UnknownToken
from regsys.interfaces import IAuth, IStage
from regsys.model import Secret
from regsys.testing import config, memory_process, provides
from tests.support.client import V3, Answer, Client
from tests.support.examples import EXAMPLES, embedding, neighbours

DOCUMENT = EXAMPLES.parent / "embedding.md"
PASSWORD = "correct horse battery staple"
SHARED = "between the two of us"
DOOR = "org.example.door_code"


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
        self.connection.executescript(embedding.SCHEMA)

    def runInteraction(self, interaction: Callable[..., Any], *args: Any) -> Deferred[Any]:
        def run() -> Any:
            with self.connection:  # commits, or rolls back
                return interaction(self.connection.cursor(), *args)

        return maybeDeferred(run)

    def runQuery(self, sql: str, values: tuple[Any, ...]) -> Deferred[Any]:
        return self.runInteraction(lambda txn: txn.execute(sql, values).fetchall())


class ExampleTests(SynchronousTestCase):
    """The example's own tables and resources, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = InlineConnections()
        self.addCleanup(self.pool.connection.close)
        options = {**embedding.OPTIONS, "macaroon_secret_key": "a secret of tests alone"}
        chosen = config(**options)
        process = memory_process(self, chosen, self.clock)
        self.registration, root = embedding.build(chosen, self.clock, self.pool, process=process)
        self.client = Client(self, root)

    def names(self) -> list[str]:
        rows = self.pool.connection.execute("SELECT name FROM accounts ORDER BY name")
        return [name for (name,) in rows]

    def challenge(self, name: str = "alice") -> Mapping[str, Any]:
        answer = self.client.register(username=name, password=PASSWORD)
        self.assertEqual(answer.status, 401, answer)
        return answer.json

    def register(self, name: str = "alice", session: Optional[str] = None, **more: Any) -> Answer:
        session = session or self.challenge(name)["session"]
        auth = {"type": DOOR, "session": session, "code": "sesame"}
        return self.client.register(username=name, password=PASSWORD, auth=auth, **more)

    def sync(self, token: str) -> Answer:
        return self.client.get(f"{V3}/sync?timeout=0", token=token)

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

    def test_ownEndpoints(self) -> None:
        """A registered user logs in at the homeserver's own /login, and syncs at its own /sync."""
        registered = self.register().json
        synced = self.sync(registered["access_token"])
        self.assertEqual(synced.json["presence"]["events"], [{"sender": "@alice:example.org"}])
        identifier = {"type": "m.id.user", "user": "Alice"}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        logged_in = self.client.post(f"{V3}/login", body).json
        self.assertEqual(logged_in["user_id"], "@alice:example.org")
        whoami = self.client.get(f"{V3}/account/whoami", token=logged_in["access_token"])
        self.assertEqual(whoami.json["device_id"], logged_in["device_id"])
        wrong = self.client.post(f"{V3}/login", {**body, "password": "wrong"})
        self.assertEqual((wrong.status, wrong.errcode), (403, "M_FORBIDDEN"))

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
        broken = mock.AsyncMock(side_effect=Unavailable())
        with mock.patch.object(embedding.Store, "register", broken):
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

    def crash(self) -> str:
        """Register, with a failure between the account and its device; returns the session."""
        session = str(self.challenge()["session"])
        broken = mock.AsyncMock(side_effect=RuntimeError("the lights went out"))
        with mock.patch.object(embedding.Store, "register", broken):
            self.assertEqual(self.register(session=session).status, 500)
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(self.names(), ["alice"])
        return session

    def test_retryAfterACrash(self) -> None:
        """After such a failure the same session gets its account on a retry, with a device."""
        session = self.crash()
        answer = self.register(session=session)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, "@alice:example.org"))
        self.assertEqual(self.sync(answer.json["access_token"]).status, 200)
        self.assertEqual(self.names(), ["alice"])

    def test_recoveryAfterACrash(self) -> None:
        """Without a retry the account is completed a minute later."""
        session = self.crash()
        self.registration.start()
        self.clock.advance(61)
        self.clock.advance(5)
        devices = self.pool.connection.execute("SELECT COUNT(*) FROM devices").fetchone()
        self.assertEqual(devices, (1,))
        answer = self.register(session=session)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, "@alice:example.org"))
        self.successResultOf(Deferred.fromCoroutine(self.registration.stop()))


class DocumentTests(SynchronousTestCase):
    def test_quotations(self) -> None:
        """Every piece of Python in docs/embedding.md is in an example or in its tests."""
        ours = Path(__file__).parent.glob("test_embedding*.py")
        sources = [path.read_text() for path in [*EXAMPLES.glob("*.py"), *ours]]
        blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
        self.assertGreater(len(blocks), 5)
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
