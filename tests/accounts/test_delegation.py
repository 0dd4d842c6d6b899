"""Accounts and logins here and at the homeserver whose auth service this is (contract B17)."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any, ClassVar, Mapping, Optional
from urllib.parse import quote, urlsplit

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from regsys.accounts import earlier_accounts as accounts_from_before
from regsys.accounts.provisioning import TELL_S
from regsys.client_api.introspection import Introspection
from regsys.credentials.internal_tokens import InternalTokens
from regsys.errors import Forbidden
from regsys.interfaces import Verdict
from regsys.jobs import wait_ms
from regsys.model import Registration, Secret, Threepid, UserID
from regsys.storage import earlier_accounts
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, config, memory_process, system
from regsys.threepids.changes import ThreepidWriter
from regsys.wiring import embedded
from regsys.wiring.subsystem import Subsystem
from tests.doubles.synapse import AS_TOKEN, FORGET, HANG_UP, SECRET, STALL, SynapseDouble, User
from tests.support import crash, invariants
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer, Client
from tests.support.crash import NOW_S, CrashCase, OnSQLite, Process
from tests.support.due_jobs import run_due
from tests.web.test_page_headers import SafePages

OPTIONS: Mapping[str, Any] = {
    "matrix_authentication_service": {"enabled": True, "secret": SECRET},
    "regsys": {
        "homeserver": {"url": "http://synapse.example", "delegated": True},
        "rc_availability": False,
    },
}
ALICE = UserID("alice", "test.example")
PASSWORD_AUTH: Mapping[str, Any] = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": PASSWORD,
}


class DelegatedCase(SystemCase):
    options: ClassVar[Mapping[str, Any]] = OPTIONS

    def setUp(self) -> None:
        self.double = SynapseDouble()
        self.double.introspect = lambda token: self.introspect(token).json
        self.treq = StubTreq(self.double)
        super().setUp()
        self.double.now_s = self.clock.seconds

    def system(self, **options: Any) -> None:
        super().system(**{"treq": self.treq, **self.options, **options})

    def restart(self, **options: Any) -> None:
        """Replace the process by another one: what the old one holds in memory is lost."""
        self.system(database=self.database, **options)

    def settle(self) -> None:
        """Run everything that needs no time."""
        for _ in range(5):
            self.treq.flush()
            self.clock.advance(0)

    def later(self) -> None:
        """Jobs that have failed, or whose process has died, are run again."""
        self.failed_jobs.flush()
        self.clock.advance(max(61, wait_ms(20) / 1000 * 2))
        self.wait(run_due(self.main.jobs))
        self.settle()

    @property
    def main(self) -> Subsystem:
        """The subsystem that makes accounts and runs jobs."""
        return self.subsystem

    def introspect(self, token: str, secret: Optional[str] = SECRET) -> Answer:
        form = f"token={quote(token)}&token_type_hint=access_token"
        return self.client.ask("POST", "/oauth2/introspect", form.encode(), token=secret)

    def is_active(self, token: str) -> bool:
        return bool(self.introspect(token).json["active"])

    def devices(self, name: str = "alice") -> Mapping[str, Optional[str]]:
        return self.double.users[name].devices

    def log_in(self, name: str = "alice", **more: Any) -> Answer:
        body = {"type": "m.login.password", "user": name, "password": PASSWORD, **more}
        return self.client.post(f"{V3}/login", body)

    def assertNothingWaits(self) -> None:
        self.assertEqual(self.rows("SELECT * FROM provisioning"), [])
        self.assertEqual(self.rows("SELECT kind FROM jobs"), [])


class AccountTests(DelegatedCase):
    def test_whole(self) -> None:
        """When the client has its answer, the homeserver knows the account and the device, after
        three calls."""
        made = self.register(device_id="PHONE", initial_device_display_name="mine")
        self.assertEqual(self.devices(), {"PHONE": "mine"})
        self.assertTrue(self.is_active(made["access_token"]))
        calls = ["is_localpart_available", "provision_user", "upsert_device"]
        self.assertEqual([name for name, _ in self.double.calls], calls)
        self.settle()
        self.assertNothingWaits()

    def test_statements(self) -> None:
        """That an attempt begins with the account costs no statement: what the homeserver does not
        know is one row, written and deleted once."""
        self.register("bob")
        statements: list[str] = []
        connection: Any = self.database.pool.connection  # type: ignore[attr-defined]
        connection.set_trace_callback(statements.append)
        self.register("alice")
        connection.set_trace_callback(None)
        about = [text.split()[0] for text in statements if "provisioning" in text]
        self.assertEqual(about, ["INSERT", "DELETE"])

    def test_dialogue(self) -> None:
        """A dialogue asks once whether its name is free, unless it asks for another."""
        body = {"username": "alice", "password": PASSWORD}
        auth = {**DUMMY, "session": self.challenge(**body)["session"]}
        self.clock.advance(0)
        self.assertEqual(self.client.register(**body, auth=auth).status, 200)
        self.assertEqual(self.double.called("is_localpart_available"), 1)
        auth = {**DUMMY, "session": self.challenge(**{**body, "username": "bob"})["session"]}
        self.double.users["carol"] = User()
        answer = self.client.register(**{**body, "username": "carol"}, auth=auth)
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        self.assertEqual(self.double.called("is_localpart_available"), 3)

    def test_withoutLogin(self) -> None:
        self.register(inhibit_login=True)
        self.assertEqual(self.devices(), {})
        self.assertNothingWaits()

    def test_takenThere(self) -> None:
        """Names that it has, or keeps for services, are not registered here."""
        self.double.users["bob"] = User()
        self.double.exclusive = re.compile("irc_.*")
        for name, errcode in (("bob", "M_USER_IN_USE"), ("irc_x", "M_EXCLUSIVE")):
            answer = self.client.register(username=name, password=PASSWORD, auth=DUMMY)
            self.assertRefused(answer, 400, errcode)
            answer = self.client.get(f"{V3}/register/available?username={name}")
            self.assertRefused(answer, 400, errcode)
        self.assertEqual(self.counts()["users"], 0)

    def taken_meanwhile(self, **user: Any) -> None:
        """An application service makes the name after regsys has asked for it."""

        def on_call(call: str) -> None:
            if call == "provision_user":
                self.double.users["alice"] = User(**user)

        self.double.on_call = on_call

    def test_lostRace(self) -> None:
        """A name that an application service has taken meanwhile is undone here whole: the session,
        the token and the address are free for another name."""
        self.system(registration_requires_token=True)
        self.change(
            "INSERT INTO registration_tokens (token, uses_allowed, completed, revoked, created_ms)"
            " VALUES ('once', 1, 0, FALSE, 0)"
        )
        stage = {"type": "m.login.registration_token", "token": "once"}
        body = {"username": "alice", "password": PASSWORD}
        session = self.challenge(**body)["session"]
        auth = {**DUMMY, "session": session}
        self.challenge(auth={**stage, "session": session})
        before = self.counts()
        self.taken_meanwhile(appservice_id="irc", created_s=int(self.clock.seconds()))
        answer = self.client.register(**body, auth=auth)
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        self.double.on_call = lambda call: None
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.rows("SELECT * FROM milestones"), [])
        self.assertEqual(self.double.users["alice"].devices, {})
        again = self.client.register(**{**body, "username": "carol"}, auth=auth)
        self.assertEqual(again.status, 200, again)
        self.assertEqual(self.rows("SELECT completed FROM registration_tokens"), [(1,)])
        self.assertEqual(self.rows("SELECT user_id FROM milestones"), [("@carol:test.example",)])
        connection: Any = self.database.pool.connection  # type: ignore[attr-defined]
        self.assertEqual(invariants.broken(connection), {})

    def test_older(self) -> None:
        """Nor is a user taken over who is older than the account here."""
        self.clock.advance(7200)
        self.taken_meanwhile(created_s=int(self.clock.seconds()) - 3601)
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        self.assertEqual(self.counts()["users"], 0)

    def test_generated(self) -> None:
        """Numbers alone are no names there; those that it has are skipped."""
        self.double.users["u1"] = User()
        answer = self.client.register(password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.json["user_id"], "@u2:test.example")

    def test_banned(self) -> None:
        """A shadow ban and a user type are there before the client is answered."""
        self.system(user_types={"default_user_type": "bot"})
        hooks = self.subsystem.hooks
        hooks.spam.register("test", lambda *asked: Verdict.SHADOW_BAN)
        self.register()
        there = self.double.users["alice"]
        self.assertEqual((there.shadow_banned, there.user_type), (True, "bot"))

    def test_unheardOfType(self) -> None:
        """A type that it does not know costs no account: a retry would not help."""
        self.system(user_types={"default_user_type": "odd", "extra_user_types": ["odd"]})
        self.register()
        self.assertNothingWaits()

    def test_displayName(self) -> None:
        """A display name is set there by a job, unless it is the localpart, which is there from
        the beginning, or the user has chosen another since. Who is not to be found is hidden."""
        register = self.subsystem.handler.register_user
        self.wait(register(Registration(localpart="alice", display_name="Alice")))
        self.settle()
        self.assertEqual(self.double.users["alice"].display_name, "Alice")
        self.register("bob")
        self.assertEqual(self.double.called("query_user"), 1)
        self.double.faults["query_user"] = [HANG_UP]
        self.wait(register(Registration(localpart="carol", display_name="Carol")))
        self.double.users["carol"].display_name = "Caroline"
        self.later()
        self.assertEqual(self.double.users["carol"].display_name, "Caroline")
        self.system(show_users_in_user_directory=False)
        self.register("dave")
        self.settle()
        self.assertEqual(
            self.double.users["dave"].data, {"im.vector.hide_profile": {"hide_profile": True}}
        )
        self.assertNothingWaits()

    def test_emails(self) -> None:
        """Its addresses are there after a job, and follow each change; one that is somebody else's
        there stays there."""
        mails = [f"{name}@mail.example" for name in ("a", "b", "theirs")]
        self.double.users["old"] = User(emails=[mails[2]])
        held = tuple(Threepid("email", mail, 1) for mail in (mails[0], mails[2]))
        number = Threepid("msisdn", "447700900123", 1)
        register = self.subsystem.handler.register_user
        self.wait(register(Registration(localpart="alice", threepids=(*held, number))))
        self.settle()
        there = self.double.users["alice"]
        self.assertEqual((there.emails, self.double.users["old"].emails), (mails[:1], mails[2:]))
        writer: Any = self.main.handler._writer
        parts = writer.local.deactivation.rest.parts
        addresses = next(part for part in parts if isinstance(part, ThreepidWriter))
        self.double.faults["provision_user"] = ["500"]
        self.wait(addresses.add(ALICE, Threepid("email", mails[1], 1)))
        self.later()
        self.assertEqual(there.emails, mails[:2])
        self.wait(addresses.remove(ALICE, "email", mails[0]))
        self.settle()
        self.assertEqual(there.emails, mails[1:2])
        self.assertNothingWaits()
        # A job of an account that it does not know, or not any more, makes no user.
        del self.double.users["alice"]
        self.wait(addresses.remove(ALICE, "email", mails[1]))
        self.settle()
        self.assertNotIn("alice", self.double.users)

    def both_register(self) -> Any:
        """Alice, who has the address a@mail.example, and Bob; the writer of addresses."""
        register = self.subsystem.handler.register_user
        held = (Threepid("email", "a@mail.example", 1),)
        self.wait(register(Registration(localpart="alice", threepids=held)))
        self.register("bob")
        self.settle()
        writer: Any = self.main.handler._writer
        parts = writer.local.deactivation.rest.parts
        return next(part for part in parts if isinstance(part, ThreepidWriter))

    def assertBobs(self) -> None:
        """The address is Bob's on both sides, and nobody else's."""
        owners = {name: user.emails for name, user in self.double.users.items() if user.emails}
        self.assertEqual(owners, {"bob": ["a@mail.example"]})
        self.assertEqual(self.rows("SELECT user_id FROM threepids"), [("@bob:test.example",)])
        self.assertNothingWaits()

    def test_handedOn(self) -> None:
        """An address that another account of ours has given up here is its new owner's there, also
        if the homeserver has not heard of the former change yet."""
        addresses = self.both_register()
        self.double.faults["query_user"] = [HANG_UP]
        self.wait(addresses.remove(ALICE, "email", "a@mail.example"))
        bob = UserID("bob", "test.example")
        self.wait(addresses.add(bob, Threepid("email", "a@mail.example", 1)))
        self.settle()
        self.assertEqual(self.double.users["bob"].emails, ["a@mail.example"])
        self.later()
        self.assertBobs()

    def test_addressMeanwhile(self) -> None:
        """At whichever call of a job the address goes to another account, whose own job is faster,
        both sides agree in the end: what a late call takes back is made good."""
        for number in range(12):
            self.system()
            self.double.users.clear()
            self.double.on_call = lambda call: None
            addresses, left = self.both_register(), [number]

            def on_call(call: str, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] == -1:
                    bobs = "UPDATE threepids SET user_id = '@bob:test.example'"
                    self.change(f"{bobs} WHERE address LIKE 'a@%'")
                    self.double.users["alice"].emails = []
                    self.double.users["bob"].emails = ["a@mail.example"]

            self.double.on_call = on_call
            other = Threepid("email", "b@mail.example", 1)
            self.wait(addresses.add(ALICE, other))
            self.settle()
            if left[0] >= 0:
                self.assertGreater(number, 4)
                return
            self.wait(addresses.remove(ALICE, "email", "b@mail.example"))
            self.settle()
            self.later()
            self.assertBobs()
        self.fail("there are more calls")

    def test_addressOfNobodyOurs(self) -> None:
        """The homeserver's user with the name of an account that it cannot have keeps theirs."""
        addresses = self.both_register()
        self.double.users["carol"] = User(emails=["c@mail.example"])
        SystemCase.system(self, database=self.database)
        self.register("carol")
        self.restart()
        self.wait(addresses.add(ALICE, Threepid("email", "c@mail.example", 1)))
        self.settle()
        self.later()
        self.assertEqual(self.double.users["carol"].emails, ["c@mail.example"])
        self.assertEqual(self.double.users["alice"].emails, ["a@mail.example"])

    def test_bridges(self) -> None:
        """An application service's registration is passed on: the account is the homeserver's
        alone, and its answer is the client's."""
        self.double.exclusive = re.compile("irc_.*")
        body = {"type": "m.login.application_service", "username": "irc_x", "inhibit_login": True}
        for status, errcode in ((200, None), (400, "M_USER_IN_USE")):
            answer = self.client.post(f"{V3}/register", body, token=AS_TOKEN)
            self.assertEqual((answer.status, answer.errcode), (status, errcode))
        self.assertEqual(self.double.users["irc_x"].appservice_id, "bridge")
        self.assertEqual(self.counts()["users"], 0)
        self.assertEqual({tuple(sent or ()) for sent, _ in self.double.clients}, {("127.0.0.1",)})
        self.assertRefused(self.client.post(f"{V3}/register", body), 401, "M_MISSING_TOKEN")
        self.double.faults["register"] = ["502"]
        answer = self.client.post(f"{V3}/register", body, token=AS_TOKEN)
        self.assertRefused(answer, 503, "M_UNKNOWN")

    def test_guests(self) -> None:
        """It has no guests, whoever asks for one."""
        self.system(allow_guest_access=True)
        self.assertRefused(self.client.register("?kind=guest"), 403, "M_FORBIDDEN")
        making = self.subsystem.handler.register_user(Registration(make_guest=True))
        self.failureResultOf(Deferred.fromCoroutine(making), Forbidden)
        self.assertEqual(self.counts()["users"], 0)

    def test_embedded(self) -> None:
        """An embedded regsys keeps no accounts, and cannot be an auth service."""
        chosen = config(**self.options)
        process = memory_process(self, chosen, self.clock)
        parts: Any = {"store": None, "devices": None, "auth": None}
        with self.assertRaisesRegex(ValueError, "delegated is for a regsys that keeps"):
            embedded(chosen, self.clock, process=process, **parts)


