"""The wiring: what a subsystem offers, starts, stops, and is refused for."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any, Optional
from unittest import mock
from urllib.parse import urlsplit

import attr
from treq import client
from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.web.iweb import IAgent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from regsys import deadlines
from regsys.accounts.embedded_writer import RECOVERY
from regsys.http import Endpoint
from regsys.interfaces import IAccountStore, IAppservices, IAuth, IDevices, IThreepidStore
from regsys.model import (
    JOB_LEASE_MS,
    Appservice,
    DeviceRequest,
    NewAccount,
    Registration,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.jobs import NewJob
from regsys.outbound.http import AT_ONCE
from regsys.storage.database import Database
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.testing import config, memory_process
from regsys.testing.contracts.case import device
from regsys.testing.fakes import (
    MemoryAccounts,
    MemoryAppservices,
    MemoryAuth,
    MemoryDevices,
    MemoryMails,
    MemoryPushers,
    MemoryThreepids,
)
from regsys.wiring import embedded, standalone
from regsys.wiring.subsystem import hooks
from tests.appservices.bridges import BridgeCase, registration
from tests.support.case import DUMMY, PASSWORD, SystemCase, UIASessionCase
from tests.support.client import V3, Client
from tests.support.databases import HeldPool
from tests.support.due_jobs import run_due
from tests.support.question_stage import QUESTION, QuestionStage
from tests.support.validations import MAILS, REQUEST, STAGE, SUBMIT

TOKENS = {
    "registration_token_validity",
    "registration_tokens",
    "registration_token_new",
    "registration_token",
}
ADMIN = {"shared_secret", "username_available", "jobs", "jobs_retry", "job_retry"}
PAGES = {"fallback", "registration_page", "static"}
VALIDATIONS = {
    "email_request_token",
    "email_submit_token",
    "threepid_email_submit_token",
    "msisdn_request_token",
    "msisdn_submit_token",
}
CHANGES = {"threepid_email_request_token", "threepid_msisdn_request_token", "threepid_add"}
THREEPIDS = {"threepids", "threepid_delete", "threepid_bind", "threepid_unbind"} | CHANGES
OURS = {"register", "availability", "whoami", "health"} | TOKENS | ADMIN | PAGES | VALIDATIONS
RESETS = {f"password_{name}" for name in ("email_request_token", "msisdn_request_token")}
LIVES = {"password", "deactivate", "devices", "device", "delete_devices", "capabilities"}
ADMINISTERED = {
    *(f"admin_{name}" for name in ("user", "users_v2", "users_v3", "rights", "deactivate")),
    *(f"admin_{name}" for name in ("reset_password", "devices", "device", "delete_devices")),
    *(f"admin_{name}" for name in ("whois", "pushers", "server_version")),
    *(f"admin_user_of_{name}" for name in ("threepid", "external_id")),
}
LOGINS = {"login", "logout", "logout_all", "refresh", "versions", "pushers"}
APPROVALS = {"approvals", "approval_approve", "approval_refuse"}
STANDALONE = (
    OURS
    | APPROVALS
    | THREEPIDS
    | LOGINS
    | LIVES
    | RESETS
    | ADMINISTERED
    | {"password_email_submit_token"}
)


@implementer(IAgent)
class Stalled:
    """Other servers, none of which ever answers. ``asked``: the host of each request."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(self, method: bytes, uri: bytes, *_: Any) -> Deferred[Any]:
        self.asked.append(urlsplit(uri.decode()).netloc)
        return Deferred()


