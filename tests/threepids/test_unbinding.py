"""What is taken back from identity servers, also from those that are away (B7.10, B10.4)."""

from __future__ import annotations

from twisted.logger import capturedLogs

from regsys.interfaces import IAccountData
from regsys.model import JOB_LONGEST_WAIT_MS, UserID
from regsys.testing import provides
from regsys.threepids.identity_server_unbinding import GIVE_UP_MS
from tests.support.bindings import HER, NO_SUPPORT, OTHER, SERVER, SUCCESS, BindingCase, Signer
from tests.support.validations import ALICE

AWAY = f"unbind=500..{ALICE}"


class DeleteTests(BindingCase):
    """``/delete`` and a deactivation."""

    def test_provides(self) -> None:
        """It is what is told of accounts that are no more."""
        provides(IAccountData, self.subsystem.handler.deactivation.parts[-1])

    def test_unbound(self) -> None:
        """A deleted address is unbound wherever it was bound."""
        self.added(self.alice)
        for name in (SERVER, "second.example"):
            self.double.bound.clear()
            self.bound(id_server=name)
        self.over_again(signer=Signer())
        self.listen()
        self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual((self.held(self.alice), self.remembered), ([], []))
        self.bound()
        self.assertUnbound(self.delete(self.alice), SUCCESS)
        self.assertEqual(self.rows("SELECT * FROM jobs WHERE kind = 'unbind_threepid'"), [])

    def test_away(self) -> None:
        """An identity server that is away keeps no address: it is asked again until it is back,
        however often the person asks; modules have agreed already."""
        self.added(self.alice)
        self.bound(AWAY)
        for _ in range(3):
            self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual(self.held(self.alice), [])
        self.assertEqual(len(self.rows("SELECT * FROM jobs")), 1)
        self.run_jobs()
        self.assertEqual(self.remembered, [(ALICE, SERVER)])
        self.assertGreater(len(self.failed_jobs.flush()), 0)
        self.over_again(signer=Signer())
        self.listen(("M_FORBIDDEN", "Stay."))
        self.run_jobs(JOB_LONGEST_WAIT_MS)
        self.assertEqual((self.double.bound, self.remembered), ({}, []))

    def test_boundAnew(self) -> None:
        """What has been bound anew meanwhile is not unbound by what was asked before."""
        self.bound(AWAY)
        self.delete(self.alice)
        self.bound()
        self.run_jobs()
        self.assertEqual((list(self.double.bound), self.remembered), ([ALICE], [(ALICE, SERVER)]))
        self.assertEqual(self.rows("SELECT * FROM jobs"), [])

    def test_gone(self) -> None:
        """A server that is away for a week is taken for gone."""
        self.bound(AWAY)
        self.delete(self.alice)
        with capturedLogs() as events:
            self.run_jobs(GIVE_UP_MS)
        self.assertEqual((self.remembered, self.rows("SELECT * FROM jobs")), ([], []))
        self.assertTrue(any("given up" in event["log_format"] for event in events))

    def test_objections(self) -> None:
        """A module that wants the address to stay on the account keeps it all; one that wants it
        to stay bound keeps it so, and the address goes."""
        self.added(self.alice)
        self.bound()
        self.threepid_changes.checks.register("m", lambda *args: ("M_FORBIDDEN", "Stay."))
        self.assertRefused(self.delete(self.alice), 403, "M_FORBIDDEN")
        self.assertEqual((self.held(self.alice), len(self.double.bound)), ([ALICE], 1))
        self.over_again()
        self.listen((None, "Stay."))
        self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual((self.held(self.alice), self.remembered), ([], [(ALICE, SERVER)]))

    def test_objectionToOne(self) -> None:
        """Who objects to one server's has nothing to say of the others'; not all is done then."""
        for name in ("one.example", SERVER):
            self.bound(id_server=name)
        self.keep("one.example")
        self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual(self.remembered, [(ALICE, "one.example")])

    def test_brokenModule(self) -> None:
        """One that fails leaves all as it was."""
        self.added(self.alice)
        self.bound()
        self.listen("perhaps")
        self.assertRefused(self.delete(self.alice), 503, "M_UNKNOWN")
        self.assertEqual((self.held(self.alice), self.remembered), ([ALICE], [(ALICE, SERVER)]))

    def test_deactivated(self) -> None:
        """What an account that is no more had bound is unbound; nobody can object, all are told."""
        self.bound()
        self.bound(AWAY.replace(ALICE, OTHER))
        self.listen(("M_FORBIDDEN", "Stay."))
        for _ in range(2):
            self.wait(self.subsystem.handler.deactivated(UserID("alice", "test.example")))
        self.treq.flush()
        self.assertEqual(self.heard, [("update", SERVER, HER, "email", ALICE, False)])
        self.assertEqual(list(self.double.bound), [OTHER])
        self.assertEqual(len(self.rows("SELECT * FROM jobs")), 1)
        self.assertGreater(len(self.failed_jobs.flush()), 0)
