"""The modules of ours, which ask another server: each answer and each fault of it, over loopback,
and what becomes of a registration (contract B10.2, B10.5)."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

import attr
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from regsys.config import ConfigError, ProxiesConfig
from regsys.errors import Unavailable
from regsys.interfaces import Verdict
from regsys.model import DeviceRequest, Registration
from regsys.modules import PolicyWebhook, ThreepidChecker
from regsys.modules.api import ApiParts, ModuleApi
from regsys.modules.registry import Registry
from regsys.outbound.http import HTTPClient
from regsys.testing import config, standalone
from regsys.wiring.module_api import HTTP_SHARE
from regsys.wiring.modules import callbacks
from regsys.wiring.subsystem import Hooks, hooks
from tests.doubles.policy import ANSWERS, FAULTS, STALL, WRONG, PolicyDouble
from tests.support.case import DUMMY
from tests.support.client import V3
from tests.support.modules import PASSWORD, ModuleCase
from tests.support.ports import free_port

CHECKER, WEBHOOK = "regsys.modules.ThreepidChecker", "regsys.modules.PolicyWebhook"
APPROVAL = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"


class LoopbackCase(TestCase):
    """A double on loopback, and the modules' callbacks as a subsystem calls them."""

    def setUp(self) -> None:
        real: Any = reactor
        self.double = PolicyDouble()
        port = real.listenTCP(0, Site(self.double), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/ask?kept=a%26b"
        self.http = HTTPClient.on(reactor, ProxiesConfig())

    def hooks(self, module: Any, **options: Any) -> Hooks:
        """Of a server that has this module, with these options beside the URL."""
        made = hooks(reactor)
        others = dict.fromkeys(item.name for item in attr.fields(ApiParts))
        registry = Registry(callbacks(made))
        given: Any = {**others, "config": config(), "registry": registry}
        api = ModuleApi("ours", ApiParts(**{**given, "policy_servers": self.http}))
        module(module.parse_config({"url": self.url, **options}), api)
        return made

    async def fails(self, asked: Any, *words: str) -> None:
        """It raises Unavailable, with one line that has these words, and no traceback."""
        with capturedLogs() as events:
            try:
                found = await asked
            except Unavailable:
                pass
            else:
                self.fail(f"{words}: {found}")
        (event,) = (event for event in events if event.get("module") == "ours")
        self.assertNotIn("log_failure", event)
        for word in words:
            self.assertIn(word, event["trouble"])

    async def gone(self) -> None:
        """From now on nobody listens."""
        self.url = f"http://127.0.0.1:{free_port()}/ask"


class ThreepidCheckerTests(LoopbackCase):
    def allowed(self, address: str, registering: bool = True, **options: Any) -> Deferred[bool]:
        made = self.hooks(ThreepidChecker, **options)
        asked = made.threepids.is_allowed("email", f"{address}@mail.example", registering)
        return Deferred.fromCoroutine(asked)

    async def test_answers(self) -> None:
        """Only this server's name allows, and an invitation where it needs one."""
        for chosen in ("alice", *ANSWERS["threepids"]):
            expected = chosen in ("alice", "invited")
            self.assertIs(await self.allowed(chosen), expected, chosen)

    async def test_asked(self) -> None:
        """The address is encoded, and what the URL has in its query is kept."""
        await self.allowed("a+b&c=d é")
        (asked,) = self.double.asked
        address = "a+b&c=d é@mail.example"
        self.assertEqual(asked, {"kept": "a&b", "medium": "email", "address": address})

    async def test_faults(self) -> None:
        """Whatever is no well-formed answer refuses for now."""
        for chosen in (*FAULTS, *WRONG["threepids"]):
            await self.fails(self.allowed(chosen), "got no answer")
        await self.fails(self.allowed("status-302"), "the status is 302")
        self.http.deadline_s = 0.2
        await self.fails(self.allowed(STALL), "0.2")
        await self.gone()
        await self.fails(self.allowed("alice"), "got no answer")
        self.assertEqual(sum("kept" not in asked for asked in self.double.asked), 0)

    async def test_onlyAtRegistration(self) -> None:
        """Addresses of existing accounts pass unasked, if the operator wants so."""
        self.assertIs(await self.allowed("others", registering=False), False)
        option = {"only_check_at_registration": True}
        asked = len(self.double.asked)
        self.assertIs(await self.allowed("others", registering=False, **option), True)
        self.assertEqual(len(self.double.asked), asked)
        self.assertIs(await self.allowed("others", **option), False)


class PolicyWebhookTests(LoopbackCase):
    def verdict(self, name: str, unreachable: str = "refuse") -> Deferred[Verdict]:
        made = self.hooks(PolicyWebhook, when_unreachable=unreachable)
        ((_, hook),) = made.spam.hooks
        email = {"medium": "email", "address": "a@b.example", "validated_at": 7}
        arguments = (email, name, [("Client/1", "::1")], None)
        return Deferred.fromCoroutine(made.spam.ask("ours", hook, Verdict, *arguments))

    async def test_decisions(self) -> None:
        """Each decision is the verdict of its name."""
        for name, expected in (
            ("alice", Verdict.ALLOW),
            ("denied", Verdict.DENY),
            ("ghost", Verdict.SHADOW_BAN),
            ("newcomer", Verdict.NEEDS_APPROVAL),
        ):
            self.assertIs(await self.verdict(name), expected)
        self.assertEqual(
            self.double.asked[0],
            {
                "email_threepid": {"medium": "email", "address": "a@b.example", "validated_at": 7},
                "username": "alice",
                "request_info": [["Client/1", "::1"]],
                "auth_provider_id": None,
            },
        )

    async def test_faults(self) -> None:
        """Whatever is no well-formed answer refuses for now, or allows, as the operator wants."""
        for name in (*FAULTS, *WRONG["registrations"]):
            await self.fails(self.verdict(name), "got no answer")
            self.assertIs(await self.verdict(name, "allow"), Verdict.ALLOW, name)
        self.http.deadline_s = 0.2
        await self.fails(self.verdict(STALL), "0.2")
        self.assertIs(await self.verdict(STALL, "allow"), Verdict.ALLOW)
        await self.gone()
        await self.fails(self.verdict("alice"), "got no answer")
        with capturedLogs() as events:
            self.assertIs(await self.verdict("denied", "allow"), Verdict.ALLOW)
        self.assertTrue(any("webhook" in str(event.get("log_format")) for event in events))


class RegistrationCase(ModuleCase):
    """A whole server, whose policy server is the double."""

    def setUp(self) -> None:
        self.double = PolicyDouble()
        self.treq = StubTreq(self.double)
        super().setUp()

    def serve(self, module: str, **options: Any) -> None:
        chosen = {"url": "http://policy.example/", **options}
        self.system(
            database=self.database,
            modules=[{"module": module, "config": chosen}],
            treq=self.treq,
        )


class RegistrationTests(RegistrationCase):
    WEBHOOK: ClassVar[Mapping[str, str]] = {"when_unreachable": "refuse"}

    def ask(self, name: str, **more: Any) -> Any:
        return self.client.register(username=name, password=PASSWORD, auth=DUMMY, **more)

    def test_needsApproval(self) -> None:
        """The account is made, and has no login until an administrator approves of it."""
        self.serve(WEBHOOK, **self.WEBHOOK)
        answer = self.ask("newcomer")
        self.assertRefused(answer, 403, APPROVAL)
        self.assertEqual(answer.json["approval_notice_medium"], "org.matrix.msc3866.none")
        self.assertEqual(self.rows("SELECT user_id, approved FROM users"), [(NEWCOMER, 0)])
        self.assertEqual(self.counts()["devices"], 0)
        self.assertRefused(self.log_in("newcomer"), 403, APPROVAL)
        self.change("UPDATE users SET approved = TRUE")
        self.assertEqual(self.log_in("newcomer").status, 200)
        self.register("alice")

    def test_needsApprovalRepeated(self) -> None:
        """A client that did not get the answer gets the same one."""
        self.serve(WEBHOOK, **self.WEBHOOK)
        session = self.begin("newcomer")
        body = {"auth": {**DUMMY, "session": session}, "username": "newcomer"}
        for _ in range(2):
            answer = self.client.post(f"{V3}/register", {**body, "password": PASSWORD})
            self.assertRefused(answer, 403, APPROVAL)
        self.assertEqual(self.counts()["users"], 1)

    def test_needsApprovalWithoutLogin(self) -> None:
        """A client that wants no login gets its account's name."""
        self.serve(WEBHOOK, **self.WEBHOOK)
        answer = self.ask("newcomer", inhibit_login=True)
        self.assertEqual((answer.status, answer.json), (200, {**SERVER, "user_id": NEWCOMER}))
        self.assertRefused(self.log_in("newcomer"), 403, APPROVAL)

    def test_administratorsDoNotWait(self) -> None:
        """What an administrator makes, and an administrator, is approved whatever a check says."""
        self.serve(WEBHOOK, **self.WEBHOOK)
        for more in ({"by_admin": True}, {"admin": True}):
            asked = Registration(localpart="newcomer", device=DeviceRequest(), **more)
            created = self.wait(self.subsystem.handler.register_user(asked))
            self.assertIsNotNone(created.login)
            self.assertEqual(self.rows("SELECT approved FROM users"), [(1,)])
            self.change("DELETE FROM users")

    def test_guestsAreNotApproved(self) -> None:
        """A guest who would have to wait is denied: nobody would ever approve of it."""
        given = self.hooks()
        given.spam.register("test", lambda *args: Verdict.NEEDS_APPROVAL)
        self.system(database=self.database, hooks=given, allow_guest_access=True)
        answer = self.client.post(f"{V3}/register?kind=guest", {})
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.counts()["users"], 0)

    def test_decisions(self) -> None:
        """A fault refuses before anything is written; the same request works afterwards."""
        self.serve(WEBHOOK, **self.WEBHOOK)
        self.assertRefused(self.ask("denied"), 429, "M_LIMIT_EXCEEDED")
        answer = self.ask("status-500")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "2"))
        self.assertEqual(self.counts()["users"], 0)
        self.assertEqual(self.ask("ghost").status, 200)
        self.assertEqual(self.rows("SELECT shadow_banned FROM users"), [(1,)])
        self.serve(WEBHOOK, when_unreachable="allow")
        self.assertEqual(self.ask("status-500").status, 200)

    def test_threepids(self) -> None:
        """``regsys.threepid_checker`` refuses an address without spending anything, and another
        one, once it can be asked, with it."""
        self.system(
            database=self.database,
            treq=self.treq,
            regsys={"threepid_checker": {"url": "http://policy.example/"}},
        )
        for address, status, code in (
            ("others@mail.example", 403, "M_THREEPID_DENIED"),
            ("status-302@mail.example", 503, "M_UNKNOWN"),
        ):
            answer = self.request_token(address)
            self.assertRefused(answer, status, code)
        self.assertEqual(self.mails.sent, [])
        session, sid = self.validated("alice@mail.example")
        self.double.render_GET = lambda request: b"no JSON"  # type: ignore[method-assign]
        self.assertEqual(self.present(session, sid).status, 503)
        self.assertEqual(self.counts()["users"], 0)
        del self.double.render_GET
        self.assertEqual(self.present(session, sid).status, 200)