class AttemptTests(DelegatedCase):
    """A name at both doors: who has made a user that is there."""

    BODY: ClassVar[Mapping[str, Any]] = {"username": "alice", "password": PASSWORD}

    def begin(self) -> Mapping[str, Any]:
        session = self.challenge(**self.BODY)["session"]
        self.clock.advance(0)
        return {**self.BODY, "auth": {**DUMMY, "session": session}}

    def taken(self) -> None:
        """A service whose namespace is not exclusive makes the user: nothing there says who."""
        self.double.users["alice"] = User(created_s=int(self.clock.seconds()))

    def assertTaken(self, answer: Answer) -> None:
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        self.assertEqual(self.counts()["users"], 0)
        self.assertEqual(self.double.users["alice"].devices, {})

    def test_takenMeanwhile(self) -> None:
        """The first call to make a user is certain: who is there then is not ours."""

        def on_call(call: str) -> None:
            if call == "provision_user":
                self.taken()

        body, self.double.on_call = self.begin(), on_call
        self.assertTaken(self.client.register(**body))
        self.assertEqual(self.double.called("v2/users"), 0)

    def test_afterRefusal(self) -> None:
        """So it is after a call that cannot have made them."""
        body = self.begin()
        self.double.faults = {"provision_user": ["404", "404"]}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        self.taken()
        self.assertTaken(self.client.register(**body))

    def test_beforeLostAnswer(self) -> None:
        """If the answer to an earlier call was lost, who is older than that is not ours."""
        body = self.begin()
        self.clock.advance(60)
        self.taken()
        self.clock.advance(60)
        self.double.faults = {"provision_user": [HANG_UP, HANG_UP]}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        self.assertTaken(self.client.register(**body))

    def test_madeAndNotWhole(self) -> None:
        """Who is known to be made by us is not asked about again."""
        body = self.begin()
        self.double.faults = {"upsert_device": ["500", "500"]}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        self.assertEqual(self.client.register(**body).status, 200)
        self.assertEqual(self.double.called("provision_user"), 1)

    def stalled(self, body: Mapping[str, Any]) -> Any:
        """A request whose call is not answered."""
        self.double.faults = {"provision_user": [STALL]}
        started = self.client.start("POST", f"{V3}/register", body)
        self.assertNoResult(started)
        return started

    def test_oneAtATime(self) -> None:
        """Requests of one session wait for each other, in several processes, too, and make the user
        once."""
        body = self.begin()
        first, client = self.stalled(body), self.client
        self.restart()
        others = [self.client.start("POST", f"{V3}/register", body) for _ in range(3)]
        self.clock.pump([0.2] * 20)
        for other in others:
            self.assertNoResult(other)
        self.assertEqual(self.double.called("provision_user"), 1)
        self.clock.pump([0.2] * 10)
        self.assertRefused(client.answer(first), 503, "M_UNKNOWN")
        made = {json.dumps(self.client.answer(other).json, sort_keys=True) for other in others}
        self.assertEqual(len(made), 1)
        self.assertIn("access_token", made.pop())
        self.assertNothingWaits()

    def test_killed(self) -> None:
        """A process that dies while it makes the user keeps others from it for a few seconds."""
        body = self.begin()
        self.stalled(body)
        self.restart()
        again = self.client.start("POST", f"{V3}/register", body)
        self.clock.pump([0.2] * 25)
        self.assertNoResult(again)
        self.clock.pump([0.2] * 10)
        self.assertEqual(self.client.answer(again).status, 200)

    def test_lateAnswer(self) -> None:
        """An attempt whose time is over does not undo what another has made meanwhile."""
        body = self.begin()
        first, client = self.stalled(body), self.client
        self.restart()
        self.change("UPDATE provisioning SET attempt_until_ms = 0")
        self.double.faults = {"upsert_device": [STALL]}
        second = self.client.start("POST", f"{V3}/register", body)
        self.assertNoResult(second)
        (late,) = self.double.stalled[:1]
        late.write(b"{}")
        late.finish()
        self.settle()
        self.assertRefused(client.answer(first), 503, "M_UNKNOWN")
        self.clock.pump([0.2] * 30)
        self.failed_jobs.flush()
        self.assertEqual(self.client.register(**body).status, 200)
        self.assertEqual(self.counts()["users"], 1)
        self.assertNothingWaits()