class EndpointTests(SystemCase):
    def test_standalone(self) -> None:
        """A standalone server offers all that a client needs to use its account; introspection, if
        there is a secret for it."""
        self.assertEqual(self.subsystem.endpoints, STANDALONE)
        self.system(regsys={"introspection_secret": "s"})
        self.assertEqual(self.subsystem.endpoints, STANDALONE | {"introspect"})

    def test_placesOfTheirOwn(self) -> None:
        """A captcha service that stalls delays neither the validation of phone numbers nor requests
        to identity servers."""
        stalled = Stalled()
        self.system(
            treq=client.HTTPClient(stalled),
            enable_registration_captcha=True,
            recaptcha_public_key="p",
            recaptcha_private_key="k",
            recaptcha_siteverify_api="https://captcha.example/",
            account_threepid_delegates={"msisdn": "https://phones.example"},
            default_identity_server="https://chosen.example",
        )
        token = self.registered_by_the_way()
        captcha = {"type": "m.login.recaptcha", "response": "r"}
        for number in range(AT_ONCE + 1):
            session = self.challenge(username=f"u{number}", password=PASSWORD)["session"]
            auth = {**captcha, "session": session}
            asked = self.client.start("POST", f"{V3}/register", {"auth": auth})
        self.assertEqual(self.client.answer(asked).status, 503)
        phone = {"country": "DE", "phone_number": "0151 12345678"}
        creds = {"client_secret": "s", "send_attempt": 1}
        path = f"{V3}/register/msisdn/requestToken"
        self.client.start("POST", path, {**phone, **creds})
        bind = {"sid": "s", "client_secret": "s", "id_access_token": "t"}
        self.client.start("POST", f"{V3}/account/3pid/bind", bind, token=token)
        others = {"captcha.example": AT_ONCE, "phones.example": 1, "chosen.example": 1}
        self.assertEqual(Counter(stalled.asked), others)

    def test_placesTogether(self) -> None:
        """The server that validates phone numbers has a common bound for all of its requests."""
        stalled = Stalled()
        delegates = {"msisdn": "https://phones.example"}
        plenty = {"per_second": 1000, "burst_count": 1000}
        self.system(
            treq=client.HTTPClient(stalled),
            account_threepid_delegates=delegates,
            rc_3pid_validation=plenty,
        )
        token = self.registered_by_the_way()
        proof = {"sid": "s", "client_secret": "s"}
        for _ in range(AT_ONCE):
            self.client.start("POST", f"{V3}/account/3pid/add", proof, token=token)
        phone = {"country": "DE", "phone_number": "0151 12345678", "send_attempt": 1}
        body = {**phone, "client_secret": "s"}
        answer = self.client.post(f"{V3}/register/msisdn/requestToken", body)
        self.assertEqual(answer.status, 503)
        self.assertEqual(len(stalled.asked), AT_ONCE)

    def registered_by_the_way(self) -> str:
        """An account, made without a session; its access token."""
        registration = Registration(key="k", localpart="anna", device=DeviceRequest())
        created = self.wait(self.subsystem.handler.register_user(registration))
        return str(created.login.access_token.reveal())

    def test_chosen(self) -> None:
        """A resource has the chosen endpoints and no others."""
        client = Client(self, self.subsystem.resource(["versions"]))
        self.assertEqual(client.get("/_matrix/client/versions").status, 200)
        self.assertEqual(client.get(f"{V3}/login").status, 404)

    def test_having(self) -> None:
        """What is added is an Endpoint of a name that is not there yet."""
        own = Endpoint("own", ("/own",), {"GET": self.client.get})
        having = self.subsystem.having
        self.assertIn("own", having(own).endpoints)
        for error, said, given in (
            (TypeError, "a list is no Endpoint: pass each endpoint by itself", [[own]]),
            (TypeError, "the class Endpoint is no Endpoint", [Endpoint]),
            (ValueError, "there is an endpoint 'own' already", [own, own]),
            (ValueError, "there is an endpoint 'login' already", [attr.evolve(own, name="login")]),
        ):
            caught = self.assertRaises(error, having, *given)
            self.assertIn(said, str(caught))

    def test_noSuchEndpoint(self) -> None:
        """A name that no endpoint has is refused with those that there are, and with the one that
        was probably meant."""
        error = self.assertRaises(ValueError, self.subsystem.resource, ["versions", "regster"])
        self.assertIn("'regster' here (did you mean 'register'?): there are admin_d", str(error))
        self.assertIn("refresh, register, registration_page", str(error))
        error = self.assertRaises(ValueError, self.subsystem.resource, ["no such"])
        self.assertNotIn("mean", str(error))
        error = self.assertRaises(TypeError, self.subsystem.resource, "register")
        self.assertIn("resource(['register'])", str(error))


class AppserviceTests(BridgeCase):
    def embedded(self, services: Optional[IAppservices] = None) -> MemoryAccounts:
        """The accounts of a homeserver behind ``self.client``."""
        chosen = config(app_service_config_files=[self.file(registration())])
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts)
        subsystem = embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            services=services,
            process=memory_process(self, chosen, self.clock),
        )
        self.client = Client(self, subsystem.resource())
        return accounts

    def test_embedded(self) -> None:
        """The services of the files register with a homeserver's own store."""
        accounts = self.embedded()
        self.made("_irc_Alice")
        self.made("_open_x", inhibit_login=True)
        made = [(new.appservice_id, new.is_ghost) for new in accounts.by_name.values()]
        self.assertEqual(made, [("irc", True), (None, True)])
        self.assertRefused(self.ask("_irc_alice"), 400, "M_USER_IN_USE")
        self.assertEqual(self.acts_as("@_open_x:test.example").status, 200)

    def test_broughtAlong(self) -> None:
        """An embedder's own services replace the files'."""
        mine = Appservice(id="mine", as_token=Secret("mine"), sender_localpart="minebot")
        self.embedded(services=MemoryAppservices(services=[mine]))
        self.assertRefused(self.ask(), 401, "M_UNKNOWN_TOKEN")
        self.made("minebot", token="mine")