NEWCOMER = "@newcomer:test.example"
SERVER = {"home_server": "test.example"}


class OptionTests(ModuleCase):
    def assertStops(self, module: str, options: Any, *words: str) -> None:
        given = {"modules": [{"module": module, "config": options}]}
        error = self.assertRaises(ConfigError, standalone, self, **given)
        (line,) = error.problems
        for word in (module, *words):
            self.assertIn(word, line)

    def test_modules(self) -> None:
        """What is wrong with the options stops the start, and no line shows a secret."""
        url = "https://policy.example/?secret"
        for module, options, words in (
            (CHECKER, {}, ["config.url"]),
            (CHECKER, {"url": "ftp://policy.example/secret"}, ["config.url", "http"]),
            (CHECKER, {"url": url, "only_check_at_registration": "no"}, ["config.only_check"]),
            (CHECKER, {"url": url, "only_at_registration": True}, ["config.only_at_reg"]),
            (WEBHOOK, {"url": url}, ["config.when_unreachable", "allow or refuse"]),
            (WEBHOOK, {"url": url, "when_unreachable": True}, ["config.when_unreachable"]),
            (WEBHOOK, {"when_unreachable": "allow"}, ["config.url"]),
        ):
            self.assertStops(module, options, *words)
            given: Any = {"modules": [{"module": module, "config": options}]}
            error = self.assertRaises(ConfigError, standalone, self, **given)
            self.assertNotIn("secret", "".join(error.problems))

    def test_shortcut(self) -> None:
        """``regsys.threepid_checker`` is checked with the rest of the file, and is the last of the
        modules."""
        for options, said in (
            ({"only_check_at_registration": True}, "regsys.threepid_checker.url: missing"),
            ({"url": "ftp://x"}, "regsys.threepid_checker.url: not an http"),
            ("x", "regsys.threepid_checker"),
        ):
            error = self.assertRaises(ConfigError, config, regsys={"threepid_checker": options})
            self.assertIn(said, "\n".join(error.problems))
        url = "https://policy.example/"
        chosen = config(modules=[{"module": "a.B"}], regsys={"threepid_checker": {"url": url}})
        self.assertEqual([it.path for it in chosen.modules.modules], ["a.B", CHECKER])
        self.assertNotIn(url, repr(chosen.modules))
        for none in (None, {}, {"url": None}):
            self.assertEqual(config(regsys={"threepid_checker": none}).modules.modules, ())

    def test_deadline(self) -> None:
        """The server is given less time than the callback has, so that what the operator wants is
        done when it stalls."""
        options = {"url": "https://policy.example/", "when_unreachable": "allow"}
        subsystem = standalone(
            self,
            modules=[{"module": WEBHOOK, "config": options}],
            regsys={"module_deadline": "5s"},
        )
        (loaded,) = subsystem.modules
        webhook: Any = loaded.instance
        self.assertEqual(webhook.servers.deadline_s, HTTP_SHARE * 5)