class EarlierTests(DelegatedCase):
    """Accounts from before regsys was the homeserver's auth service."""

    def setUp(self) -> None:
        super().setUp()
        SystemCase.system(self)
        self.old = self.register(device_id="PHONE", initial_device_display_name="mine")
        self.clock.advance(10)

    def delegate(self) -> None:
        """From now on it is."""
        self.restart()
        self.double.calls.clear()

    def test_unknown(self) -> None:
        """Their tokens are not valid there before they are made there."""
        self.delegate()
        self.assertFalse(self.is_active(self.old["access_token"]))
        self.assertEqual(self.double.calls, [])

    def test_made(self) -> None:
        """A job makes them there, with devices, addresses and names."""
        for number in range(7):
            self.register(f"user{number}")
        self.change("UPDATE users SET shadow_banned = TRUE, user_type = 'bot'")
        self.change("UPDATE profiles SET display_name = 'Alice' WHERE user_id LIKE '@alice%'")
        held = "('email', 'a@mail.example', '@alice:test.example', 1, 1)"
        self.change(f"INSERT INTO threepids VALUES {held}")
        self.delegate()
        self.later()
        there = self.double.users["alice"]
        self.assertEqual(there.devices, {"PHONE": "mine"})
        self.assertEqual((there.display_name, there.emails), ("Alice", ["a@mail.example"]))
        self.assertEqual((there.shadow_banned, there.user_type), (True, "bot"))
        self.assertTrue(self.is_active(self.old["access_token"]))
        self.assertEqual(len(self.double.users), 8)
        self.assertNothingWaits()
        self.double.calls.clear()
        self.restart()
        self.later()
        self.assertEqual(self.double.calls, [])

    def test_steps(self) -> None:
        """The job takes a few at a time, and gives way to another when its time is over."""
        for number in range(7):
            self.register(f"user{number}")
        for run_s in (0, 20):
            self.patch(earlier_accounts, "BATCH", 2)
            self.patch(accounts_from_before, "RUN_S", run_s)
            self.change("UPDATE users SET at_homeserver = FALSE")
            self.double.users.clear()
            self.delegate()
            self.main.jobs.start()
            self.clock.pump([0.1] * 20)
            self.settle()
            self.assertEqual(len(self.double.users), 8)
            self.assertNothingWaits()
            self.wait(self.main.jobs.stop())

    def test_away(self) -> None:
        """While the homeserver is away, none is lost."""
        for number in range(7):
            self.register(f"user{number}")
        self.delegate()
        self.double.faults = {"provision_user": [HANG_UP, FORGET, "500"] * 3}
        for _ in range(4):
            self.later()
        self.assertEqual(len(self.double.users), 8)
        self.assertTrue(self.is_active(self.old["access_token"]))
        self.assertNothingWaits()

    def test_login(self) -> None:
        """A login makes the account there first, and all of its devices."""
        self.delegate()
        made = self.log_in(device_id="DESK")
        self.assertEqual(made.status, 200, made)
        self.assertEqual(set(self.devices()), {"PHONE", "DESK"})
        for token in (made.json["access_token"], self.old["access_token"]):
            self.assertTrue(self.is_active(token))
        self.settle()
        self.assertNothingWaits()

    def test_taken(self) -> None:
        """If the homeserver has the name, or cannot have it, the account stays as it is, unused:
        the log tells the operator."""
        self.client.register(password=PASSWORD, auth=DUMMY)
        self.double.users["alice"] = User(created_s=int(self.clock.seconds()))
        self.delegate()
        with capturedLogs() as events:
            self.later()
        texts = [formatEvent(event) for event in events]
        for name in ("alice", "1"):
            said = [text for text in texts if f"@{name}:test.example, who was here" in text]
            self.assertEqual(len(said), 1, texts)
        self.assertFalse(self.is_active(self.old["access_token"]))
        self.assertEqual(self.double.users["alice"].devices, {})
        self.assertNothingWaits()
        self.assertRefused(self.log_in(device_id="DESK"), 403, "M_FORBIDDEN")
        self.assertNothingWaits()
        # When the homeserver's user is gone, the account is made.
        del self.double.users["alice"]
        self.assertEqual(self.log_in(device_id="DESK").status, 200)

    def test_others(self) -> None:
        """Guests, deactivated accounts and users of application services are left alone."""
        for number, what in enumerate(
            ("is_guest = TRUE", "deactivated = TRUE", "appservice_id = 'irc'")
        ):
            self.register(f"user{number}")
            self.change(f"UPDATE users SET {what} WHERE user_id LIKE '@user{number}%'")
        self.delegate()
        self.later()
        self.assertEqual(set(self.double.users), {"alice"})

    def test_deactivatedMeanwhile(self) -> None:
        """An account that is deactivated before it is made there is never made."""
        self.delegate()
        self.double.faults = {"provision_user": ["404"] * 3}
        self.later()
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.later()
        self.assertNotIn("alice", self.double.users)
        self.assertNothingWaits()

    def test_backAndForth(self) -> None:
        """Accounts that are made while it is switched off are made there when it is on again; the
        others stay known."""
        self.delegate()
        self.later()
        SystemCase.system(self, database=self.database)
        self.register("bob")
        self.delegate()
        self.later()
        self.assertEqual(self.double.called("provision_user"), 1)
        self.assertEqual(set(self.double.users), {"alice", "bob"})


