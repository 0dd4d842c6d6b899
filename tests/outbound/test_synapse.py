"""What a Synapse offers its auth service: the same tests at the double and at a live one."""

from __future__ import annotations

import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, ClassVar, Optional
from urllib.parse import parse_qs

import attr
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import TestCase

from regsys.client_api.introspection import Introspection
from regsys.config import DelegationConfig
from regsys.config.proxies import ProxiesConfig
from regsys.credentials.internal_tokens import InternalTokens
from regsys.errors import (
    HomeserverDidNothing,
    HomeserverRefusal,
    HomeserverUnavailable,
    InvalidUsername,
    UnknownToken,
    UsernameReserved,
)
from regsys.model import Client, Secret, UserID
from regsys.model.provisioning import Provisioned
from regsys.outbound.homeserver_profiles import SynapseProfiles
from regsys.outbound.http import HTTPClient
from regsys.outbound.persistent import PersistentClient
from regsys.outbound.synapse import Synapse
from regsys.outbound.synapse_admin import SynapseAdmin
from regsys.outbound.synapse_requests import SynapseRequests, connections
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices
from tests.doubles.synapse import AS_TOKEN, INSTEAD, SynapseDouble
from tests.support import synapse as live

SERVER = "test.example"
CLIENT = Client("192.0.2.7", "a bridge")
_names = (f"user-{number}" for number in itertools.count())


class AuthService(ThreadingHTTPServer):
    """Introspects the tokens of regsys's own, in threads of its own."""

    tokens: InternalTokens

    def of(self, token: str) -> Any:
        auth = MemoryAuth(MemoryDevices(MemoryAccounts()))
        introspection = Introspection(auth=auth, internal=self.tokens, clock=self.tokens.clock)
        return introspection._of_internal(Secret(token))


class _Asked(BaseHTTPRequestHandler):
    server: AuthService

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        body = json.dumps(self.server.of(form["token"][0])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *ignored: Any) -> None:
        return


class SynapseCase(TestCase):
    """``http`` sends the requests to ``url``, where ``secret`` is right, or connections that are
    kept."""

    url: str
    secret: str
    http: HTTPClient
    tokens: InternalTokens

    def setUp(self) -> None:
        config = DelegationConfig(url=self.url, secret=Secret(self.secret))
        self.synapse = Synapse(SynapseRequests.from_config(config, self.http, self.kept(config)))
        self.admin = SynapseAdmin(requests=self.synapse.requests, token_of=self.admin_token)

    def asking(self, **changed: Any) -> None:
        """From now on it is asked in another way."""
        self.synapse = Synapse(attr.evolve(self.synapse.requests, **changed))

    def kept(self, config: DelegationConfig) -> Optional[PersistentClient]:
        return None

    def admin_token(self, user_id: UserID) -> Secret:
        return self.tokens.make(user_id, is_admin=True)

    def user(self) -> UserID:
        """A name that nobody has there."""
        return UserID(next(_names), SERVER)


