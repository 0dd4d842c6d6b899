"""Requests to a homeserver as an application service: for which user, once, and with which
errors."""

from __future__ import annotations

import attr

from regsys.outbound.homeserver import (
    AT_ONCE,
    DEADLINE_S,
    MAX_KNOWN,
    HomeserverRefused,
    HomeserverSilent,
)
from tests.doubles.homeserver import FAULTS, FORGET, STALL
from tests.outbound.homeserver_case import HomeserverCase, asking, user

ALICE = user("alice")
URL = "http://hs.example/_matrix/client/v3/directory/room/x"
NAME = ("v3", "profile", str(ALICE), "displayname")
# Errors in its answers, as an operator reads them.
ERRORS = {
    "500": "500 M_UNKNOWN",
    "502": "502",
    "429": "rate_limited: false",
    "consent": "M_CONSENT_NOT_GIVEN",
    "echo": "403 M_FORBIDDEN",
    "deactivated": "403 M_USER_DEACTIVATED",
    "garbage": "not JSON",
    "list": "no object",
    "null": "no object",
    "huge": "longer than",
    "redirect": "302",
    "odd-refusal": "403",
    "hang-up": "connection failed",
}


class HomeserverTests(HomeserverCase):
    def test_introduces(self) -> None:
        """A user who acts has an account there first, made without a login, and once."""
        for _ in range(2):
            answer = self.wait(self.homeserver.act(ALICE, "GET", NAME))
            self.assertEqual(answer, {"displayname": "alice"})
        calls = [("register", None), ("profile", str(ALICE)), ("profile", str(ALICE))]
        self.assertEqual(self.double.calls, calls)

    def test_known(self) -> None:
        """An existing account is accepted, whatever its origin."""
        self.double.profiles[str(ALICE)] = "Alice"
        self.assertEqual(
            self.wait(self.homeserver.act(ALICE, "GET", NAME)), {"displayname": "Alice"}
        )

    def test_together(self) -> None:
        """The jobs of a new user begin together: one makes the account, the others wait. If it
        fails, one of the waiting jobs makes the account in its turn."""
        self.double.faults["register"] = [STALL]
        first, *others = [self.begin(self.homeserver.introduce(ALICE)) for _ in range(4)]
        self.assertEqual(self.double.called("register"), 1)
        for waiting in (first, *others):
            self.assertNoResult(waiting)
        self.clock.advance(DEADLINE_S)
        self.homeserver.http.treq.flush()  # type: ignore[attr-defined]
        self.failureResultOf(first)
        for waiting in others:
            self.successResultOf(waiting)
        self.assertEqual(self.double.called("register"), 2)

    def test_forgotten(self) -> None:
        """After a refusal the user is registered there again: the homeserver may have been set up
        anew."""
        self.wait(self.homeserver.introduce(ALICE))
        self.double.profiles.clear()
        self.assertIn("M_FORBIDDEN", self.refused(self.homeserver.act(ALICE, "GET", NAME)))
        self.wait(self.homeserver.act(ALICE, "GET", NAME))

    def test_remembersFew(self) -> None:
        """The known users are remembered up to a bound, the latest of them."""
        for number in range(MAX_KNOWN + 1):
            self.homeserver._known[user(str(number))] = None
        self.wait(self.homeserver.introduce(ALICE))
        self.assertEqual(len(self.homeserver._known), MAX_KNOWN + 1)
        self.assertIn(ALICE, self.homeserver._known)
        self.assertNotIn(user("0"), self.homeserver._known)

    def test_lostAnswer(self) -> None:
        """An account whose creation lost its answer is found the next time."""
        self.double.faults["register"] = [FORGET]
        self.refused(self.homeserver.introduce(ALICE))
        self.assertIn(str(ALICE), self.double.profiles)
        self.wait(self.homeserver.introduce(ALICE))

    def test_historicalNames(self) -> None:
        """Any name is sent unchanged, in the body, in a query and in a path."""
        for name in ("al/ice", "A+b=c&d", "ümläut %2F?#", "..", "=5falice", "a b@c"):
            path = ("v3", "profile", str(user(name)), "displayname")
            answer = self.wait(self.homeserver.act(user(name), "GET", path))
            self.assertEqual(answer, {"displayname": name})
            self.assertEqual(self.double.calls[-1], ("profile", f"@{name}:test.example"))

    def test_oneLine(self) -> None:
        """The error for the operator is one line, whatever a name contains."""
        name = "a\nb\x1b[2J"
        self.double.faults["register"] = ["500"]
        self.assertTrue(self.refused(self.homeserver.introduce(user(name))).isprintable())

    def test_faults(self) -> None:
        """Each fault has an error that says what to do, and the next request works."""
        self.wait(self.homeserver.introduce(ALICE))
        self.assertEqual(set(ERRORS), set(FAULTS))
        for fault in FAULTS:
            self.double.faults["profile"] = [fault]
            text = self.refused(self.homeserver.act(ALICE, "GET", NAME))
            self.assertIn(ERRORS[fault], text)
            self.assertIn("http://hs.example", text)
            self.wait(self.homeserver.act(ALICE, "GET", NAME))

    def test_setUpWrong(self) -> None:
        """A user outside of our namespace, and a token that is unknown there, are reported with
        what to correct where."""
        self.double.namespace = r"@_bot_.*"
        text = self.refused(self.homeserver.introduce(ALICE))
        for word in ("M_EXCLUSIVE", str(ALICE), "namespaces.users"):
            self.assertIn(word, text)
        self.homeserver = asking(self.double, self.clock, "another")
        text = self.refused(self.homeserver.introduce(ALICE))
        for word in ("M_UNKNOWN_TOKEN", "regsys.homeserver"):
            self.assertIn(word, text)
        self.assertNotIn("another:", text)

    def test_ownPlaces(self) -> None:
        """A bounded number of requests run at once, and the others wait for their turn; requests to
        other servers have places of their own."""
        path = ("v3", "directory", "room", "#a:b")
        self.double.faults["find"] = [STALL] * AT_ONCE
        asked = [self.begin(self.homeserver.ask("GET", path)) for _ in range(AT_ONCE + 1)]
        self.assertEqual(self.double.called("find"), AT_ONCE)
        self.wait(attr.evolve(self.homeserver.http).get(URL, {}))
        self.clock.advance(DEADLINE_S)
        for stalled in asked[:AT_ONCE]:
            self.failureResultOf(stalled, HomeserverSilent)
        self.homeserver.http.treq.flush()  # type: ignore[attr-defined]
        refusal = self.failureResultOf(asked[-1], HomeserverRefused).value
        self.assertIn("M_NOT_FOUND", str(refusal))

    def test_sender(self) -> None:
        """Without a user to act for, the service itself asks."""
        self.refused(self.homeserver.ask("GET", ("v3", "directory", "room", "#a:b")))
        self.assertEqual(self.double.calls, [("find", None)])