class AwayTests(DelegatedCase):
    CALLS = ("is_localpart_available", "provision_user", "upsert_device")

    def begin(self, name: str) -> Mapping[str, Any]:
        body = {"username": name, "password": PASSWORD, "device_id": "PHONE"}
        session = self.challenge(**body)["session"]
        self.clock.advance(0)
        self.double.calls.clear()
        return {**body, "auth": {**DUMMY, "session": session}}

    def test_sameDialogue(self) -> None:
        """Whichever call is lost, before or after it was done, the client gets a 503 with a
        Retry-After and no valid token; its next request goes on, with the same account and
        device."""
        for number, (call, fault) in enumerate(
            (call, fault) for call in self.CALLS[1:] for fault in (FORGET, HANG_UP, "500", "502")
        ):
            name = f"user{number}"
            body = self.begin(name)
            # The job that goes on is tried at once.
            self.double.faults = {call: [fault, fault]}
            answer = self.client.register(**body)
            self.assertRefused(answer, 503, "M_UNKNOWN", (call, fault))
            self.assertIn("retry-after", answer.headers)
            self.failed_jobs.flush()
            again = self.client.register(**body)
            self.assertEqual(again.status, 200, (call, fault, again))
            self.assertEqual(again.json["user_id"], f"@{name}:test.example")
            self.assertEqual(dict(self.devices(name)), {"PHONE": None})
            self.assertTrue(self.is_active(again.json["access_token"]))
            self.later()
            self.assertNothingWaits()

    def test_job(self) -> None:
        """If no request comes, a job goes on; the account's own jobs begin only then."""
        for number, call in enumerate(self.CALLS[1:]):
            name = f"user{number}"
            body = self.begin(name)
            self.double.faults = {call: [FORGET, FORGET]}
            self.assertEqual(self.client.register(**body).status, 503)
            token = self.rows("SELECT access_hash FROM logins WHERE user_id LIKE ?", f"@{name}%")
            self.assertEqual(len(token), 1)
            self.assertEqual(self.rows("SELECT kind FROM jobs"), [("provision_account",)])
            self.failed_jobs.flush()
            self.restart()
            self.later()
            self.assertEqual(dict(self.devices(name)), {"PHONE": None})
            self.assertNothingWaits()

    def test_loginFinishes(self) -> None:
        """A login to an account that waits goes on with it first."""
        body = self.begin("alice")
        self.double.faults = {"provision_user": [HANG_UP, HANG_UP]}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        made = self.log_in(device_id="DESK")
        self.assertEqual(made.status, 200, made)
        self.assertTrue(self.is_active(made.json["access_token"]))
        self.assertEqual(set(self.devices()), {"PHONE", "DESK"})

    def test_stalls(self) -> None:
        """A call that is not answered is given up in time."""
        body = self.begin("alice")
        self.double.faults = {"provision_user": [STALL, STALL]}
        answering = self.client.start("POST", f"{V3}/register", body)
        self.assertNoResult(answering)
        self.clock.advance(5)
        self.assertRefused(self.client.answer(answering), 503, "M_UNKNOWN")
        self.clock.advance(5)
        self.failed_jobs.flush()

    def test_undoneByJob(self) -> None:
        """If the name was taken there while nobody was looking, the job undoes the account."""
        body = self.begin("alice")
        self.double.faults = {"provision_user": [HANG_UP, HANG_UP]}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        self.double.users["alice"] = User(appservice_id="irc", created_s=2**40)
        self.later()
        self.assertNothingWaits()
        self.assertEqual(self.counts()["users"], 0)
        self.assertRefused(self.client.register(**body), 400, "M_USER_IN_USE")

    def test_deactivatedMeanwhile(self) -> None:
        """An account that is deactivated before it is known is never made there."""
        body = self.begin("alice")
        self.double.faults = {"provision_user": [HANG_UP, HANG_UP]}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.later()
        self.assertNotIn("alice", self.double.users)
        self.assertNothingWaits()

    def test_login(self) -> None:
        """If it is not known yet, there is no answer, and the token is not valid; a job goes on."""
        self.register(device_id="PHONE")
        self.double.faults = {"upsert_device": [HANG_UP, HANG_UP]}
        self.assertRefused(self.log_in(device_id="DESK"), 503, "M_UNKNOWN")
        self.assertEqual(self.rows("SELECT device_id FROM provisioning"), [("DESK",)])
        self.later()
        self.assertEqual(set(self.devices()), {"PHONE", "DESK"})
        self.assertNothingWaits()


