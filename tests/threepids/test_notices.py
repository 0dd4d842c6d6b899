"""Callbacks of modules on the addresses of a new account (contract B10.4)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from regsys.jobs import JobRunner
from regsys.model import Registration, UserID
from tests.support.case import DUMMY
from tests.support.due_jobs import run_due
from tests.support.validations import ALICE, EmailValidationCase

ALICE_ID = "@alice:test.example"
ADDED = ("added", ALICE_ID, "email", ALICE)


class NewAccountCase(EmailValidationCase):
    """``self.module_calls`` has the calls of a module's callbacks; the check returns
    ``self.objection``."""

    def setUp(self) -> None:
        super().setUp()
        self.module_calls: list[Any] = []
        self.objection: Any = None
        self.restart()

    def restart(self, **options: Any) -> None:
        """The same server, after a restart."""
        hooks = self.hooks(mails=self.mails)
        changes = hooks.threepid_changes
        changes.checks.register("m", lambda *args: self.recording_hook("check", *args))
        changes.additions.register("m", lambda *args: self.recording_hook("added", *args))
        self.system(database=self.database, hooks=hooks, **{**self.options, **options})

    def recording_hook(self, *what: Any) -> Any:
        self.module_calls.append((*what, self.counts()["users"]))
        return self.objection if what[0] == "check" else None


class NewAccountTests(NewAccountCase):
    def test_order(self) -> None:
        """A module is asked before the account exists, and told once it does; a replay of the
        answer calls no module."""
        session, sid = self.begin(), self.validate_address()
        for _ in range(2):
            self.assertRegistered(self.present(session, sid), "alice")
        self.assertEqual(
            self.module_calls, [("check", ALICE_ID, "email", ALICE, True, 0), (*ADDED, 1)]
        )
        self.assertEqual(self.counts()["jobs"], 0)

    def test_withoutAddress(self) -> None:
        """A registration without an address calls no module."""
        self.restart(registrations_require_3pid=[])
        self.assertRegistered(self.go_on(self.begin(), DUMMY), "alice")
        self.assertEqual(self.module_calls, [])

    def test_refused(self) -> None:
        """An objection refuses the registration in the module's words, before anything is written;
        the session lives on, and its validation stays valid."""
        session, sid = self.begin(), self.validate_address()
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
        self.assertEqual(self.module_calls[-1], (*ADDED, 1))

    def test_vouchedFor(self) -> None:
        """A vouched address belongs to the account as well: modules are asked and told."""
        registration = Registration(key="key", localpart="alice", bind_emails=(ALICE,))
        self.wait(self.subsystem.handler.register_user(registration))
        self.assertEqual(
            self.module_calls, [("check", ALICE_ID, "email", ALICE, True, 0), (*ADDED, 1)]
        )

    def test_drawnName(self) -> None:
        """If no name was asked for, the module is told the drawn name, which is the account's."""
        session = self.challenge(password="correct horse")["session"]
        answer = self.present(session, self.validate_address())
        self.assertEqual(answer.status, 200, answer)
        who = answer.json["user_id"]
        expected = [("check", who, "email", ALICE, True, 0), ("added", who, "email", ALICE, 1)]
        self.assertEqual(self.module_calls, expected)

    def test_crash(self) -> None:
        """A process that dies between the account and the notice has told no module; the next one
        does, and only then."""
        session, sid = self.begin(), self.validate_address()
        # It writes jobs, and never runs them.
        self.patch(JobRunner, "_start_held", lambda runner, jobs: None)
        self.restart()
        self.assertRegistered(self.present(session, sid), "alice")
        self.assertNotIn((*ADDED, 1), self.module_calls)
        self.restart()
        self.clock.advance(61)
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(self.module_calls.count((*ADDED, 1)), 1)
        self.assertEqual(self.rows("SELECT kind FROM jobs WHERE kind LIKE 'tell%'"), [])

    def test_lostMeanwhile(self) -> None:
        """No module is told of an address that the account has lost before the job ran."""
        session, sid = self.begin(), self.validate_address()
        self.patch(JobRunner, "_start_held", lambda runner, jobs: None)
        self.restart()
        self.assertRegistered(self.present(session, sid), "alice")
        self.wait(self.subsystem.handler.deactivated(UserID("alice", "test.example")))
        self.clock.advance(61)
        self.wait(run_due(self.subsystem.jobs))
        self.assertNotIn((*ADDED, 1), self.module_calls)
        self.assertEqual(self.rows("SELECT kind FROM jobs WHERE kind LIKE 'tell%'"), [])

    def test_trouble(self) -> None:
        """A module that raises, or never ends, delays neither the registration nor the other
        modules."""

        def broken(*args: Any) -> None:
            raise RuntimeError("broken")

        additions = self.subsystem.hooks.threepid_changes.additions
        additions.register("broken", broken)
        additions.register("hanging", lambda *args: Deferred())
        additions.register("sound", lambda *args: self.module_calls.append("sound"))
        self.assertRegistered(self.present(self.begin(), self.validate_address()), "alice")
        self.assertEqual(self.module_calls[-1], "sound")
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.counts()["jobs"], 0)