class SynapseContract:
    async def test_provision(self: Any) -> None:
        """201 is new, 200 somebody's: it may be ours, from a call whose answer was lost."""
        alice = self.user()
        self.assertTrue(await self.synapse.is_free(alice))
        self.assertIsNone(await self.synapse.query_user(alice))
        self.assertIs(await self.synapse.provision_user(alice), Provisioned.MADE)
        self.assertIs(await self.synapse.provision_user(alice), Provisioned.THERE)
        self.assertFalse(await self.synapse.is_free(alice))
        self.assertTrue(await self.synapse.exists(alice))
        there = await self.synapse.query_user(alice)
        self.assertEqual((there["user_id"], there["is_deactivated"]), (str(alice), False))
        self.assertEqual(there["display_name"], alice.localpart)

    async def test_badNames(self: Any) -> None:
        """It refuses what is no name there, numbers too; regsys must not have made it before."""
        for name in ("ALICE", "123", "_x", "x" * 300, "alice bob", "brücke"):
            user_id = UserID(name, SERVER)
            await self.assertRaisesLater(InvalidUsername, self.synapse.provision_user(user_id))
            if name.isascii():
                await self.assertRaisesLater(InvalidUsername, self.synapse.is_free(user_id))

    async def test_reserved(self: Any) -> None:
        """The names of its application services are theirs, but one that a service has made
        looks like any other user: who has made it is told by the admin API alone."""
        for name in ("br_free", "brbot"):
            user_id = UserID(name, SERVER)
            await self.assertRaisesLater(UsernameReserved, self.synapse.is_free(user_id))
            await self.assertRaisesLater(UsernameReserved, self.synapse.provision_user(user_id))
        body = {"type": "m.login.application_service", "username": "br_made"}
        made = {**body, "inhibit_login": True}
        register = self.synapse.register_ghost
        self.assertEqual(
            str(await register(made, Secret(AS_TOKEN), CLIENT)), "@br_made:test.example"
        )
        for sent, token, status, errcode in (
            (made, AS_TOKEN, 400, "M_USER_IN_USE"),
            ({**made, "username": "alice"}, AS_TOKEN, 400, "M_EXCLUSIVE"),
            (body, AS_TOKEN, 400, "M_APPSERVICE_LOGIN_UNSUPPORTED"),
            (made, "x", 401, "M_UNKNOWN_TOKEN"),
        ):
            with self.assertRaises(HomeserverRefusal) as caught:
                await register(sent, Secret(token), CLIENT)
            got = (caught.exception.status, caught.exception.errcode)
            self.assertEqual(got, (status, errcode))
        ghost, alice = UserID("br_made", SERVER), self.user()
        self.assertIs(await self.synapse.provision_user(ghost), Provisioned.THERE)
        await self.synapse.provision_user(alice)
        self.assertEqual((await self.admin.user(ghost)).appservice_id, "bridge")
        self.assertIsNone((await self.admin.user(alice)).appservice_id)

    async def test_atOnce(self: Any) -> None:
        """Of eight at once for one name exactly one makes it; the others are 200 or 400."""
        alice = self.user()
        calls = [ensureDeferred(self.synapse.provision_user(alice)) for _ in range(8)]
        self.assertEqual((await gatherResults(calls)).count(Provisioned.MADE), 1)

    async def test_devices(self: Any) -> None:
        """A device keeps its name unless it is given another; of an unknown user it is not made."""
        alice, ids = self.user(), ("PHONE", "a b", "ä/%2F'\"<", "D" * 512)
        self.assertFalse(await self.synapse.upsert_device(alice, "PHONE"))
        await self.synapse.delete_device(alice, "PHONE")
        await self.synapse.provision_user(alice)
        for device_id in ids:
            self.assertTrue(await self.synapse.upsert_device(alice, device_id, "mine"))
            self.assertTrue(await self.synapse.upsert_device(alice, device_id))
        self.assertEqual(await self.devices(alice), dict.fromkeys(ids, "mine"))
        await self.synapse.delete_device(alice, "PHONE")
        await self.synapse.delete_device(alice, "PHONE")
        await self.synapse.upsert_device(alice, "a b", "yours")
        self.assertEqual((await self.devices(alice))["a b"], "yours")
        await self.synapse.sync_devices(alice, ["a b", "NEW"])
        self.assertEqual(await self.devices(alice), {"a b": "yours", "NEW": None})
        with self.assertRaises(HomeserverUnavailable):
            await self.synapse.upsert_device(alice, "LONG", "x" * 101)

    async def test_profile(self: Any) -> None:
        alice, profiles = self.user(), SynapseProfiles(self.synapse)
        self.assertIsNone(await profiles.find(alice))
        await self.synapse.provision_user(alice)
        for name in ("Alice", None):
            await profiles.set_display_name(alice, name)
            self.assertEqual(await profiles.find(alice), (name, None))
        await self.synapse.allow_cross_signing_reset(alice)

    async def test_emails(self: Any) -> None:
        """An address that somebody has there moves, silently: so it is sent only once it is this
        user's by our own key."""
        alice, bob = self.user(), self.user()
        mail = f"{alice.localpart}+a/b?c@mail.example"
        for user_id in (alice, bob):
            await self.synapse.provision_user(user_id)
            owner = await self.admin.email_owner(user_id, mail)
            self.assertEqual(owner, None if user_id == alice else alice)
            await self.synapse.set_emails(user_id, [mail])
        self.assertEqual((await self.emails(alice), await self.emails(bob)), ([], [mail]))
        self.assertEqual(await self.admin.emails(alice), [])
        self.assertEqual(await self.admin.emails(bob), [mail])

    async def test_deactivate(self: Any) -> None:
        """Idempotent, also for nobody. It does not keep a device from being made: only our own
        introspection says that such a user has no tokens."""
        alice = self.user()
        await self.synapse.delete_user(alice, True)
        await self.synapse.provision_user(alice)
        for _ in range(2):
            await self.synapse.delete_user(alice, False)
        self.assertTrue((await self.synapse.query_user(alice))["is_deactivated"])
        self.assertTrue((await self.admin.user(alice)).deactivated)
        self.assertIs(await self.synapse.provision_user(alice), Provisioned.THERE)
        self.assertTrue(await self.synapse.upsert_device(alice, "PHONE"))

    async def test_admin(self: Any) -> None:
        """A token of ours that acts as the newcomer itself, with the scope of an administrator, is
        enough for the admin API."""
        alice = self.user()
        await self.synapse.provision_user(alice)
        await self.admin.shadow_ban(alice)
        await self.admin.set_user_type(alice, "bot")
        there = await self.raw(alice)
        self.assertEqual((there["shadow_banned"], there["user_type"]), (True, "bot"))
        await self.admin.set_user_type(alice, "unheard-of")
        self.assertEqual((await self.raw(alice))["user_type"], "bot")

    async def test_suspended(self: Any) -> None:
        """The token of the user itself suspends it, and ends that, also while it is suspended."""
        alice = self.user()
        await self.synapse.provision_user(alice)
        for suspended in (True, True, False, False):
            await self.admin.suspend(alice, suspended)
            there = await self.synapse.query_user(alice)
            self.assertIs(there["is_suspended"], suspended)

    async def test_nobodysToken(self: Any) -> None:
        """A token of a user whom it does not know is a 500 there: so introspection names none."""
        with self.assertRaises(HomeserverUnavailable) as caught:
            await self.admin.user(self.user())
        self.assertIn("500", str(caught.exception))

    async def test_wrongSecret(self: Any) -> None:
        """The log says what to mend, and not the secret."""
        wrong = attr.evolve(self.synapse.requests.config, secret=Secret("another-canary"))
        self.asking(config=wrong)
        with self.assertRaises(HomeserverUnavailable) as caught:
            await self.synapse.provision_user(self.user())
        self.assertIn(
            "matrix_authentication_service.secret must be the same", str(caught.exception)
        )
        self.assertNotIn("canary", str(caught.exception))

    # --- Helpers ---------------------------------------------------------------------------

    async def assertRaisesLater(self: Any, error: type[Exception], call: Any) -> None:
        with self.assertRaises(error):
            await call

    async def raw(self: Any, user_id: UserID) -> Any:
        token = self.admin_token(user_id).reveal()
        answer = await self.synapse.requests.ask(
            "GET", f"/_synapse/admin/v2/users/{user_id}", token
        )
        return answer.json()