class LoginTests(SafePages, DelegatedCase):
    def test_login(self) -> None:
        """A login is known there before its answer; one that exists keeps its name there."""
        self.register(device_id="PHONE")
        made = self.log_in(device_id="DESK", initial_device_display_name="desk").json
        self.assertTrue(self.is_active(made["access_token"]))
        self.double.users["alice"].devices["DESK"] = "renamed there"
        self.log_in(device_id="DESK", initial_device_display_name="desk")
        self.assertEqual(dict(self.devices()), {"PHONE": None, "DESK": "renamed there"})
        self.assertNothingWaits()

    def test_olderAccount(self) -> None:
        """An account that the homeserver has lost is made there by a login, with its devices."""
        self.register(device_id="PHONE")
        del self.double.users["alice"]
        self.assertEqual(self.log_in(device_id="DESK").status, 200)
        self.assertEqual(dict(self.devices()), {"PHONE": None, "DESK": None})

    def test_logout(self) -> None:
        """A logout is known there before its answer."""
        first = self.register(device_id="PHONE")["access_token"]
        for device in ("DESK", "TV"):
            last = self.log_in(device_id=device).json["access_token"]
        self.client.post(f"{V3}/logout", token=first)
        self.assertEqual(set(self.devices()), {"DESK", "TV"})
        self.client.post(f"{V3}/logout/all", token=last)
        self.assertEqual(dict(self.devices()), {})
        self.assertNothingWaits()

    def test_logoutWhileAway(self) -> None:
        """Else it is answered all the same, and a job goes on, also in another process."""
        for fault in (HANG_UP, FORGET, "500"):
            self.system()
            self.double.users.clear()
            token = self.register(device_id="PHONE")["access_token"]
            self.double.faults = {"delete_device": [fault, fault]}
            self.assertEqual(self.client.post(f"{V3}/logout", token=token).status, 200)
            self.assertFalse(self.is_active(token))
            self.restart()
            self.later()
            self.assertEqual(dict(self.devices()), {})
            self.assertNothingWaits()

    def test_stalls(self) -> None:
        """The client does not wait for long."""
        token = self.register(device_id="PHONE")["access_token"]
        self.double.faults = {"delete_device": [STALL, STALL]}
        answering = self.client.start("POST", f"{V3}/logout", None, token=token)
        self.assertNoResult(answering)
        self.clock.advance(TELL_S)
        self.assertEqual(self.client.answer(answering).status, 200)
        self.clock.advance(5)
        self.failed_jobs.flush()

    def test_killedBeside(self) -> None:
        """If a process dies before it has told of a logout, an equal one does so within a second;
        so does one that starts."""
        for starts_first in (True, False):
            self.system()
            self.double.users.clear()
            token = self.register(device_id="PHONE")["access_token"]
            self.double.faults = {"delete_device": [STALL]}
            client = self.client
            self.restart()
            if starts_first:
                self.main.jobs.start()
            client.start("POST", f"{V3}/logout", None, token=token)
            self.assertEqual(set(self.devices()), {"PHONE"})
            if starts_first:
                self.clock.pump([0.1] * 9)
            else:
                self.main.jobs.start()
            self.settle()
            self.assertEqual(set(self.devices()), set())
            self.assertNothingWaits()
            self.wait(self.main.jobs.stop())

    def test_loggedInAgain(self) -> None:
        """A late logout leaves the same device alone if it has logged in again."""
        token = self.register(device_id="PHONE")["access_token"]
        self.double.faults = {"delete_device": [HANG_UP, HANG_UP]}
        self.client.post(f"{V3}/logout", token=token)
        again = self.log_in(device_id="PHONE").json["access_token"]
        self.later()
        self.assertEqual(set(self.devices()), {"PHONE"})
        self.assertTrue(self.is_active(again))

    def test_deactivation(self) -> None:
        """A deactivated account is deactivated there, and no token of it is active."""
        token = self.register()["access_token"]
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.assertTrue(self.double.users["alice"].deactivated)
        self.assertFalse(self.is_active(token))
        self.assertNothingWaits()

    def test_erase(self) -> None:
        """What a person wants forgotten here is forgotten there, and at once."""
        token = self.register()["access_token"]
        path = f"{V3}/account/deactivate"
        asked = self.client.post(path, {"erase": True}, token=token)
        auth = {**PASSWORD_AUTH, "session": asked.json["session"]}
        answer = self.client.post(path, {"erase": True, "auth": auth}, token=token)
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(self.double.users["alice"].erased)
        self.assertNothingWaits()

    def test_eraseAfterLogout(self) -> None:
        """A logout that could not be told before the deactivation does not undo its wish."""
        token = self.register(device_id="PHONE")["access_token"]
        self.double.faults = {"delete_device": [HANG_UP, HANG_UP]}
        self.client.post(f"{V3}/logout", token=token)
        self.wait(self.subsystem.handler.deactivated(ALICE, erase=True))
        self.later()
        self.assertTrue(self.double.users["alice"].erased)
        self.assertNothingWaits()

    def test_unknown(self) -> None:
        """Of a user whom only the homeserver has, nothing is said there."""
        self.double.users["carol"] = User()
        self.wait(self.subsystem.handler.deactivated(UserID("carol", "test.example")))
        self.settle()
        self.assertFalse(self.double.users["carol"].deactivated)
        self.assertNothingWaits()

    def test_passwordChange(self) -> None:
        """The other devices that a changed password logs out are known to be so there before its
        answer; where that fails, a job goes on."""
        path, new = f"{V3}/account/password", {"new_password": "a better horse"}
        for fault in ([], [HANG_UP, HANG_UP]):
            self.system()
            self.double.users.clear()
            token = self.register(device_id="PHONE")["access_token"]
            other = self.log_in(device_id="DESK").json["access_token"]
            asked = self.client.post(path, new, token=token)
            auth = {**PASSWORD_AUTH, "session": asked.json["session"]}
            self.double.faults = {"delete_device": list(fault)}
            answer = self.client.post(path, {**new, "auth": auth}, token=token)
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual((self.is_active(token), self.is_active(other)), (True, False))
            if fault:
                self.assertEqual(set(self.devices()), {"PHONE", "DESK"})
                self.restart()
                self.later()
            self.assertEqual(set(self.devices()), {"PHONE"})
            self.assertNothingWaits()

    def test_deletedDevices(self) -> None:
        token = self.register(device_id="PHONE")["access_token"]
        for device in ("DESK", "TV"):
            self.log_in(device_id=device)
        path, wanted = f"{V3}/delete_devices", {"devices": ["DESK", "TV", "unknown"]}
        asked = self.client.post(path, wanted, token=token)
        auth = {**PASSWORD_AUTH, "session": asked.json["session"]}
        answer = self.client.post(path, {**wanted, "auth": auth}, token=token)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(set(self.devices()), {"PHONE"})
        self.assertNothingWaits()

    def test_resetKeys(self) -> None:
        """The page to which the homeserver sends a user who wants to replace their cross-signing
        keys: with the right password it is allowed there, and else not."""
        self.register()
        found = self.client.ask("GET", "/.well-known/openid-configuration", b"").json
        url = str(found["account_management_uri"])
        path = urlsplit(url).path
        page = self.client.ask("GET", f"{path}?action=org.matrix.cross_signing_reset", b"")
        self.assertIn(b'name="password"', page.json)
        self.assertSafe("the account page", page)
        for user in ("alice", "@alice:test.example"):
            wrong = self.client.ask("POST", path, f"user={user}&password=wrong".encode())
            self.assertEqual(wrong.status, 403)
            self.assertIn(b"alice", wrong.json)
            self.assertFalse(self.double.users["alice"].may_reset)
        form = f"user=alice&password={quote(PASSWORD)}".encode()
        self.double.faults["allow_cross_signing_reset"] = ["500"]
        away = self.client.ask("POST", path, form)
        self.assertEqual((away.status, self.double.users["alice"].may_reset), (503, False))
        allowed = self.client.ask("POST", path, form)
        self.assertEqual((allowed.status, self.double.users["alice"].may_reset), (200, True))
        self.assertNotIn(PASSWORD.encode(), allowed.json)


