"""Which accounts a homeserver has, asked without making any."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from regsys.errors import Unavailable
from regsys.outbound.homeserver_accounts import ASK_S, LOG_EVERY_S, HomeserverAccounts
from tests.doubles.homeserver import AS_TOKEN, FAULTS, STALL
from tests.outbound.homeserver_case import HomeserverCase, asking, user

ALICE = user("alice")


class HomeserverAccountsTests(HomeserverCase):
    def setUp(self) -> None:
        super().setUp()
        self.accounts = HomeserverAccounts(self.homeserver)

    def exists(self, localpart: str) -> Any:
        return self.wait(self.accounts.exists(user(localpart)))

    def unavailable(self, asked: Deferred[Any]) -> Unavailable:
        error = self.failureResultOf(asked, Unavailable).value
        self.assertEqual((error.status, error.errcode), (503, "M_UNKNOWN"))
        return error

    def test_asked(self) -> None:
        """It has its accounts, in whatever state, and the question makes none."""
        for name in ("alice", "a/l=i.c+e", "ümläut %2F?#", "42"):
            self.assertFalse(self.exists(name), name)
            self.double.profiles[str(user(name))] = None
            self.assertTrue(self.exists(name), name)
        self.assertTrue(self.exists("regsys"))
        self.assertEqual({name for name, _ in self.double.calls}, {"whoami"})

    def test_deactivated(self) -> None:
        """A deactivated account exists, whichever answer says so."""
        self.double.faults["whoami"] = ["deactivated"]
        self.assertTrue(self.exists("alice"))

    def test_noAnswer(self) -> None:
        """A meaningless answer is neither yes nor no."""
        for fault in sorted({*FAULTS} - {"deactivated", "echo", "odd-refusal"}):
            self.double.faults["whoami"] = [fault]
            self.unavailable(self.begin(self.accounts.exists(ALICE)))
        self.double.faults["whoami"] = ["odd-refusal"]
        self.unavailable(self.begin(self.accounts.exists(ALICE)))

    def test_stalls(self) -> None:
        """A stalled request is given up in time for its caller."""
        self.double.faults["whoami"] = [STALL]
        asked = self.begin(self.accounts.exists(ALICE))
        self.clock.advance(ASK_S - 0.1)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.unavailable(asked)

    def test_wrongToken(self) -> None:
        """If the token is unknown there, names are not free."""
        self.accounts = HomeserverAccounts(asking(self.double, self.clock, "another"))
        self.homeserver = self.accounts.homeserver
        self.unavailable(self.begin(self.accounts.exists(ALICE)))

    def test_answersForAnother(self) -> None:
        """A server that answers for the service instead of the user does not make a name taken."""
        self.double._who = lambda request, acting: self.double.sender  # type: ignore[method-assign]
        self.unavailable(self.begin(self.accounts.exists(ALICE)))

    def test_reported(self) -> None:
        """The log says why no user can register, at intervals, and never contains the token."""
        self.double.faults["whoami"] = ["500"] * 4
        with capturedLogs() as events:
            for _ in range(3):
                self.begin(self.accounts.exists(ALICE)).addErrback(lambda _: None)
            self.assertEqual(len(events), 1)
            self.clock.advance(LOG_EVERY_S)
            self.begin(self.accounts.exists(ALICE)).addErrback(lambda _: None)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error] * 2)
        self.assertIn("500 M_UNKNOWN", events[0]["reason"])
        self.assertNotIn(AS_TOKEN, repr(events))
