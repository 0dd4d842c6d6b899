"""Newcomers who are suspended at the Synapse whose auth service regsys is (contract B17.7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Mapping

from twisted.logger import capturedLogs, formatEvent

from regsys.interfaces import Verdict
from regsys.interfaces.internal import IExpiring
from regsys.model import MailPurpose, Registration, Secret, Threepid, UserID
from regsys.model.administration import CLI
from regsys.storage.validations import ValidationStore
from regsys.testing import MemoryRooms, provides
from regsys.testing.rooms import MemoryRoom
from tests.accounts.test_delegation import ALICE, OPTIONS, PASSWORD_AUTH, DelegatedCase
from tests.doubles.synapse import HANG_UP, User
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3
from tests.support.policies import user_consent, write_pages
from tests.support.validations import MAILS
from tests.support.values import wanted

HOUR_S = 3600.0
ROOM = "#lobby:test.example"
AUDIT = {"enabled": True}


def suspending(**more: Any) -> Mapping[str, Any]:
    """The options of a server whose newcomers are suspended."""
    return {**OPTIONS, "regsys": {**OPTIONS["regsys"], "newcomers": {"state": "suspended", **more}}}


class NewcomerCase(DelegatedCase):
    options: ClassVar[Mapping[str, Any]] = suspending()

    @property
    def newcomers(self) -> Any:
        return self.subsystem.newcomers

    def is_suspended(self, name: str = "alice") -> bool:
        """At the homeserver; our table says the same."""
        there = self.double.users[name].suspended
        here = self.rows("SELECT 1 FROM newcomers WHERE user_id = ?", f"@{name}:test.example")
        self.assertEqual(bool(here), there)
        return there

    def release(self, user_id: UserID = ALICE) -> bool:
        released: bool = self.wait(self.newcomers.release(user_id, CLI))
        self.settle()
        return released

    def make(self, localpart: str, **fields: Any) -> None:
        new = Registration(localpart=localpart, password=Secret(PASSWORD), **fields)
        self.wait(self.subsystem.handler.register_user(new))

    def sweep(self) -> None:
        """A round of housekeeping, and the jobs that are due then."""
        self.wait(self.newcomers.delete_expired(self.now_ms, 500))
        self.later()


class BirthTests(NewcomerCase):
    def test_provides(self) -> None:
        provides(IExpiring, self.newcomers)

    def test_atOnce(self) -> None:
        """A newcomer is suspended before the homeserver knows a device of theirs, and before their
        token is valid: they never say a word. They are logged in."""
        made = self.register(device_id="PHONE")
        calls = ["is_localpart_available", "provision_user", "v1/suspend", "upsert_device"]
        self.assertEqual([name for name, _ in self.double.calls], calls)
        self.assertTrue(self.is_suspended())
        self.assertTrue(self.is_active(made["access_token"]))
        self.settle()
        self.assertNothingWaits()

    def test_crash(self) -> None:
        """If the homeserver could not be asked to suspend them, there is no answer and no valid
        token; whoever goes on suspends them first."""
        asked = self.challenge(username="alice", password=PASSWORD)
        self.clock.advance(0)
        auth = {**DUMMY, "session": asked["session"]}
        body = {"username": "alice", "password": PASSWORD, "auth": auth}
        self.double.faults = {"v1/suspend": [HANG_UP, HANG_UP]}
        self.assertRefused(self.client.register(**body), 503, "M_UNKNOWN")
        self.assertEqual(self.devices(), {})
        self.failed_jobs.flush()
        self.restart()
        made = self.client.register(**body).json
        self.assertTrue(self.is_suspended())
        self.assertTrue(self.is_active(made["access_token"]))

    def test_unknown(self) -> None:
        """A homeserver that does not know suspension gets no newcomers; the log says what to do."""
        self.double.faults = {"v1/suspend": ["404"]}
        with capturedLogs() as events:
            body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
            self.assertEqual(self.client.register(**body).status, 503)
        texts = [formatEvent(event) or "" for event in events]
        self.assertTrue(any("msc3823_account_suspension: true" in text for text in texts), texts)
        self.later()
        self.assertTrue(self.is_suspended())

    def test_others(self) -> None:
        """Nobody is suspended whom an administrator makes, or approves."""
        for name, fields in (
            ("by-admin", {"by_admin": True}),
            ("admin", {"admin": True}),
            ("approved", {"approved": True}),
        ):
            self.make(name, **fields)
            self.assertFalse(self.is_suspended(name), name)
        self.make("vouched", bind_emails=("vouched@mail.example",))
        self.assertTrue(self.is_suspended("vouched"))

    def test_waiting(self) -> None:
        """Somebody whom a module has wait for approval is not suspended afterwards as well."""
        self.subsystem.hooks.spam.register("m", lambda *asked: Verdict.NEEDS_APPROVAL)
        self.make("alice")
        self.assertFalse(self.is_suspended())

    def test_address(self) -> None:
        """With ``or_with_address`` a validated address is enough, and one that somebody vouches
        for is not."""
        threepids = (Threepid("email", "alice@mail.example", 5),)
        self.make("bob", threepids=threepids)
        self.assertTrue(self.is_suspended("bob"))
        self.restart(**suspending(or_with_address=True))
        self.make("carol", threepids=(Threepid("msisdn", "4915", 5),))
        self.assertFalse(self.is_suspended("carol"))
        self.make("dave", bind_emails=("dave@mail.example",))
        self.assertTrue(self.is_suspended("dave"))

    def test_lost(self) -> None:
        """A homeserver that has lost the account is told again that it is suspended."""
        self.register()
        del self.double.users["alice"]
        self.assertEqual(self.log_in().status, 200)
        self.assertTrue(self.is_suspended())

    def test_notConfigured(self) -> None:
        """Without the option nobody is suspended, and nothing is asked."""
        self.restart(**OPTIONS)
        self.register()
        self.assertFalse(self.is_suspended())
        self.assertEqual(self.double.called("v1/suspend"), 0)


class ReleaseTests(NewcomerCase):
    def test_release(self) -> None:
        """A newcomer who is released may speak at once. A second release finds nothing to do, nor
        does one of somebody else."""
        self.register()
        self.register("bob")
        with capturedLogs() as events:
            self.assertTrue(self.release())
        texts = [formatEvent(event) for event in events]
        self.assertIn("@alice:test.example is no longer suspended", texts)
        self.assertEqual((self.is_suspended("alice"), self.is_suspended("bob")), (False, True))
        self.assertNothingWaits()
        for user_id in (ALICE, UserID("nobody", "test.example")):
            self.assertFalse(self.release(user_id))
        self.assertEqual(self.double.called("v1/suspend"), 3)

    def test_approved(self) -> None:
        """Whoever approves a suspended newcomer, in whatever way, releases them; the audit log says
        who."""
        self.restart(**{**self.options, "regsys": {**self.options["regsys"], "audit": AUDIT}})
        self.register()
        self.change("DELETE FROM audit")
        for released in (True, False):
            decided = self.wait(self.subsystem.approvals.approve(ALICE, CLI))
            self.settle()
            self.assertEqual((decided.released, decided.is_new), (released, False))
        self.assertFalse(self.is_suspended())
        entries = self.rows("SELECT what, user_id, actor FROM audit")
        self.assertEqual(entries, [("released", str(ALICE), CLI)])

    def test_away(self) -> None:
        """If the homeserver is away, the job goes on until it is back."""
        self.register()
        self.double.faults = {"v1/suspend": [HANG_UP] * 2}
        self.assertTrue(self.release())
        self.assertTrue(self.is_suspended())
        for _ in range(2):
            self.later()
        self.assertFalse(self.is_suspended())

    def test_unfinished(self) -> None:
        """A release that comes while the account is still being made there waits for that: else the
        account would be suspended after it."""
        self.double.faults = {"v1/suspend": [HANG_UP, HANG_UP]}
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
        self.assertEqual(self.client.register(**body).status, 503)
        self.failed_jobs.flush()
        self.wait(self.newcomers.release(ALICE, CLI))
        self.assertEqual(len(self.rows("SELECT 1 FROM newcomers")), 1)
        for _ in range(2):
            self.later()
        self.assertFalse(self.is_suspended())
        self.assertNothingWaits()

    def test_somebodyElses(self) -> None:
        """Whom an administrator has suspended there later stays so, whatever still asks for a
        release."""
        self.restart(**suspending(after="1h", or_with_address=True))
        self.register()
        self.release()
        self.double.users["alice"].suspended = True
        self.assertFalse(self.release())
        self.add_address("alice@mail.example")
        self.clock.advance(2 * HOUR_S)
        self.sweep()
        self.assertTrue(self.double.users["alice"].suspended)

    def test_time(self) -> None:
        """With ``after`` newcomers are released by time alone, and not before."""
        self.restart(**suspending(after="1h"))
        self.register()
        self.clock.advance(HOUR_S / 2)
        self.register("bob")
        self.clock.advance(HOUR_S / 2 - 1)
        self.assertEqual(self.wait(self.newcomers.delete_expired(self.now_ms, 500)), 0)
        self.clock.advance(1)
        self.sweep()
        self.assertEqual((self.is_suspended("alice"), self.is_suspended("bob")), (False, True))

    def test_notByTime(self) -> None:
        """Without ``after`` they wait for good."""
        self.register()
        self.clock.advance(1000 * HOUR_S)
        self.sweep()
        self.assertTrue(self.is_suspended())

    def test_housekeeping(self) -> None:
        """Housekeeping looks for them."""
        self.assertIn(self.newcomers, self.subsystem._housekeeping._stores)

    def test_switchedOff(self) -> None:
        """If the option is taken away, everybody is released."""
        self.register()
        self.restart(**OPTIONS)
        self.sweep()
        self.assertFalse(self.is_suspended())

    def test_deactivated(self) -> None:
        """Nobody is released who has left."""
        self.register()
        self.wait(self.newcomers.release(UserID("nobody", "test.example"), CLI))
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.settle()
        self.assertEqual(self.rows("SELECT * FROM newcomers"), [])
        self.assertFalse(self.release())

    def test_undone(self) -> None:
        """An account that is undone, as its name is somebody's there, is no newcomer."""
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}

        def taken(call: str) -> None:
            if call == "provision_user":
                self.double.users.setdefault("alice", User())

        self.make("x")
        self.double.on_call = taken
        self.assertRefused(self.client.register(**body), 400, "M_USER_IN_USE")
        self.assertEqual(self.rows("SELECT user_id FROM newcomers"), [("@x:test.example",)])

    # --- Addresses -------------------------------------------------------------------------

    def add_address(self, address: str) -> None:
        """Validate it, and add it to the account, as its user."""
        store = ValidationStore(self.database)
        new = wanted("sid", address=address, now_ms=self.now_ms, purpose=MailPurpose.ADD_THREEPID)
        self.wait(store.begin(new))
        self.wait(store.confirm("sid", self.now_ms))
        token = self.log_in().json["access_token"]
        path, body = f"{V3}/account/3pid/add", {"sid": "sid", "client_secret": "secret"}
        session = self.client.post(path, body, token=token).json["session"]
        auth = {**PASSWORD_AUTH, "session": session}
        answer = self.client.post(path, {**body, "auth": auth}, token=token)
        self.assertEqual(answer.status, 200, answer)
        self.change("DELETE FROM jobs WHERE kind = 'mail'")
        self.settle()

    def test_address(self) -> None:
        """With ``or_with_address`` a newcomer is released by the address that they add."""
        self.restart(**suspending(or_with_address=True), **MAILS)
        self.register()
        self.assertTrue(self.is_suspended())
        self.add_address("alice@mail.example")
        self.assertFalse(self.is_suspended())

    def test_notByAddress(self) -> None:
        """Without it an address changes nothing."""
        self.restart(**self.options, **MAILS)
        self.register()
        self.add_address("alice@mail.example")
        self.assertTrue(self.is_suspended())


