"""``regsys: {hold_names: true}``: a name is its session's for ten minutes once it named it."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.internet.defer import Deferred

from regsys.errors import UsernameHeld
from regsys.model.uia import HOLD_MS
from regsys.testing import MemoryMails
from tests.support.case import DUMMY, PASSWORD, UIASessionCase
from tests.support.client import V3, Answer
from tests.threepids.test_names import NAMED
from tests.web.test_admin import SECRET, SharedSecretCase

HOLDING: Any = {"hold_names": True, "rc_availability": False}
OPEN: Any = {"enable_registration": True, "enable_registration_without_verification": True}


class HoldTests(UIASessionCase):
    options: ClassVar[Mapping[str, Any]] = {**OPEN, "regsys": HOLDING}

    def available(self, name: str = "alice", **query: str) -> Answer:
        more = "".join(f"&{key}={value}" for key, value in query.items())
        return self.client.get(f"{V3}/register/available?username={name}{more}")

    def asked(self, name: str = "alice", **more: Any) -> Answer:
        return self.client.register(username=name, password=PASSWORD, **more)

    def assertHeld(self, answer: Answer) -> None:
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        self.assertEqual(answer.json["error"], UsernameHeld.sentence)

    def test_held(self) -> None:
        """Nobody else begins or ends a registration of the name, in any case, or is told that it is
        free, and the handler refuses it; its own session completes, and is told that it is."""
        session = self.begin("Alice")
        for answer in (self.asked("ALICE"), self.asked(auth=DUMMY), self.available()):
            self.assertHeld(answer)
        handler = self.subsystem.handler
        for call in (handler.check_username("alice"), handler.register_user(localpart="alice")):
            self.failureResultOf(Deferred.fromCoroutine(call), UsernameHeld)
        self.assertEqual(self.counts()["uia_sessions"], 1)
        self.assertEqual(self.available(session=session).json, {"available": True})
        self.assertRegistered(self.go_on(session), "alice")
        self.assertEqual(self.asked().json["error"], "This user name is taken.")

    def test_otherSession(self) -> None:
        """A session that changes to a name that another holds is refused, and lives; what it held
        before is another's to have."""
        self.begin("alice")
        session = self.begin("bob")
        self.assertHeld(self.go_on(session, username="alice", password=PASSWORD))
        self.assertEqual(self.go_on(session, {}, username="carl", password=PASSWORD).status, 401)
        self.assertEqual(self.available("bob").status, 200)
        self.assertHeld(self.available("carl"))
        self.assertRegistered(self.go_on(session), "carl")

    def test_tenMinutes(self) -> None:
        """After ten minutes the name is anybody's, and not the session's again by naming it; if
        nobody wanted it the session completes."""
        sessions = [self.begin(name) for name in ("alice", "bob")]
        self.clock.advance(HOLD_MS / 1000 - 1)
        self.assertHeld(self.available())
        for session, name in zip(sessions, ("alice", "bob"), strict=True):
            self.go_on(session, {}, username=name, password=PASSWORD)
        self.clock.advance(1)
        self.register("alice")
        self.assertRefused(self.go_on(sessions[0]), 400, "M_USER_IN_USE")
        self.assertRegistered(self.go_on(sessions[1]), "bob")

    def test_administrator(self) -> None:
        """An administrator may have the name; the session is told so in the end."""
        session = self.begin("alice")
        handler = self.subsystem.handler
        self.wait(handler.register_user(localpart="alice", by_admin=True))
        answer = self.go_on(session)
        self.assertRefused(answer, 400, "M_USER_IN_USE")

    def test_silent(self) -> None:
        """With ``inhibit_user_in_use_error`` no challenge tells of a hold; the end does."""
        self.system(**OPEN, inhibit_user_in_use_error=True, regsys=HOLDING)
        first = self.begin("alice")
        bodies = [{**self.asked(name).json, "session": ""} for name in ("alice", "free")]
        self.assertEqual(bodies[0], bodies[1])
        self.assertEqual(self.available().json, {"available": True})
        second = self.begin("alice")
        self.assertEqual(self.go_on(second, {}, username="alice").status, 401)
        self.assertHeld(self.go_on(second))
        self.assertRegistered(self.go_on(first), "alice")

    def test_guest(self) -> None:
        """A guest's name is its own, and not held."""
        guest = self.guest()
        name = guest["user_id"].partition(":")[0][1:]
        session = self.begin(name, guest_access_token=guest["access_token"])
        self.assertEqual(self.held(), [])
        self.assertRegistered(self.go_on(session), name)

    def held(self) -> Any:
        sql = "SELECT held_name FROM uia_sessions WHERE held_name IS NOT NULL"
        return [tuple(row) for row in self.rows(sql)]

    def test_derived(self) -> None:
        """Where names are derived from addresses, the name that a client sends is not held."""
        mails = {
            "hooks": self.hooks(mails=MemoryMails()),
            "email": {"notif_from": "s@test.example"},
        }
        self.system(**mails, **NAMED, regsys=HOLDING)
        self.begin("alice")
        self.assertEqual(self.held(), [])

    def test_off(self) -> None:
        """Without the option nothing is held."""
        self.system(**OPEN, regsys={"rc_availability": False})
        self.begin("alice")
        self.assertEqual(self.held(), [])
        self.assertEqual(self.available().status, 200)
        self.register("alice")


class SharedSecretTests(SharedSecretCase):
    options: ClassVar[Mapping[str, Any]] = {
        **OPEN,
        "registration_shared_secret": SECRET,
        "regsys": HOLDING,
    }

    def test_overruled(self) -> None:
        """Whoever has the shared secret may have a name that is held."""
        self.challenge(username="alice", password=PASSWORD)
        answer = self.send({"username": "alice", "password": PASSWORD, "admin": False})
        self.assertEqual(answer.status, 200, answer)