class FlowTests(SystemCase):
    def make(self, **hooks: Any) -> None:
        self.system(hooks=self.hooks(**hooks))

    def test_unknownStage(self) -> None:
        """A flow with an unknown stage is refused when the server is made."""
        error = self.assertRaises(ValueError, self.make, flows=[(QUESTION, "m.login.dummy")])
        sentence = (
            f"hooks(flows=…): there is no stage {QUESTION}: there are m.login.dummy, m.login."
        )
        self.assertIn(sentence, str(error))
        error = self.assertRaises(ValueError, self.make, confirmation_flows=[(QUESTION,)])
        sentence = f"hooks(confirmation_flows=…): there is no stage {QUESTION}: there are m.login.p"
        self.assertIn(sentence, str(error))
        self.make(flows=[(QUESTION, "m.login.dummy")], stages=[QuestionStage()])

    def test_noWayIn(self) -> None:
        """So is a server without any flow, and one with an empty flow: auth is always required."""
        self.assertRaises(ValueError, self.make, flows=[])
        self.assertRaises(ValueError, self.make, flows=[("m.login.dummy",), ()])

    def test_ownDummy(self) -> None:
        """A homeserver's own stage replaces ours of the same type."""

        class OwnDummy(QuestionStage):
            type = "m.login.dummy"

        self.make(stages=[OwnDummy()])
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 401, "M_MISSING_PARAM")


