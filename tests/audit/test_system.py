"""Who was allowed or refused, from where and by what rule: as registrations and administrators
leave it in the log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar, Mapping

from regsys import errors
from regsys.accounts.administration import ACTS
from regsys.accounts.approvals import ACTS as DECISIONS
from regsys.audit.rules import RULES, rule_of
from regsys.errors import RegistrationError
from regsys.interfaces import Verdict
from regsys.model import NewAccount, UserID
from regsys.model.audit import token_hint
from regsys.model.jobs import NewJob
from regsys.model.networks import network_of
from tests.appservices.bridges import SERVICE, TOKEN, BridgeCase
from tests.replication.test_system import RemoteSystem
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3, Answer
from tests.web.test_admin import REGISTER, SECRET, mac_of

ON = {"audit": {"enabled": True}, "rc_availability": False}
HERE, NETWORK = "192.0.2.77", "192.0.2.0/24"
TOKENS = "/_synapse/admin/v1/registration_tokens"
JOBS = "/_regsys/v1/jobs"
ROOT = Path(errors.__file__).parents[1]


def _acts() -> set[str]:
    """What the entries say that are written where something is changed."""
    source = "\n".join(path.read_text() for path in sorted((ROOT / "regsys").rglob("*.py")))
    given = re.findall(r'\bwhat="([a-z-]+)"', source)
    return {*given, *re.findall(r'\._(?:changed|tell)\((?:user_id, by, )?"([a-z-]+)"', source)}


class AuditCase(BridgeCase):
    options: ClassVar[Mapping[str, Any]] = {
        "regsys": ON,
        "registration_shared_secret": SECRET,
        "rc_registration": {"per_second": 1000, "burst_count": 1000},
    }

    def send(self, path: str, body: Any = None, method: str = "POST", **more: Any) -> Answer:
        """A request from HERE."""
        return self.client.ask(method, path, body, X_Forwarded_For=HERE, **more)

    def register_from(self, name: str = "alice", query: str = "", **more: Any) -> Answer:
        body = {"username": name, "password": PASSWORD, "auth": DUMMY, **more}
        return self.send(f"{V3}/register{query}", body)

    def by_secret(self, name: str = "root", **more: Any) -> Answer:
        nonce = self.send(REGISTER, method="GET").json["nonce"]
        body = {"username": name, "password": PASSWORD, "admin": True, "nonce": nonce}
        return self.send(REGISTER, {**body, "mac": mac_of(body, nonce), **more})

    def entries(self) -> list[tuple[Any, ...]]:
        """What, about whom, by whom, from where, by what rule and how often; details apart."""
        self.wait(self.subsystem.audit.stop())
        columns = "what, user_id, actor, address, rule, times"
        return [tuple(row) for row in self.rows(f"SELECT {columns} FROM audit ORDER BY rule, what")]

    def details(self) -> Any:
        ((text,),) = self.rows("SELECT details FROM audit")
        return json.loads(text)

    def refused_by(self) -> list[str]:
        """The rules of the refusals, which are deleted then."""
        found = self.entries()
        self.change("DELETE FROM audit")
        self.assertEqual({row[0] for row in found} - {"refused"}, set(), found)
        return [row[4] for row in found]


class AllowedTests(AuditCase):
    def test_flow(self) -> None:
        """A person's registration: the stages that were passed."""
        self.assertEqual(self.register_from().status, 200)
        alice = "@alice:test.example"
        self.assertEqual(self.entries(), [("registered", alice, None, NETWORK, "flow", 1)])
        self.assertEqual(self.details(), {"stages": ["m.login.dummy"]})

    def test_session(self) -> None:
        """A dialogue is one entry, however often its answer is repeated."""
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        self.clock.advance(0)
        for _ in range(2):
            auth = {**DUMMY, "session": session}
            self.assertEqual(self.send(f"{V3}/register", {"auth": auth}).status, 200)
        ((what, *_, rule, times),) = self.entries()
        self.assertEqual((what, rule, times), ("registered", "flow", 1))

    def test_others(self) -> None:
        """A guest, an application service's user, one by the shared secret, one of the program that
        embeds regsys, checked by regsys or not, and one of a worker of other make."""
        guest = self.send(f"{V3}/register?kind=guest", {}).json["user_id"]
        ghost = {"type": SERVICE, "username": "_irc_x", "inhibit_login": True}
        self.assertEqual(self.send(f"{V3}/register", ghost, token=TOKEN).status, 200)
        self.assertEqual(self.by_secret().status, 200)
        handler = self.subsystem.handler
        self.wait(handler.register_user(localpart="bob"))
        carol = NewAccount(key="key", user_id=UserID("carol", "test.example"), created_ms=1)
        self.wait(handler.register_with_store(carol, HERE))
        self.assertEqual(
            self.entries(),
            [
                ("registered", "@_irc_x:test.example", "irc", NETWORK, "appservice", 1),
                ("registered", guest, None, NETWORK, "guest", 1),
                ("registered", "@bob:test.example", None, None, "program", 1),
                ("registered", "@carol:test.example", None, NETWORK, "program", 1),
                ("registered", "@root:test.example", "shared-secret", NETWORK, "shared-secret", 1),
            ],
        )

    def test_details(self) -> None:
        """What is special about an account: its registration token as a hint alone."""
        self.system(**{**self.options, "registration_requires_token": True})
        created = self.subsystem.registration_tokens.create(token="swordfish42", settings={})
        self.wait(created)
        self.change("DELETE FROM audit")
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        for stage in ({"type": "m.login.registration_token", "token": "swordfish42"}, DUMMY):
            self.send(f"{V3}/register", {"auth": {**stage, "session": session}})
            self.clock.advance(0)
        self.assertEqual(self.details()["registration_token"], "swo…")
        self.assertIn("m.login.registration_token", self.details()["stages"])
        self.assertEqual(
            [token_hint(text) for text in ("ab", "abc", "a" * 40)], ["…", "a…", "aaaa…"]
        )

    def test_verdict(self) -> None:
        """An account that waits, by a spam checker's verdict."""
        hooks = self.hooks()

        async def doubt(*asked: object) -> Verdict:
            return Verdict.NEEDS_APPROVAL

        hooks.spam.register("ours", doubt)
        self.system(hooks=hooks, **self.options)
        self.register_from()
        self.assertEqual(self.details()["waits_for_approval"], True)

    def test_addresses(self) -> None:
        """Addresses are kept whole, as networks, or not at all."""
        for addresses, kept in (("whole", HERE), ("network", NETWORK), ("none", None)):
            audit = {"enabled": True, "addresses": addresses}
            self.system(**{**self.options, "regsys": {**ON, "audit": audit}})
            self.register_from()
            self.register_from()
            self.assertEqual([row[3] for row in self.entries()], [kept, kept], addresses)
        for address, network in (
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
            ("2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("::ffff:192.0.2.77", NETWORK),
            ("unix", "unix"),
        ):
            self.assertEqual(network_of(address), network)

    def test_off(self) -> None:
        """If it is off, nothing is written."""
        self.system(**{**self.options, "regsys": {"rc_availability": False}})
        self.register_from()
        self.register_from()
        self.by_secret()
        self.assertEqual(self.entries(), [])


class RefusedTests(AuditCase):
    def test_names(self) -> None:
        """Taken, invalid, reserved, and denied by the operator's rules; the names are not kept."""
        self.register("taken")
        self.change("DELETE FROM audit")
        names = {"deny": ["secret*"], "min_length": 3}
        self.system(database=self.database, **{**self.options, "regsys": {**ON, "names": names}})
        for name, rule in (
            ("taken", "name-taken"),
            ("ta ken", "name-invalid"),
            ("ircbot", "name-reserved"),
            ("secretive", "name-rule deny"),
            ("ab", "name-rule min_length"),
        ):
            self.clock.advance(60)
            self.assertEqual(self.register_from(name).status, 400)
            found = self.entries()
            self.change("DELETE FROM audit")
            self.assertEqual(found, [("refused", None, None, NETWORK, rule, 1)], name)

    def test_doors(self) -> None:
        """A closed registration, guests, the limit, a spam checker, a password, the wrong secret,
        an application service's token."""
        self.assertEqual(self.by_secret(mac="0" * 40).status, 403)
        self.assertEqual(self.refused_by(), ["shared-secret"])
        ghost = {"type": SERVICE, "username": "_irc_x"}
        self.send(f"{V3}/register", ghost, token="canary")
        self.assertEqual(self.refused_by(), ["access-token"])
        strict = {"policy": {"enabled": True, "minimum_length": 40}}
        spam, hooks = [Verdict.DENY], self.hooks()

        async def deny(*asked: object) -> Verdict:
            return spam[0]

        hooks.spam.register("ours", deny)
        for options, query, rule in (
            ({"enable_registration": False}, "", "registration-disabled"),
            ({"allow_guest_access": False}, "?kind=guest", "guests-disabled"),
            ({"password_config": strict}, "", "password-policy"),
            ({"hooks": hooks}, "", "spam-check ours"),
            ({"regsys": {**ON, "rc_registration_total": {"per_hour": 1}}}, "", "cap hour"),
            ({"rc_registration": {"per_second": 0.01, "burst_count": 1}}, "", "rate-limit"),
        ):
            self.system(**{**self.options, **options})
            if rule in ("cap hour", "rate-limit"):
                self.register_from("first", query)
                self.change("DELETE FROM audit")
            self.assertIn(self.register_from("second", query).status, (400, 403, 429), rule)
            self.assertEqual(self.refused_by(), [rule])

    def test_stages(self) -> None:
        """A stage that is not passed, by the client or on the page; not one whose answer lacks
        something."""
        options = {"registration_requires_token": True}
        self.system(**{**self.options, **options})
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        stage = "m.login.registration_token"
        for token in ({"token": "wrong"}, {}):
            auth = {"type": stage, "session": session, **token}
            self.send(f"{V3}/register", {"auth": auth})
        page = f"{V3}/auth/{stage}/fallback/web?session={session}"
        self.send(page, b"token=wrong", Content_Type="application/x-www-form-urlencoded")
        ((what, who, _, address, rule, times),) = self.entries()
        self.assertEqual((what, who, address), ("refused", None, NETWORK))
        self.assertEqual((rule, times), (f"stage {stage}", 2))

    def test_noRefusals(self) -> None:
        """What makes no sense, a first 401, and an account that waits are no refusals."""
        self.system(**{**self.options, "require_approval": True})
        for body in (b"[", {"username": 1}, {"auth": {"session": "lost", **DUMMY}}, {}):
            self.send(f"{V3}/register", body)
        self.assertEqual(self.entries(), [])

    def test_flood(self) -> None:
        """What a client sends again and again is one row, and nothing else is left of it."""
        self.register("alice")
        before = self.counts()
        for _ in range(50):
            self.register_from("alice")
        self.assertEqual([row[-2:] for row in self.entries()][1:], [("name-taken", 50)])
        self.assertEqual(self.counts(), before)

    def test_everyRule(self) -> None:
        """Each class of errors has its rule, or none; an error may say more."""
        self.assertEqual(rule_of(errors.WrongMac()), "shared-secret")
        self.assertEqual(rule_of(errors.UsernameTaken()), "name-taken")
        self.assertEqual(rule_of(errors.LimitExceeded(1).by_rule("cap hour")), "cap hour")
        for none in (errors.MissingParam(), errors.Unavailable(), errors.AwaitingApproval()):
            self.assertIsNone(rule_of(none))
        self.assertTrue(all(issubclass(kind, RegistrationError) for kind in RULES))


class ChangeTests(AuditCase):
    def admin(self) -> str:
        token: str = self.by_secret().json["access_token"]
        self.change("DELETE FROM audit")
        return token

    def test_tokens(self) -> None:
        """Registration tokens that an administrator makes, changes, deletes; not what fails."""
        admin = self.admin()
        for method, path, body in (
            ("POST", "/new", {"token": "swordfish42", "uses_allowed": 3}),
            ("PUT", "/swordfish42", {"uses_allowed": 4}),
            ("DELETE", "/swordfish42", None),
            ("DELETE", "/swordfish42", None),
            ("PUT", "/swordfish42", {"uses_allowed": 4}),
        ):
            self.send(f"{TOKENS}{path}", body, method, token=admin)
        found = [row[:4] for row in self.entries()]
        self.assertEqual(
            found,
            [
                (f"token-{done}", None, "@root:test.example", NETWORK)
                for done in ("changed", "created", "deleted")
            ],
        )
        details = [json.loads(row[0]) for row in self.rows("SELECT details FROM audit")]
        self.assertIn({"token": "swo…", "uses_allowed": 3}, details)

    def test_jobs(self) -> None:
        """Jobs that are tried again, one or all, if there are any."""
        admin, jobs = self.admin(), self.subsystem.jobs._store
        self.wait(jobs.add([NewJob(kind="none", job_id=name) for name in ("a", "b")], self.now_ms))
        for name in ("a", "b"):
            self.wait(jobs.postpone(name, self.now_ms + 10**6, "away"))
        for path in ("/a/retry", "/retry", "/a/retry", "/retry"):
            self.send(f"{JOBS}{path}", token=admin)
        self.assertEqual(
            sorted(row[0] for row in self.rows("SELECT details FROM audit")),
            ['{"count": 1}', '{"job_id": "a"}'],
        )

    def test_ownActs(self) -> None:
        """A person's own new password, and the end of the account: by nobody else."""
        self.register("alice")
        who = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        token, new = self.client.post(f"{V3}/login", who).json["access_token"], "another horse"
        self.change("DELETE FROM audit")
        for path, body, password in (
            ("password", {"new_password": new, "logout_devices": False}, PASSWORD),
            ("deactivate", {}, new),
        ):
            session = self.send(f"{V3}/account/{path}", body, token=token).json["session"]
            auth = {"auth": {**who, "password": password, "session": session}}
            done = self.send(f"{V3}/account/{path}", {**body, **auth}, token=token)
            self.assertEqual(done.status, 200, done)
        alice = "@alice:test.example"
        self.assertEqual(
            self.entries(),
            [
                ("deactivated", alice, None, NETWORK, None, 1),
                ("password-set", alice, None, NETWORK, None, 1),
            ],
        )

    def test_documented(self) -> None:
        """The page has every word that the log may have."""
        text = (ROOT / "docs/audit.md").read_text()
        words = {*_acts(), *ACTS.values(), *DECISIONS.values(), *RULES.values()}
        self.assertGreater(len(words), 30)
        missing = [word for word in sorted(words) if f"`{word}`" not in text]
        self.assertEqual(missing, [])

    def test_changed(self) -> None:
        """A change that somebody else makes, in a transaction of its own."""
        alice = UserID("alice", "test.example")
        self.wait(self.subsystem.audit.changed(by="cli", what="deactivated", user_id=alice))
        self.assertEqual(self.entries(), [("deactivated", str(alice), "cli", None, None, 1)])

    def test_retention(self) -> None:
        """Entries go when their time is over, also if the log was switched off since."""
        self.register_from()
        for regsys in (ON, {"rc_availability": False}):
            self.system(database=self.database, **{**self.options, "regsys": regsys})
            self.subsystem.start()
            self.clock.advance(89 * 86_400)
            self.assertEqual(len(self.rows("SELECT 1 FROM audit")), 1)
            if regsys is not ON:
                self.clock.advance(86_400)
            self.wait(self.subsystem.stop())
            self.clock.rightNow -= 89 * 86_400 if regsys is ON else 0
        self.assertEqual(self.rows("SELECT 1 FROM audit"), [])

    def test_shutdown(self) -> None:
        """Refusals are written within seconds, and what is left at the end."""
        self.register("alice")
        self.subsystem.start()
        self.register_from("alice")
        self.clock.advance(5)
        self.assertEqual(len(self.rows("SELECT 1 FROM audit WHERE what = 'refused'")), 1)
        self.clock.advance(60)
        self.register_from("alice")
        self.wait(self.subsystem.stop())
        self.assertEqual(len(self.rows("SELECT 1 FROM audit WHERE what = 'refused'")), 2)


class CanaryTests(AuditCase):
    def test_secrets(self) -> None:
        """No password, token, secret or address of a person's is in any entry."""
        self.system(**{**self.options, "registration_requires_token": True})
        admin = self.by_secret().json["access_token"]
        self.send(f"{TOKENS}/new", {"token": "token-canary", "note": "note-canary"}, token=admin)
        begun = self.challenge(username="alice", password="password-canary")
        auth = {"type": "m.login.registration_token", "session": begun["session"]}
        for token in ("another-canary", "token-canary"):
            self.send(f"{V3}/register", {"auth": {**auth, "token": token}})
            self.clock.advance(0)
        self.send(f"{V3}/register", {"auth": {**auth, **DUMMY}})
        for body in (
            {"username": "name-canary!", "password": "password-canary"},
            {"username": "root", "password": "password-canary", "auth": DUMMY},
            {"type": SERVICE, "username": "_irc_x", "password": "password-canary"},
        ):
            self.send(f"{V3}/register", body, token="as-canary")
        self.by_secret("bob", mac="mac-canary")
        made = self.rows("SELECT 1 FROM users")
        self.assertEqual(len(made), 2)
        self.entries()
        text = repr(self.rows("SELECT * FROM audit"))
        self.assertGreater(len(self.rows("SELECT 1 FROM audit")), 5, text)
        for secret in ("canary", admin, begun["session"], SECRET, PASSWORD):
            self.assertNotIn(secret, text)


class WorkerTests(RemoteSystem, AuditCase):
    def test_allowed(self) -> None:
        """An account that a worker has checked: its master writes why, with the account."""
        self.assertEqual(self.register_from().status, 200)
        self.assertEqual(self.asked, 1)
        alice = "@alice:test.example"
        self.assertEqual(self.entries(), [("registered", alice, None, NETWORK, "flow", 1)])

    def test_refused(self) -> None:
        """What a worker refuses, or its master, the worker writes."""
        self.register_from()
        self.change("DELETE FROM audit")
        self.register_from()
        self.assertEqual(self.refused_by(), ["name-taken"])