class DoubleTests(SynapseContract, SynapseCase):
    def setUp(self) -> None:
        self.double = SynapseDouble()
        self.url, self.secret = "http://synapse.example", self.double.secret
        self.double.exclusive = re.compile("br_.*|brbot")
        self.tokens = InternalTokens(secret=b"a key", clock=Clock())
        self.double.introspect = AuthService(("127.0.0.1", 0), _Asked, False).of
        self.double.introspect.__self__.tokens = self.tokens  # type: ignore[attr-defined]
        stub = StubTreq(self.double)
        self.http = HTTPClient(stub, Clock())
        flushing = LoopingCall(stub.flush)
        flushing.start(0.001)
        self.addCleanup(flushing.stop)
        super().setUp()

    async def devices(self, user_id: UserID) -> Any:
        return self.double.users[user_id.localpart].devices

    async def emails(self, user_id: UserID) -> Any:
        return self.double.users[user_id.localpart].emails

    async def test_client(self) -> None:
        """It is told whose request is passed on: the address that we have found out, alone, and the
        user agent. What is no address, such as a Unix socket's peer, is not sent."""
        for address, sent in (
            ("192.0.2.7", ["192.0.2.7"]),
            ("2001:db8::7", ["2001:db8::7"]),
            ("unix", None),
            ("192.0.2.7, 198.51.100.9", None),
        ):
            client = Client(address, "Éclair/1.0")
            with self.assertRaises(UnknownToken):
                await self.synapse.capabilities(Secret("x"), client)
            self.assertEqual(self.double.clients.pop(), (sent, "?clair/1.0"))
        with self.assertRaises(UnknownToken):
            await self.synapse.capabilities(Secret("x"), Client("unix"))
        self.assertEqual(self.double.clients.pop(), (None, "regsys"))

    async def test_lostConnection(self) -> None:
        """A connection that was kept may be closed just when it is used: then the request is sent
        once more, and not again. Who is there then may have been made by the first."""
        self.asking(keeps_connections=True)
        for fault, made in (("hang-up", Provisioned.MADE), ("forget", Provisioned.UNCLEAR)):
            self.double.faults["provision_user"] = [fault]
            self.assertIs(await self.synapse.provision_user(self.user()), made)
        self.double.faults["provision_user"] = ["hang-up", "hang-up"]
        with self.assertRaises(HomeserverUnavailable) as caught:
            await self.synapse.provision_user(self.user())
        self.assertNotIsInstance(caught.exception, HomeserverDidNothing)

    async def test_didNothing(self) -> None:
        """Only without a connection, and if it refuses to be asked, it is certain that no user was
        made."""
        for fault in ("404", "500", "502", "garbage", "list", "hang-up", "echo"):
            self.double.faults["provision_user"] = [fault]
            with self.assertRaises(HomeserverUnavailable) as caught:
                await self.synapse.provision_user(self.user())
            did_nothing = isinstance(caught.exception, HomeserverDidNothing)
            self.assertEqual(did_nothing, fault == "404", fault)

        class Refusing:
            async def request(self, *asked: Any, **more: Any) -> Any:
                raise ConnectionRefusedError()

        refusing: Any = Refusing()
        for keeps_connections in (True, False):
            http = HTTPClient(refusing, Clock())
            self.asking(http=http, keeps_connections=keeps_connections)
            with self.assertRaises(HomeserverDidNothing):
                await self.synapse.provision_user(self.user())

    async def test_clocks(self) -> None:
        """The time at which a user was made is by our clock, whatever the Synapse's is."""
        self.double.now_s = lambda: 5_000
        alice = self.user()
        await self.synapse.provision_user(alice)
        self.http.clock.advance(100)  # type: ignore[attr-defined]
        self.double.now_s = lambda: 5_007
        self.assertEqual((await self.admin.user(alice)).created_ms, 93_000)

    async def test_noAnswer(self) -> None:
        """Whatever is no answer is one error, for the operator; no text has the secret in it."""
        for fault in ("hang-up", *INSTEAD):
            if fault in ("garbage", "list"):
                continue
            self.double.faults["provision_user"] = [fault]
            with self.assertRaises(HomeserverUnavailable) as caught:
                await self.synapse.provision_user(self.user())
            self.assertNotIn("canary", str(caught.exception), fault)
            self.assertNotIn("canary", caught.exception.text)
        for fault in ("garbage", "list"):
            self.double.faults["query_user"] = [fault]
            with self.assertRaises(HomeserverUnavailable):
                await self.synapse.query_user(self.user())

    async def test_notServed(self) -> None:
        """A 404 of what does not serve the request does not mean that there is no such user: no
        logout is taken for told, and no address for nobody's. A worker serves only a part of the
        admin API; the operator is told which address is right."""
        alice = self.user()
        asked: dict[str, Callable[[], Any]] = {
            "query_user": lambda: self.synapse.query_user(alice),
            "delete_user": lambda: self.synapse.delete_user(alice, True),
            "upsert_device": lambda: self.synapse.upsert_device(alice, "PHONE"),
            "delete_device": lambda: self.synapse.delete_device(alice, "PHONE"),
            "v2/users": lambda: self.admin.user(alice),
            "v1/threepid/users/a@b.example": lambda: self.admin.email_owner(alice, "a@b.example"),
        }
        for name, ask in asked.items():
            for fault in ("404", "nginx-404"):
                self.double.faults[name] = [fault]
                with self.assertRaises(HomeserverUnavailable) as caught:
                    await ask()
                if name.startswith("v") and fault == "404":
                    self.assertIn("homeserver's main process", str(caught.exception))


