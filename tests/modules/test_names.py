"""The names that modules choose for new accounts, and what they are told for it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from regsys.client_api.chosen_names import uia_results
from tests.support.case import DUMMY
from tests.support.client import V3
from tests.support.modules import PASSWORD, ModuleCase
from tests.support.validations import ALICE

ALICE_ID = "@alice:test.example"


class NamingTests(ModuleCase):
    def names(self) -> Any:
        return self.rows("SELECT user_id, display_name FROM profiles ORDER BY user_id")

    def test_firstNameWins(self) -> None:
        """The first text is the name, in lower case, whatever the client asked for; the display
        name likewise; None leaves it to the next, and at last to the client."""
        self.load(
            self.module(
                get_username_for_registration=self.recording("a"),
                get_displayname_for_registration=self.recording("b", "Alice Liddell"),
            ),
            self.module(
                get_username_for_registration=self.recording("c", "Chosen"),
                get_displayname_for_registration=self.recording("d", "Not asked"),
            ),
            self.module(get_username_for_registration=self.recording("e", "not-asked")),
        )
        answer = self.register("asked")
        self.assertEqual(answer["user_id"], "@chosen:test.example")
        self.assertEqual([call[0] for call in self.calls], ["a", "c", "b"])
        self.assertEqual(self.names(), [("@chosen:test.example", "Alice Liddell")])
        self.load(self.module(get_displayname_for_registration=self.recording("f")))
        self.register("bob")
        self.assertEqual(self.names()[0], ("@bob:test.example", "bob"))

    def test_badNames(self) -> None:
        """A chosen name obeys the rules of all names."""
        self.register("taken")
        for name, errcode in (
            ("taken", "M_USER_IN_USE"),
            ("TAKEN", "M_USER_IN_USE"),
            ("a b", "M_INVALID_USERNAME"),
            ("", "M_INVALID_USERNAME"),
            ("1234", "M_INVALID_USERNAME"),
        ):
            self.load(self.module(get_username_for_registration=self.recording("?", name)))
            answer = self.client.register(username="bob", password=PASSWORD, auth=DUMMY)
            self.assertRefused(answer, 400, errcode, name)
        for odd in ("x" * 257, "\0", "\ud800"):
            self.load(self.module(get_displayname_for_registration=self.recording("?", odd)))
            answer = self.client.register(username="bob", password=PASSWORD, auth=DUMMY)
            self.assertEqual(answer.status, 503)
        self.assertEqual(self.counts()["users"], 1)

    def test_ownName(self) -> None:
        """The name that the client asks for must be free, though a module will choose another."""
        self.register("taken")
        self.load(self.module(get_username_for_registration=self.recording("?", "chosen")))
        answer = self.client.register(username="taken", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        self.assertEqual(self.calls, [])

    def test_whatIsAsked(self) -> None:
        """Identifiers, the token's text, true for another stage; all that the client sent in its
        first request, unknown keys too, but never a secret, nor anything of it in the session."""
        path = self.module(get_username_for_registration=self.recording("?"))
        self.load(path, registration_requires_token=True)
        self.wait(self.subsystem.registration_tokens.create(token="t", settings={}))
        sid = self.validate_address()
        sent = {
            "username": "Alice",
            "x_custom": {"deep": [1, None]},
            "device_id": "D",
            "inhibit_login": False,
            "nothing": None,
        }
        secrets = {"password": PASSWORD, "auth": {}}
        session = self.challenge(**sent, **secrets)["session"]
        self.present(session, sid)
        token = {"type": "m.login.registration_token", "token": "t"}
        answer = self.go_on(session, token)
        self.assertEqual(answer.status, 200, answer)
        ((_, results, params),) = self.calls
        validated = results["m.login.email.identity"].pop("validated_at")
        self.assertIsInstance(validated, int)
        self.assertEqual(
            results,
            {
                "m.login.email.identity": {"medium": "email", "address": ALICE},
                "m.login.registration_token": "t",
            },
        )
        del sent["nothing"]
        self.assertEqual(params, sent)
        self.assertNotIn(PASSWORD, str(self.rows("SELECT * FROM uia_sessions")))
        self.assertEqual(answer.json["device_id"], "D")

    def test_oneRequest(self) -> None:
        """A registration without a session has its parameters, too; each module has its own."""

        def spoiling(results: Any, params: Any) -> None:
            self.calls.append((dict(results), dict(params)))
            results.clear()
            params["username"] = "mallory"

        self.load(*(self.module(get_username_for_registration=spoiling) for _ in range(2)))
        self.assertEqual(self.register("alice", hint="x")["user_id"], ALICE_ID)
        expected = ({"m.login.dummy": True}, {"username": "alice", "hint": "x"})
        self.assertEqual(self.calls, [expected, expected])

    def test_limit(self) -> None:
        """With a naming callback the parameters may have 8 KiB; without one, unknown ones do not
        count, and are not kept."""
        long = {"hint": "x" * 8192}
        self.begin("alice", **long)
        self.assertEqual(self.rows("SELECT params FROM uia_sessions"), [('{"username": "alice"}',)])
        self.load(self.module(get_displayname_for_registration=self.recording("?")))
        answer = self.client.register(username="bob", password=PASSWORD, **long)
        self.assertRefused(answer, 413, "M_TOO_LARGE")
        self.begin("bob", hint="x" * 8000)

    def test_guestKeepsItsName(self) -> None:
        """A guest who becomes a user is asked for no name."""
        guest = self.guest()
        self.load(self.module(get_username_for_registration=self.recording("?", "other")))
        name = guest["user_id"][1:].partition(":")[0]
        answer = self.register(name, guest_access_token=guest["access_token"])
        self.assertEqual((answer["user_id"], self.calls), (guest["user_id"], []))

    def test_repeated(self) -> None:
        """A session that is finished repeats its answer, though the module would now choose
        another name."""
        numbers = iter("12")
        self.load(self.module(get_username_for_registration=lambda *args: f"chosen{next(numbers)}"))
        session = self.begin("asked")
        first = self.go_on(session)
        self.assertEqual(first.json["user_id"], "@chosen1:test.example")
        self.assertEqual(self.go_on(session).json, first.json)

    def test_twoProcesses(self) -> None:
        """Two processes complete one session at once, and the module chooses another name in each:
        the account has one of them, and both clients get its login."""
        slow: Deferred[str] = Deferred()
        self.load(self.module(get_username_for_registration=lambda *args: slow))
        session = self.begin("asked")
        self.clock.advance(0)
        stage = {**DUMMY, "session": session}
        waiting = (self.client, self.client.start("POST", f"{V3}/register", {"auth": stage}))
        self.load(self.module(get_username_for_registration=self.recording("?", "second")))
        second = self.go_on(session)
        self.assertEqual(second.json["user_id"], "@second:test.example")
        slow.callback("first")
        client, started = waiting
        self.assertEqual(client.answer(started).json, second.json)
        self.assertEqual(self.counts()["users"], 1)

    def test_otherStages(self) -> None:
        """What another stage has found is no module's business."""
        stages = {"m.login.terms": {"privacy": "1"}, "org.example.own": "x", "m.login.dummy": True}
        self.assertEqual(uia_results(stages), dict.fromkeys(stages, True))