class CapabilityTests(DelegatedCase):
    def ask(self, token: str) -> Answer:
        return self.client.get(f"{V3}/capabilities", token=token)

    def test_laidOver(self) -> None:
        """What clients may change at regsys is regsys's answer, all else the homeserver's, asked
        with the client's own token."""
        token = self.register()["access_token"]
        on, off = {"enabled": True}, {"enabled": False}
        there = {"m.set_displayname": on}
        expected = {"m.change_password": on, "m.3pid_changes": on, **there}
        self.assertEqual(self.ask(token).json, {"capabilities": expected})
        # It counts and records its clients by their addresses.
        (addresses, _) = self.double.clients.pop()
        self.assertEqual(addresses, ["127.0.0.1"])
        self.restart(enable_3pid_changes=False)
        self.assertEqual(self.ask(token).json["capabilities"]["m.3pid_changes"], off)
        # Its "off" would hide what regsys can do, so it is asked here even if nobody can.
        self.restart(password_config={"enabled": False})
        self.assertEqual(self.ask(token).json["capabilities"]["m.change_password"], off)

    def test_strangers(self) -> None:
        """A token that regsys does not know costs the homeserver nothing."""
        self.assertRefused(self.ask("unknown"), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.double.called("capabilities"), 0)

    def test_stale(self) -> None:
        """A token of which the homeserver believes that it is invalid is invalid."""
        token = self.register()["access_token"]
        self.double.introspect = lambda token: {"active": False}
        self.assertRefused(self.ask(token), 401, "M_UNKNOWN_TOKEN")

    def test_away(self) -> None:
        """Half an answer would hide the rest from the client until its next start."""
        token = self.register()["access_token"]
        for fault in (HANG_UP, "500", "502", "garbage", "list", "404"):
            self.double.faults["capabilities"] = [fault]
            answer = self.ask(token)
            self.assertRefused(answer, 503, "M_UNKNOWN", fault)
            self.assertIn("retry-after", answer.headers)