BRIDGE = {
    "id": "bridge",
    "url": None,
    "as_token": AS_TOKEN,
    "hs_token": "x",
    "sender_localpart": "brbot",
    "namespaces": {"users": [{"exclusive": True, "regex": r"@br_.*:test\.example"}]},
}


class LiveTests(SynapseContract, SynapseCase):
    homeserver: ClassVar[Optional[live.Synapse]] = None
    service: ClassVar[AuthService]

    def setUp(self) -> None:
        if self.homeserver is None:
            with live.needed_by(self):
                live.python()
            self.begin()
        assert self.homeserver is not None
        self.homeserver.report(self)
        self.url, self.secret = self.homeserver.base_url, live.SECRET
        chosen: Any = reactor
        self.tokens = self.service.tokens = InternalTokens(secret=b"a key", clock=chosen)
        self.http = HTTPClient.on(chosen, ProxiesConfig())
        super().setUp()

    def kept(self, config: DelegationConfig) -> PersistentClient:
        """As ``regsys serve`` has them. They are closed after each test, so that the reactor is
        clean."""
        made = connections(reactor, config)
        self.addCleanup(lambda: ensureDeferred(made.close()))
        return made

    @classmethod
    def begin(cls) -> None:
        cls.service = AuthService(("127.0.0.1", 0), _Asked)
        threading.Thread(target=cls.service.serve_forever, args=(0.05,), daemon=True).start()
        options = {"app_service_config_files": ["bridge.yaml"]}
        endpoint = f"http://127.0.0.1:{cls.service.server_port}/"
        cls.homeserver = live.Synapse(endpoint, options=options)
        cls.homeserver.prepare()
        (cls.homeserver.home / "bridge.yaml").write_text(json.dumps(BRIDGE))
        cls.homeserver.start()

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.homeserver is not None:
            cls.homeserver.remove()
            cls.homeserver = None
            cls.service.shutdown()
            cls.service.server_close()

    async def devices(self, user_id: UserID) -> Any:
        token = self.tokens.make(user_id).reveal()
        answer = await self.synapse.requests.ask("GET", "/_matrix/client/v3/devices", token)
        return {item["device_id"]: item["display_name"] for item in answer.json()["devices"]}

    async def emails(self, user_id: UserID) -> Any:
        return [item["address"] for item in (await self.raw(user_id))["threepids"]]
