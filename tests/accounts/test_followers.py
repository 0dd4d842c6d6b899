"""Followers: each is told of every account, once in effect, whatever fails meanwhile."""

from __future__ import annotations

import json
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from regsys.accounts.followers import FollowerNotice, facts_of
from regsys.interfaces import IFollower
from regsys.interfaces.internal import IJobPlanner
from regsys.jobs import POLL_S
from regsys.model import (
    AccountFacts,
    Appservice,
    DeviceRequest,
    NewAccount,
    Registration,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.jobs import Job
from regsys.testing import (
    MemoryAccounts,
    MemoryAppservices,
    MemoryAuth,
    MemoryDevices,
    config,
    memory_process,
    provides,
)
from regsys.testing.contracts.case import NOW_MS
from regsys.wiring import DEADLINE_S, embedded
from tests.accounts.test_account_json import GUEST, WHOLE
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import Client
from tests.support.due_jobs import run_due
from tests.support.followers import Ledger
from tests.support.homeserver import LATER_S, POINTS, Died, Homeserver, failing_at

ALICE = UserID("alice", "test.example")
IRC = Appservice(id="irc", as_token=Secret("irc's token"), sender_localpart="irc")


class FollowerCase(SystemCase):
    def setUp(self) -> None:
        self.ledger, self.post = Ledger(), Ledger("post")
        super().setUp()

    def system(self, **options: Any) -> None:
        options.setdefault("hooks", self.hooks(followers=[self.ledger, self.post]))
        super().system(**options)

    def restart(self, *followers: Ledger) -> None:
        """The same server, with these followers."""
        self.system(database=self.database, hooks=self.hooks(followers=followers))

    def make(self, localpart: str = "alice", **fields: Any) -> None:
        new = Registration(key=f"key of {localpart}", localpart=localpart, **fields)
        self.wait(self.subsystem.handler.register_user(new))

    def pass_by(self, seconds: float) -> None:
        """Run what is due after so many seconds."""
        self.clock.advance(seconds)
        self.wait(run_due(self.subsystem.jobs))


class FactsTests(FollowerCase):
    def test_provides(self) -> None:
        """A follower is small, and its notices are planned like those of any other part."""
        provides(IFollower, self.ledger)
        provides(IJobPlanner, FollowerNotice(self.ledger))

    def test_everyField(self) -> None:
        """Facts say all of an account but what is secret; they survive the job."""
        facts, guests = facts_of(WHOLE), facts_of(GUEST)
        for field in attr.fields(AccountFacts):
            values = (getattr(facts, field.name), getattr(guests, field.name))
            self.assertNotEqual(set(map(repr, values)), {repr(field.default)}, field.name)
        notice = FollowerNotice(self.ledger)
        (planned,) = notice.jobs_for(WHOLE)
        payload = json.loads(json.dumps(planned.payload))
        job = Job(job_id="1", kind=notice.kind, payload=payload, attempts=1, claimed_until_ms=1)
        self.wait(notice.run(job))
        self.assertEqual(self.ledger.told, [(WHOLE.user_id, facts)])

    def test_nothingSecret(self) -> None:
        """Neither the hash of a password nor a token is in the job."""
        stages = {"m.login.registration_token": "canary", "m.login.dummy": True}
        new = attr.evolve(WHOLE, registration_token="canary", password_hash="canary", stages=stages)
        (job,) = FollowerNotice(self.ledger).jobs_for(new)
        for secret in ("canary", WHOLE.device.login.access_token.reveal() if WHOLE.device else ""):
            self.assertNotIn(secret, str(job.payload))
        expected = {"m.login.registration_token": True, "m.login.dummy": True}
        self.assertEqual(facts_of(new).stages, expected)

    def test_later(self) -> None:
        """Facts that another version has stored are read: what it knew more of is left out."""
        told = NewAccount(key="k", user_id=ALICE, created_ms=1)
        notice = FollowerNotice(self.ledger)
        (job,) = notice.jobs_for(told)
        self.restart(self.ledger)
        facts = {"created_ms": 1, "favourite_colour": "blue"}
        changed = attr.evolve(job, payload={"user_id": str(ALICE), "facts": facts})
        self.wait(self.subsystem.jobs._store.add([changed], self.now_ms))
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(self.ledger.told, [(ALICE, AccountFacts(created_ms=1))])


class EveryAccountTests(FollowerCase):
    def test_users(self) -> None:
        """A user's registration is told at once, with what its stages have found."""
        self.register(device_id="PHONE")
        facts = AccountFacts(
            created_ms=self.now_ms,
            display_name="alice",
            stages={"m.login.dummy": True},
            device_id="PHONE",
        )
        self.assertEqual((self.ledger.told, self.post.told), ([(ALICE, facts)],) * 2)
        self.assertEqual(self.counts()["jobs"], 0)

    def test_guests(self) -> None:
        """A guest is told of as a guest, and once more as the user that it has become."""
        guest = self.guest()
        self.register("1", guest_access_token=guest["access_token"])
        states = [(facts.is_guest, facts.upgraded_guest) for _, facts in self.ledger.told]
        self.assertEqual(states, [(True, False), (False, True)])
        self.assertEqual({str(user_id) for user_id, _ in self.ledger.told}, {guest["user_id"]})

    def test_ghosts(self) -> None:
        """So are the users of application services."""
        services = MemoryAppservices(
            reserved={"_irc_bob": ("irc",), "_irc_eve": ()}, shared=("_irc_eve",), services=(IRC,)
        )
        self.system(services=services)
        for name in ("_irc_bob", "_irc_eve"):
            self.wait(self.subsystem.handler.appservice_register(name, IRC.as_token))
        found = [
            (user_id.localpart, facts.is_ghost, facts.appservice_id)
            for user_id, facts in self.ledger.told
        ]
        self.assertEqual(found, [("_irc_bob", True, "irc"), ("_irc_eve", True, None)])

    def test_ofAdministrators(self) -> None:
        """So is what administrators make, with what they have said of it."""
        mail = Threepid("email", "alice@mail.example", 5)
        extra = {"invitation": "i-1", "by": ["bob"]}
        self.make(admin=True, by_admin=True, user_type="bot", threepids=(mail,), extra=extra)
        ((_, facts),) = self.ledger.told
        self.assertEqual((facts.admin, facts.user_type, facts.threepids), (True, "bot", (mail,)))
        self.assertEqual((facts.extra, facts.stages), (extra, {}))

    def test_madeElsewhere(self) -> None:
        """So is an account of which only post_registration_actions tells, once, with what the
        account's own store says of it."""
        self.restart()
        self.make(admin=True, by_admin=True, approved=False)
        made_ms = self.now_ms
        self.clock.advance(100)
        self.restart(self.ledger)
        mail = {"medium": "email", "address": "A@mail.example", "validated_at": 5}
        result = {"m.login.email.identity": mail, "m.login.msisdn": None}
        for _ in range(2):
            self.wait(self.subsystem.handler.post_registration_actions(ALICE, result))
        facts = AccountFacts(
            created_ms=made_ms,
            admin=True,
            approved=False,
            threepids=(Threepid("email", "a@mail.example", 5),),
            stages={"m.login.email.identity": mail},
        )
        self.assertEqual(self.ledger.told, [(ALICE, facts)])

    def test_afterRegistration(self) -> None:
        """An account that was told of is not told again by post_registration_actions."""
        self.register()
        self.wait(self.subsystem.handler.post_registration_actions(ALICE, {}))
        self.assertEqual((self.ledger.calls, self.post.calls), (1, 1))

    def test_newFollower(self) -> None:
        """A follower that did not exist then is told of it by post_registration_actions alone."""
        self.restart(self.ledger)
        self.register()
        self.restart(self.ledger, self.post)
        self.wait(self.subsystem.handler.post_registration_actions(ALICE, {}))
        self.assertEqual((self.ledger.calls, self.post.calls), (1, 1))

    def test_notJSON(self) -> None:
        """A result that is no JSON is refused before anything is done."""
        self.register()
        actions = self.subsystem.handler.post_registration_actions(ALICE, {"m.x": {1, 2}})
        error = self.failureResultOf(Deferred.fromCoroutine(actions), TypeError)
        self.assertIn("auth_result['m.x'] must be JSON", str(error.value))


class RetryTests(FollowerCase):
    def test_oneFails(self) -> None:
        """A follower that fails is called again until it returns, and no other with it; the
        registration does not wait."""
        self.ledger.away = True
        self.register()
        self.assertEqual(self.failed_jobs.flush(), ["ValueError: away"])
        for calls in (2, 3):
            self.pass_by(10)
            self.assertEqual((self.ledger.calls, self.post.calls), (calls, 1))
        self.failed_jobs.flush()
        self.ledger.away = False
        for _ in range(2):
            self.pass_by(10)
        self.assertEqual((self.ledger.calls, self.post.calls), (4, 1))
        self.assertEqual([user_id for user_id, _ in self.ledger.told], [ALICE])

    def test_restart(self) -> None:
        """What a follower has missed it is told by the next process that has one of its name."""
        self.ledger.away = True
        self.register()
        self.failed_jobs.flush()
        self.restart(self.post)
        self.pass_by(3600)
        ((kind, attempts),) = self.rows("SELECT kind, attempts FROM jobs")
        self.assertEqual((kind, attempts), ("tell_follower:ledger", 1))
        again = Ledger()
        self.restart(self.post, again)
        self.pass_by(POLL_S)
        self.assertEqual((len(again.told), self.post.calls), (1, 1))
        self.assertEqual(self.counts()["jobs"], 0)

    def test_stalls(self) -> None:
        """A follower that never returns is given up after its deadline, and called again."""
        self.ledger.slow = Deferred()
        self.register()
        self.assertEqual(len(self.post.told), 1)
        self.clock.advance(DEADLINE_S - 1)
        self.assertEqual(self.failed_jobs.flush(), [])
        self.clock.advance(1)
        (error,) = self.failed_jobs.flush()
        self.assertIn("Unavailable", error)
        self.ledger.slow = None
        self.pass_by(10)
        self.assertEqual(len(self.ledger.told), 1)

    def test_none(self) -> None:
        """Without followers a registration writes no job and no deduplication key."""
        self.restart()
        self.clock.advance(1)
        self.register()
        for table in ("jobs", "first_times"):
            self.assertEqual(self.rows(f"SELECT * FROM {table}"), [])


class NameTests(SystemCase):
    def test_names(self) -> None:
        """The name must identify the follower."""
        for names, error, text in (
            (("a", "b", "a"), ValueError, "two have the name 'a'"),
            (("",), ValueError, "the name '' must be"),
            (("with space",), ValueError, "the name 'with space' must be"),
            (("a" * 65,), ValueError, "must be 1 to 64 of"),
            ((5,), TypeError, "must have a name, a str"),
        ):
            followers: Any = [Ledger(name) for name in names]  # type: ignore[arg-type]
            caught = self.assertRaises(error, self.hooks, followers=followers)
            self.assertIn(text, str(caught))
        self.assertRaises(TypeError, self.hooks, followers=[object()])
        self.hooks(followers=[Ledger("a" * 64), Ledger("org.example.Ledger_2-b")])


class EmbeddedTests(FollowerCase):
    def setUp(self) -> None:
        super().setUp()
        self.accounts = MemoryAccounts()
        devices, chosen = MemoryDevices(self.accounts), config()
        self.subsystem = embedded(
            chosen,
            self.clock,
            store=self.accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            process=memory_process(self, chosen, self.clock, self.database),
            hooks=self.hooks(followers=[self.ledger]),
        )

    def test_request(self) -> None:
        """The homeserver's store and its followers get what the stages have found."""
        client = Client(self, self.subsystem.resource())
        self.assertEqual(
            client.register(username="alice", password=PASSWORD, auth=DUMMY).status, 200
        )
        found = {"m.login.dummy": True}
        self.assertEqual(self.accounts.by_name["alice"].stages, found)
        self.assertEqual([facts.stages for _, facts in self.ledger.told], [found])

    def test_ownEndpoint(self) -> None:
        """What an endpoint of the homeserver's gives along arrives unchanged."""
        extra, stages = {"invitation": {"id": 7, "by": None}}, {"org.example.door": ["front"]}
        self.make(extra=extra, stages=stages, device=DeviceRequest())
        new = self.accounts.by_name["alice"]
        ((_, facts),) = self.ledger.told
        for one in (new, facts):
            self.assertEqual((one.extra, one.stages), (extra, stages))


class CrashTests(TestCase):
    async def test_recovery(self) -> None:
        """Wherever a process dies that makes an account in a homeserver's store, its follower is
        told of an account that exists, by one job, with all that the request knew."""
        more: dict[str, Any] = {
            "admin": True,
            "approved": False,
            "stages": {"m.login.email.identity": {"medium": "email", "sid": "1"}},
            "extra": {"invitation": "i-1", "by": ["bob", {"n": 1.5}]},
            "threepids": (Threepid("email", "alice@mail.example", NOW_MS),),
        }
        for point in POINTS:
            server = Homeserver(self)
            await server.begin()
            ledger = Ledger()
            notice = FollowerNotice(ledger)
            parts: dict[str, Any] = {"planners": notice, "handlers": {notice.kind: notice.run}}
            writer, _ = server.process(failing_at(point, Died()), **parts)
            new = server.new_account(**more)
            new = attr.evolve(new, jobs=tuple(notice.jobs_for(new)))
            with self.assertRaises(Died):
                await writer.create_account(new)
            for _ in range(3):
                server.clock.advance(LATER_S)
                await run_due(server.process(**parts)[1])
            made = bool(server.accounts.by_name)
            expected = [(new.user_id, facts_of(new))] if made else []
            self.assertEqual(ledger.told, expected, point)
            for stored in server.accounts.by_name.values():
                self.assertEqual((stored.stages, stored.extra), (more["stages"], more["extra"]))