class IntrospectionTests(DelegatedCase):
    def test_answer(self) -> None:
        """What RFC 7662 asks for, and what the homeserver reads."""
        made = self.register(device_id="PHONE", refresh_token=True)
        answer = self.introspect(made["access_token"])
        self.assertEqual(
            answer.json,
            {
                "active": True,
                "sub": "@alice:test.example",
                "username": "alice",
                "device_id": "PHONE",
                "scope": "urn:matrix:client:api:* urn:matrix:client:device:PHONE",
                "expires_in": 300,
            },
        )

    def test_oddDevice(self) -> None:
        """A scope has no odd characters; a token without an end has no ``expires_in``."""
        made = self.register(device_id="a b")
        answer = self.introspect(made["access_token"]).json
        self.assertEqual(answer["device_id"], "a b")
        self.assertEqual(answer["scope"], "urn:matrix:client:api:*")
        self.assertNotIn("expires_in", answer)

    def test_administrators(self) -> None:
        made = self.register()
        self.change("UPDATE users SET admin = TRUE")
        self.assertIn("urn:synapse:admin:*", self.introspect(made["access_token"]).json["scope"])

    def test_inactive(self) -> None:
        """Whatever is unknown, expired, logged out, or not known to the homeserver yet."""
        expired = self.register(refresh_token=True)
        self.clock.advance(300)
        out = self.register("bob")["access_token"]
        self.client.post(f"{V3}/logout", token=out)
        for token in (expired["access_token"], expired["refresh_token"], out, "x", "ä€", "rsi_x.y"):
            answer = self.introspect(token)
            self.assertEqual((answer.status, answer.json), (200, {"active": False}), token)
        made = self.register("carol", device_id="PHONE")["access_token"]
        waits = "INSERT INTO provisioning (user_id, device_id, job_id) VALUES"
        for device in ("PHONE", ""):
            self.change(f"{waits} ('@carol:test.example', ?, 'j')", device)
            self.assertFalse(self.is_active(made))
            self.change("DELETE FROM provisioning")
        self.assertTrue(self.is_active(made))
        self.change(f"{waits} ('@carol:test.example', 'DESK', 'j')")
        self.assertTrue(self.is_active(made))

    def test_lastSecond(self) -> None:
        """A token in its last second is not active: 0 would be no end."""
        made = self.register(refresh_token=True)
        self.clock.advance(299.5)
        self.assertFalse(self.is_active(made["access_token"]))

    def test_internal(self) -> None:
        """A token of regsys's own is active for two minutes at most, and nowhere else."""
        secret = self.subsystem.process.macaroon_secret
        tokens = InternalTokens(secret=secret, clock=self.clock)
        token = tokens.make(ALICE, is_admin=True).reveal()
        answer = self.introspect(token).json
        self.assertEqual((answer["username"], answer["active"]), ("alice", True))
        self.assertIn("urn:synapse:admin:*", answer["scope"])
        self.assertNotIn("device_id", answer)
        plain = self.introspect(tokens.make(ALICE).reveal()).json
        self.assertEqual(plain["scope"], "urn:matrix:client:api:*")
        self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")
        self.assertFalse(self.is_active(token[:-1] + ("0" if token[-1] != "0" else "1")))
        self.clock.advance(120)
        self.assertFalse(self.is_active(token))

    def test_strangers(self) -> None:
        """Without the secret it says nothing."""
        token = self.register()["access_token"]
        self.assertRefused(self.introspect(token, None), 401, "M_MISSING_TOKEN")
        for wrong in ("", SECRET[:-1], SECRET + "x", token):
            self.assertRefused(self.introspect(token, wrong), 401, "M_UNKNOWN_TOKEN", wrong)

    def test_discovery(self) -> None:
        answer = self.client.get("/.well-known/openid-configuration").json
        self.assertEqual(set(answer), {"issuer", "account_management_uri"})

    def test_oneRead(self) -> None:
        """It costs one statement."""
        token = self.register()["access_token"]
        names: list[str] = []
        run = type(self.database).autocommit

        async def counted(database: Any, name: str, *rest: Any) -> Any:
            names.append(name)
            return await run(database, name, *rest)

        self.patch(type(self.database), "autocommit", counted)
        self.assertTrue(self.is_active(token))
        self.assertEqual(names, ["known_login"])

    def test_notOffered(self) -> None:
        """Where regsys is no auth service there is no such endpoint."""
        SystemCase.system(self)
        self.assertRefused(self.introspect("x"), 404, "M_UNRECOGNIZED")


