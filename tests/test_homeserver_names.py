"""Names that the homeserver beside regsys has already cannot be registered here (contract B1.7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attr
from twisted.internet.defer import Deferred

from regsys.errors import UsernameTaken
from regsys.model import Registration, Secret
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3, Answer
from tests.test_homeserver_beside import BesideCase

ALICE, BOB = "@alice:test.example", "@bob:test.example"
BODY = {"username": "alice", "password": PASSWORD}


class NameTests(BesideCase):
    def setUp(self) -> None:
        super().setUp()
        self.double.profiles[ALICE] = "Alice, who is somebody else"

    def ask(self, path: str = "register", **body: Any) -> Answer:
        """One request, and the jobs that it brings."""
        answer = self.client.post(f"{V3}/{path}", body)
        self.settle()
        return answer

    def available(self, name: str) -> Answer:
        return self.client.get(f"{V3}/register/available?username={name}")

    def asked(self) -> int:
        return self.double.called("whoami")

    def test_strangers(self) -> None:
        """A client cannot get the name, in whatever way; and no job acts for its user."""
        before = self.counts()
        self.assertRefused(self.ask(**BODY), 400, "M_USER_IN_USE")
        self.assertRefused(self.ask(**BODY, auth=DUMMY), 400, "M_USER_IN_USE")
        self.assertRefused(self.ask(**{**BODY, "username": "ALICE"}), 400, "M_USER_IN_USE")
        self.assertRefused(self.available("alice"), 400, "M_USER_IN_USE")
        self.assertEqual(self.counts(), before)
        self.assertEqual({name for name, _ in self.double.calls}, {"whoami"})
        self.assertEqual(self.double.profiles, {ALICE: "Alice, who is somebody else"})

    def test_free(self) -> None:
        """Any other name is free, for one question in each request."""
        self.assertEqual(self.available("bob").json, {"available": True})
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.ask(**{**BODY, "username": "bob"}, auth=DUMMY).status, 200)
        self.assertEqual(self.asked(), 2)
        self.settle()
        self.assertEqual(self.double.profiles[BOB], "bob")

    def test_refusedBeforeAsking(self) -> None:
        """A name that is refused anyhow, or was asked for before, costs the homeserver nothing."""
        for name in ("_x", "Ü", "42", "x" * 300):
            self.assertEqual(self.ask(username=name, password=PASSWORD).status, 400)
        self.assertEqual(self.asked(), 0)

    def test_inhibited(self) -> None:
        """If taken names are not reported early, only the completing request asks."""
        self.system(inhibit_user_in_use_error=True)
        challenge = self.ask(**BODY)
        self.assertEqual((challenge.status, self.asked()), (401, 0))
        auth = {**DUMMY, "session": challenge.json["session"]}
        self.assertRefused(self.ask(auth=auth), 400, "M_USER_IN_USE")
        self.assertEqual(self.counts()["users"], 0)

    def test_away(self) -> None:
        """While the homeserver does not answer, no registration succeeds, nothing is made, and the
        session goes on when it does."""
        session = self.ask(**{**BODY, "username": "bob"}).json["session"]
        for fault in ("500", "hang-up", "garbage", "429"):
            self.double.faults["whoami"] = [fault] * 2
            for auth in (DUMMY, {**DUMMY, "session": session}):
                answer = self.ask(**{**BODY, "username": "bob"}, auth=auth)
                self.assertRefused(answer, 503, "M_UNKNOWN", fault)
                self.assertIn("retry-after", answer.headers)
        self.assertEqual((self.counts()["users"], self.counts()["uia_sessions"]), (0, 1))
        self.assertEqual(self.ask(auth={**DUMMY, "session": session}).status, 200)

    def test_ownAccount(self) -> None:
        """An account that our own job made there is not foreign: a retry of the request that made
        it is answered as before."""
        session = self.ask(**{**BODY, "username": "bob"}).json["session"]
        body = {**BODY, "username": "bob", "auth": {**DUMMY, "session": session}}
        first = self.ask(**body)
        self.settle()
        self.assertIn(BOB, self.double.profiles)
        again = self.ask(**body)
        self.assertEqual((again.status, again.json), (200, first.json))
        self.assertRefused(self.ask(**{**BODY, "username": "bob"}), 400, "M_USER_IN_USE")

    def test_numbers(self) -> None:
        """Generated names skip the numbers that it has."""
        self.system(allow_guest_access=True)
        self.double.profiles.update({f"@{number}:test.example": None for number in (1, 2, 4)})
        self.assertEqual(self.guest()["user_id"], "@3:test.example")
        answer = self.ask(password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.json["user_id"], "@5:test.example")

    def test_upgrade(self) -> None:
        """A guest keeps its own number, although the homeserver has it from us."""
        self.system(allow_guest_access=True)
        guest = self.guest()
        self.settle()
        self.assertIn(guest["user_id"], self.double.profiles)
        answer = self.ask(
            username="1",
            password=PASSWORD,
            guest_access_token=guest["access_token"],
            auth=DUMMY,
        )
        self.assertEqual((answer.status, answer.json["user_id"]), (200, guest["user_id"]), answer)

    def test_administrators(self) -> None:
        """Even an administrator takes a name over only with an explicit option."""
        wanted = Registration(key="k", localpart="alice", password=Secret("x"), by_admin=True)
        register = self.subsystem.handler.register_user
        self.failureResultOf(Deferred.fromCoroutine(register(wanted)), UsernameTaken)
        self.assertEqual(self.counts()["users"], 0)
        self.wait(register(attr.evolve(wanted, takes_over=True)))
        self.assertEqual(self.counts()["users"], 1)

    def test_ghosts(self) -> None:
        """An application service gets no name that the homeserver has, except in its own exclusive
        namespace: such a user is its own there as well."""
        services = [{"regex": r"@irc_.*", "exclusive": True}, {"regex": "@.*", "exclusive": False}]
        folder = Path(self.mktemp())
        folder.write_text(
            json.dumps(
                {
                    "id": "irc",
                    "url": None,
                    "as_token": "irc",
                    "hs_token": "x",
                    "sender_localpart": "ircbot",
                    "namespaces": {"users": services},
                }
            )
        )
        self.system(app_service_config_files=[str(folder)])
        self.double.profiles["@irc_bob:test.example"] = None
        for name, status in (("alice", 400), ("irc_bob", 200), ("carol", 200)):
            body = {"type": "m.login.application_service", "username": name}
            answer = self.client.post(f"{V3}/register", body, token="irc")
            self.assertEqual(answer.status, status, answer)