class RoomTests(NewcomerCase):
    """A suspended user cannot join a room, so newcomers join theirs when they are released."""

    def setUp(self) -> None:
        self.lobby = MemoryRoom(room_id="!lobby:test.example", public=True)
        self.there = MemoryRooms()
        self.there.add(ROOM, self.lobby)
        super().setUp()

    def system(self, **options: Any) -> None:
        super().system(**{"rooms": self.there, "auto_join_rooms": [ROOM], **options})

    def test_released(self) -> None:
        self.register()
        self.settle()
        self.assertEqual((self.lobby.members, self.rows("SELECT kind FROM jobs")), (set(), []))
        self.release()
        self.assertEqual(self.lobby.members, {ALICE})
        self.assertNothingWaits()

    def test_policies(self) -> None:
        """Whoever has to accept a policy first, joins when both has happened, in either order."""
        folder = write_pages(Path(self.mktemp()), "1.0")
        self.restart(**user_consent(folder))
        for name, steps in (("alice", "cr"), ("bob", "rc")):
            user_id = UserID(name, "test.example")
            self.make(name)
            for step in steps:
                self.assertNotIn(user_id, self.lobby.members)
                if step == "r":
                    self.release(user_id)
                else:
                    self.wait(self.subsystem.consents.record(user_id, {"privacy_policy": "1.0"}))
                    self.settle()
            self.clock.advance(901)
            self.later()
            self.assertIn(user_id, self.lobby.members)
        self.assertNothingWaits()