class KeptDouble(SynapseDouble):
    """Keeps its users in a file, beyond the end of a process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def render(self, request: Request) -> Any:
        if self.path.exists():
            self.users = pickle.loads(self.path.read_bytes())  # noqa: S301
        answer = super().render(request)
        self.path.write_bytes(pickle.dumps(self.users))
        return answer


KEY = "of these processes"


class PatientClient(Client):
    """Waits for its answer as long as clients do."""

    def answer(self, started: Deferred[Answer]) -> Answer:
        for _ in range(40):
            self._flush(started)
            if not started.called and self._clock is not None:
                self._clock.advance(0.2)
        return super().answer(started)


class CrashTests(CrashCase, OnSQLite, SynchronousTestCase):
    """A process that dies at any statement leaves accounts that are whole on both sides once a
    client or a job has gone on."""

    options: ClassVar[Mapping[str, Any]] = {**OPTIONS, "macaroon_secret_key": KEY}

    def setUp(self) -> None:
        super().setUp()
        self.double = KeptDouble(Path(self.mktemp()).absolute())
        clock = Clock()
        clock.advance(NOW_S)
        self.double.now_s = clock.seconds
        introspection = Introspection(
            auth=MemoryAuth(MemoryDevices(MemoryAccounts())),
            internal=InternalTokens(secret=KEY.encode(), clock=clock),
            clock=clock,
        )
        self.double.introspect = lambda token: introspection._of_internal(Secret(token))
        made = system.memory_process

        def with_double(*given: Any) -> Any:
            return made(*given, treq=StubTreq(self.double))

        self.patch(system, "memory_process", with_double)
        self.patch(crash, "Client", PatientClient)

    def assertFollowed(self, process: Process) -> None:
        super().assertFollowed(process)
        self.assertEqual(process.rows("SELECT user_id FROM provisioning"), set())
        here = process.rows("SELECT user_id FROM users WHERE NOT deactivated")
        self.double.users = pickle.loads(self.double.path.read_bytes())  # noqa: S301
        there = {f"@{name}:test.example" for name in self.double.users}
        self.assertEqual(here, there)
        devices = {
            f"@{name}:test.example {device}"
            for name, user in self.double.users.items()
            for device in user.devices
        }
        self.assertEqual(process.rows("SELECT user_id || ' ' || device_id FROM devices"), devices)

    def test_completion(self) -> None:
        def before(process: Process, name: str) -> tuple[str, str]:
            return name, process.challenge(username=name)

        def request(process: Process, given: tuple[str, str]) -> Answer:
            return process.complete(given[1], username=given[0])

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            answer = request(process, given)
            self.assertLoggedIn(process, answer, issued, given[0])

        self.crash_everywhere(request, retry, before)

    def test_nobodyReturns(self) -> None:
        """A job alone goes on as well."""

        def nothing(process: Process, name: str, issued: set[str]) -> None:
            return

        self.crash_everywhere(lambda process, name: process.register(name), nothing)

    def test_login(self) -> None:
        def before(process: Process, name: str) -> str:
            process.register(name)
            return name

        def retry(process: Process, name: str, issued: set[str]) -> None:
            self.assertLoggedIn(process, process.login(name), set(), name)

        self.crash_everywhere(lambda process, name: process.login(name), retry, before)

    def test_logout(self) -> None:
        """The devices are gone on both sides, or on neither until the client asks again."""
        name = "an outcome with a login has its device and its tokens"
        rules = {rule: sql for rule, sql in invariants.RULES.items() if rule != name}
        self.patch(invariants, "RULES", rules)

        def before(process: Process, name: str) -> tuple[str, str]:
            return name, process.register(name).json["access_token"]

        def request(process: Process, given: tuple[str, str]) -> Answer:
            return process.client.post(f"{V3}/logout", token=given[1])

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            self.assertIn(request(process, given).status, (200, 401))

        self.crash_everywhere(request, retry, before)