class LifecycleTests(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[str] = []
        process = attr.evolve(
            memory_process(self, config(), self.clock),
            start=lambda: self.events.append("start"),
            stop=lambda: self.events.append("stop"),
        )
        self.subsystem = standalone(config(), self.clock, process=process)
        self.database = process.database

    def test_startedTwice(self) -> None:
        """Starting twice is refused with a sentence; after its end it can start again."""
        self.subsystem.start()
        error = self.assertRaises(RuntimeError, self.subsystem.start)
        self.assertIn("has started already", str(error))
        self.assertEqual(self.events, ["start"])
        self.wait(self.subsystem.stop())
        self.subsystem.start()
        self.wait(self.subsystem.stop())

    def test_startAndStop(self) -> None:
        """Starting starts the process; stopping stops it last, when calls under way have ended."""
        self.subsystem.start()
        self.assertEqual(self.events, ["start"])
        with self.subsystem.in_flight:
            stopping = Deferred.fromCoroutine(self.subsystem.stop())
            self.assertNoResult(stopping)
            self.assertEqual(self.events, ["start"])
        self.successResultOf(stopping)
        self.assertEqual(self.events, ["start", "stop"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_warnings(self) -> None:
        """Its start logs what is odd about the configuration, and which jobs will wait."""
        chosen = config(auto_join_rooms=["#a:test.example"], regsys={"databse": "x.db"})
        subsystem = standalone(chosen, self.clock, process=memory_process(self, chosen, self.clock))
        with capturedLogs() as events:
            subsystem.start()
        self.wait(subsystem.stop())
        found = [event["sentence"] for event in events if "sentence" in event]
        self.assertEqual(len(found), 2)
        self.assertIn("regsys.databse is not an option: did you mean regsys.database?", found)
        self.assertIn("auto_join_rooms is set", str(found))

    def test_underAParent(self) -> None:
        """As a service it starts and stops with its parent, which waits for its stop."""
        self.assertTrue(verifyObject(IService, self.subsystem))
        parent = MultiService()
        self.subsystem.setServiceParent(parent)
        self.assertEqual(self.events, [])
        parent.startService()
        self.assertEqual((self.events, self.subsystem.running), (["start"], 1))
        with self.subsystem.in_flight:
            stopping = parent.stopService()
            self.assertNoResult(stopping)
        self.successResultOf(stopping)
        self.assertEqual((self.events, self.subsystem.running), (["start", "stop"], 0))

    def test_silentDatabase(self) -> None:
        """A request whose database stalls is answered within ten seconds of its arrival, whatever
        it has queried before; the next one is not affected."""
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
        held = HeldPool(self.database.pool)
        database = Database(held, self.database.dialect, self.clock)
        self.system(database=database)
        with capturedLogs():
            waiting = self.client.start("POST", f"{V3}/register", body)
            self.clock.advance(5.0)
            held.run()
            self.assertEqual(len(held.calls), 1)
            self.clock.advance(deadlines.REQUEST_S - 5.0)
            answer = self.client.answer(waiting)
        self.assertRefused(answer, 503, "M_UNKNOWN")
        self.assertEqual(answer.headers["retry-after"], "2")
        waiting = self.client.start("POST", f"{V3}/register", body)
        for _ in range(4):
            held.run()
            self.clock.advance(0.1)
        self.assertEqual(self.client.answer(waiting).status, 200)

    def test_housekeeping(self) -> None:
        """While it runs, expired sessions, outcomes and spent tokens are removed."""
        self.client = Client(self, self.subsystem.resource())
        self.subsystem.start()
        first = self.register(refresh_token=True)
        fresh = self.client.post(f"{V3}/refresh", {"refresh_token": first["refresh_token"]}).json
        self.whoami(fresh["access_token"])
        self.challenge()
        before = self.counts()
        self.assertEqual((before["uia_sessions"], before["outcomes"], before["logins"]), (1, 1, 2))
        self.clock.pump([3600] * 48 + [60])
        after = self.counts()
        self.assertEqual((after["uia_sessions"], after["outcomes"], after["logins"]), (0, 0, 1))
        self.assertEqual(after["users"], 1)


class EmbeddedTests(UIASessionCase):
    """Over a homeserver's own accounts, devices and tokens."""

    def setUp(self) -> None:
        super().setUp()
        self.embed()

    def embed(self, owners: bool = False, notified: bool = True, **options: Any) -> None:
        self.accounts, self.mails = MemoryAccounts(), MemoryMails()
        devices = MemoryDevices(accounts=self.accounts)
        auth = MemoryAuth(devices=devices)
        self.pushers = MemoryPushers(devices)
        chosen = config(**options)
        process = memory_process(self, chosen, self.clock)
        self.database = process.database
        self.subsystem = embedded(
            chosen,
            self.clock,
            store=self.accounts,
            devices=devices,
            auth=auth,
            threepids=MemoryThreepids(self.accounts) if owners else None,
            pushers=self.pushers if notified else None,
            process=process,
            hooks=self.hooks(mails=self.mails),
        )
        self.client = Client(self, self.subsystem.resource())

    def test_overAHomeserver(self) -> None:
        """Accounts and devices are the homeserver's, our database has only our own rows; logging in
        is the homeserver's concern."""
        self.assertEqual(self.subsystem.endpoints, OURS)
        made = self.register()
        self.assertEqual(self.whoami(made["access_token"]).json["user_id"], made["user_id"])
        self.assertEqual(list(self.accounts.by_name), ["alice"])
        counts = self.counts()
        self.assertEqual((counts["users"], counts["devices"], counts["outcomes"]), (0, 0, 1))
        self.assertEqual(self.client.get(f"{V3}/login").status, 404)

    def test_validatedAddress(self) -> None:
        """Addresses are validated as usual, and handed to the homeserver with the account, once."""
        self.embed(**MAILS)
        ask = {"email": "a@mail.example", "client_secret": "secret", "send_attempt": 1}
        creds = {**self.client.post(REQUEST, ask).json, "client_secret": "secret"}
        answer = self.client.post(SUBMIT, {**creds, "token": self.mails.sent[0].code})
        self.assertEqual(answer.status, 200, answer)
        stage = {"type": STAGE, "threepid_creds": creds}
        self.assertRegistered(self.go_on(self.begin(), stage), "alice")
        proven = Threepid("email", "a@mail.example", self.now_ms)
        self.assertEqual(self.accounts.by_name["alice"].threepids, (proven,))
        self.assertEqual(self.rows("SELECT used FROM validations")[0][0], 1)
        self.assertEqual(self.go_on(self.begin("bob"), stage).errcode, "M_UNAUTHORIZED")

    def test_ownersOfAddresses(self) -> None:
        """A homeserver with a store of addresses has an address in use refused at once, and its
        users list and remove theirs; they can't add any, as long as there is no way to
        reauthenticate."""
        self.embed(owners=True, **MAILS)
        self.assertEqual(self.subsystem.endpoints, OURS | THREEPIDS - CHANGES)
        taken = Threepid("email", "taken@mail.example", self.now_ms)
        self.accounts.put(UserID("somebody", "test.example"), taken, self.now_ms)
        for name, errcode in (("taken", "M_THREEPID_IN_USE"), ("free", None)):
            ask = {"email": f"{name}@mail.example", "client_secret": "s", "send_attempt": 1}
            self.assertEqual(self.client.post(REQUEST, ask).errcode, errcode, name)

    def test_afterItsOwnRegistrations(self) -> None:
        """A homeserver that makes accounts itself has the following actions done by regsys: the
        address is on the account, and gets notifications, if there is a store of pushers."""
        mail = {"medium": "email", "address": "a@mail.example", "validated_at": self.now_ms}
        email = {**MAILS["email"], "enable_notifs": True}
        for notified in (True, False):
            self.embed(owners=True, notified=notified, email=email)
            token = Secret(self.register()["access_token"])
            alice = UserID("alice", "test.example")
            for _ in range(2):
                self.wait(
                    self.subsystem.handler.post_registration_actions(alice, {STAGE: mail}, token)
                )
            self.assertEqual(self.accounts.threepids["email", "a@mail.example"][0], alice)
            pushed = [item.pushkey for item in self.pushers.of_user(alice)]
            self.assertEqual(pushed, ["a@mail.example"] if notified else [])
            self.assertEqual(self.counts()["jobs"], 0)

    def test_stalledStore(self) -> None:
        """A homeserver's store that does not answer in time is given up: its client gets a 503
        within ten seconds. The account that the store makes later is found by a repeated request,
        or by the recovery."""
        for repeats in (True, False):
            self.embed()
            session = self.begin()
            self.create_late(session)
            self.assertEqual(list(self.accounts.by_name), ["alice"])
            if not repeats:
                self.clock.advance(JOB_LEASE_MS / 1000)
                self.wait(run_due(self.subsystem.jobs))
                finished = self.rows("SELECT finished FROM outcomes")
                self.assertEqual([tuple(row) for row in finished], [(1,)])
            self.assertRegistered(self.go_on(session), "alice")
            self.assertEqual(self.counts()["jobs"], 0)

    def create_late(self, session: str) -> None:
        """Complete the session, with a store that makes the account after the deadline."""
        held, create = Deferred[None](), self.accounts.create_account

        async def create_late(new: NewAccount) -> Any:
            with contextlib.suppress(CancelledError):
                await Deferred()
            await held
            return await create(new)

        # After the work that follows the session's first answer.
        self.clock.advance(0)
        with mock.patch.object(MemoryAccounts, "create_account", staticmethod(create_late)):
            body = {"auth": {"session": session, **DUMMY}}
            asked = self.client.start("POST", f"{V3}/register", body)
            with capturedLogs():
                self.clock.advance(deadlines.REQUEST_S)
            self.assertRefused(self.client.answer(asked), 503, "M_UNKNOWN")
            held.callback(None)

    def test_oneObject(self) -> None:
        """One object may be several parts."""

        @implementer(IAccountStore, IDevices, IAuth, IThreepidStore)
        class Everything:
            def __init__(self) -> None:
                self.accounts = MemoryAccounts()
                self.devices = MemoryDevices(self.accounts)
                threepids = MemoryThreepids(self.accounts)
                for part in (threepids, MemoryAuth(self.devices), self.devices, self.accounts):
                    for name in dir(part):
                        if not name.startswith("_"):
                            setattr(self, name, getattr(part, name))

        one: Any = Everything()
        self.subsystem = embedded(
            config(),
            self.clock,
            store=one,
            devices=one,
            auth=one,
            threepids=one,
            process=memory_process(self, config(), self.clock),
        )
        self.client = Client(self, self.subsystem.resource())
        token = self.register()["access_token"]
        self.assertEqual(self.whoami(token).json["user_id"], "@alice:test.example")

    def test_begunBeforeACrash(self) -> None:
        """A session that had only begun to make its account when its process died does not count as
        finished: its client makes the account by a retry."""
        session = self.begin()
        alice = UserID("alice", "test.example")
        begun = NewAccount(key=session, user_id=alice, created_ms=0, device=device("first"))
        recovery = NewJob(kind=RECOVERY)
        self.wait(EmbeddedAccountStore(self.database).claim(begun, recovery))
        self.assertRegistered(self.go_on(session), "alice")
        self.assertEqual(list(self.accounts.by_name), ["alice"])


class HooksTests(SystemCase):
    def test_default(self) -> None:
        """Without hooks every registration is allowed, by the dummy stage, under any name."""
        nothing = hooks(self.clock)
        self.assertIsNone(nothing.flows)
        self.assertEqual((nothing.stages, nothing.mails), ((), None))
        self.system(hooks=nothing)
        self.register()
