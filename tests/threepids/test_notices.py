"""What modules have to say of the addresses that a new account has (contract B10.4)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from regsys.jobs import JobRunner
from regsys.model import Registration, UserID
from tests.support.case import DUMMY
from tests.support.validations import ALICE, ProofCase

HER = "@alice:test.example"
ADDED = ("added", HER, "email", ALICE)


class NewAccountCase(ProofCase):
    """``self.heard`` is what a module has heard, which answers with ``self.objection``."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Any] = []
        self.objection: Any = None
        self.over_again()

    def over_again(self, **options: Any) -> None:
        """The same server, after a restart."""
        hooks = self.hooks(mails=self.mails)
        changes = hooks.threepid_changes
        changes.checks.register("m", lambda *args: self.hear("check", *args))
        changes.additions.register("m", lambda *args: self.hear("added", *args))
        self.system(database=self.database, hooks=hooks, **{**self.options, **options})

    def hear(self, *what: Any) -> Any:
        self.heard.append((*what, self.counts()["users"]))
        return self.objection if what[0] == "check" else None


class NewAccountTests(NewAccountCase):
    def test_order(self) -> None:
        """A module is asked before the account exists, and told once it does; the same answer
        once more asks and tells nobody."""
        session, sid = self.begin(), self.proven()
        for _ in range(2):
            self.assertRegistered(self.present(session, sid), "alice")
        self.assertEqual(self.heard, [("check", HER, "email", ALICE, True, 0), (*ADDED, 1)])
        self.assertEqual(self.counts()["jobs"], 0)

    def test_withoutAddress(self) -> None:
        """Who registers without an address is not talked of."""
        self.over_again(registrations_require_3pid=[])
        self.assertRegistered(self.go_on(self.begin(), DUMMY), "alice")
        self.assertEqual(self.heard, [])

    def test_refused(self) -> None:
        """An objection refuses the registration in the module's words, before anything is
        written; the session lives on, and its proof is as good as before."""
        session, sid = self.begin(), self.proven()
        for objection, errcode in (
            ((None, "Not on Sundays."), "M_THREEPID_DENIED"),
            (("ORG.EXAMPLE", "Not on Sundays."), "ORG.EXAMPLE"),
        ):
            self.objection = objection
            answer = self.present(session, sid)
            self.assertRefused(answer, 403, errcode)
            self.assertEqual(answer.json["error"], "Not on Sundays.")
        left = self.counts()
        self.assertEqual((left["users"], left["outcomes"], left["jobs"]), (0, 0, 0))
        self.objection = "nonsense"
        self.assertRefused(self.present(session, sid), 503, "M_UNKNOWN")
        self.objection = None
        self.assertRegistered(self.present(session, sid), "alice")
        self.assertEqual(self.heard[-1], (*ADDED, 1))

    def test_vouchedFor(self) -> None:
        """An address that somebody vouches for is the account's as well: asked about, and told."""
        registration = Registration(key="key", localpart="alice", bind_emails=(ALICE,))
        self.wait(self.subsystem.handler.register_user(registration))
        self.assertEqual(self.heard, [("check", HER, "email", ALICE, True, 0), (*ADDED, 1)])

    def test_drawnName(self) -> None:
        """Where no name was asked for, the module is told the one that was drawn: it is the
        account's."""
        session = self.challenge(password="correct horse")["session"]
        answer = self.present(session, self.proven())
        self.assertEqual(answer.status, 200, answer)
        who = answer.json["user_id"]
        expected = [("check", who, "email", ALICE, True, 0), ("added", who, "email", ALICE, 1)]
        self.assertEqual(self.heard, expected)

    def test_crash(self) -> None:
        """A process that dies between the account and the notice has told nobody; the next one
        does, and only then."""
        session, sid = self.begin(), self.proven()
        # It writes jobs, and never gets to run them.
        self.patch(JobRunner, "_start_held", lambda runner, jobs: None)
        self.over_again()
        self.assertRegistered(self.present(session, sid), "alice")
        self.assertNotIn((*ADDED, 1), self.heard)
        self.over_again()
        self.clock.advance(61)
        self.wait(self.subsystem.jobs.run_due())
        self.assertEqual(self.heard.count((*ADDED, 1)), 1)
        self.assertEqual(self.rows("SELECT kind FROM jobs WHERE kind LIKE 'tell%'"), [])

    def test_lostMeanwhile(self) -> None:
        """Nobody is told that an account has what it has lost before a process came to tell."""
        session, sid = self.begin(), self.proven()
        self.patch(JobRunner, "_start_held", lambda runner, jobs: None)
        self.over_again()
        self.assertRegistered(self.present(session, sid), "alice")
        self.wait(self.subsystem.handler.deactivated(UserID("alice", "test.example")))
        self.clock.advance(61)
        self.wait(self.subsystem.jobs.run_due())
        self.assertNotIn((*ADDED, 1), self.heard)
        self.assertEqual(self.rows("SELECT kind FROM jobs WHERE kind LIKE 'tell%'"), [])

    def test_trouble(self) -> None:
        """A module that raises, or never ends, holds up neither who registers nor the others."""

        def broken(*args: Any) -> None:
            raise RuntimeError("broken")

        additions = self.subsystem.hooks.threepid_changes.additions
        additions.register("broken", broken)
        additions.register("hanging", lambda *args: Deferred())
        additions.register("sound", lambda *args: self.heard.append("sound"))
        self.assertRegistered(self.present(self.begin(), self.proven()), "alice")
        self.assertEqual(self.heard[-1], "sound")
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.counts()["jobs"], 0)
