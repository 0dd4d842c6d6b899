"""Unbinding from identity servers, also from those that are down (B7.10, B10.4)."""

from __future__ import annotations

from twisted.logger import capturedLogs

from regsys.model import UserID
from regsys.model.jobs import JOB_LONGEST_WAIT_MS
from regsys.threepids.identity_server_unbinding import GIVE_UP_MS
from tests.support.bindings import ALICE_ID, NO_SUPPORT, OTHER, SERVER, SUCCESS, BindingCase, Signer
from tests.support.validations import ALICE

AWAY = f"unbind=500..{ALICE}"


class DeleteTests(BindingCase):
    """``/delete`` and a deactivation."""

    def test_unbound(self) -> None:
        """A deleted address is unbound wherever it was bound."""
        self.add_address(self.alice)
        for name in (SERVER, "second.example"):
            self.double.bound.clear()
            self.bind_address(id_server=name)
        self.restart(signer=Signer())
        self.register_callbacks()
        self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual((self.addresses_of(self.alice), self.stored_bindings), ([], []))
        self.bind_address()
        self.assertUnbound(self.delete(self.alice), SUCCESS)
        self.assertEqual(self.rows("SELECT * FROM jobs WHERE kind = 'unbind_threepid'"), [])

    def test_away(self) -> None:
        """An identity server that is down does not keep the binding: it is asked again until it is
        back, however often the client repeats the request; modules have agreed already."""
        self.add_address(self.alice)
        self.bind_address(AWAY)
        for _ in range(3):
            self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual(self.addresses_of(self.alice), [])
        self.assertEqual(len(self.rows("SELECT * FROM jobs")), 1)
        self.run_jobs()
        self.assertEqual(self.stored_bindings, [(ALICE, SERVER)])
        self.assertGreater(len(self.failed_jobs.flush()), 0)
        self.restart(signer=Signer())
        self.register_callbacks(("M_FORBIDDEN", "Stay."))
        self.run_jobs(JOB_LONGEST_WAIT_MS)
        self.assertEqual((self.double.bound, self.stored_bindings), ({}, []))

    def test_boundAnew(self) -> None:
        """A binding that was made again meanwhile is not removed by an earlier request."""
        self.bind_address(AWAY)
        self.delete(self.alice)
        self.bind_address()
        self.run_jobs()
        self.assertEqual(
            (list(self.double.bound), self.stored_bindings), ([ALICE], [(ALICE, SERVER)])
        )
        self.assertEqual(self.rows("SELECT * FROM jobs"), [])

    def test_gone(self) -> None:
        """A server that is down for a week is given up."""
        self.bind_address(AWAY)
        self.delete(self.alice)
        with capturedLogs() as events:
            self.run_jobs(GIVE_UP_MS)
        self.assertEqual((self.stored_bindings, self.rows("SELECT * FROM jobs")), ([], []))
        self.assertTrue(any("given up" in event["log_format"] for event in events))

    def test_objections(self) -> None:
        """A module that objects to the removal keeps the address and its bindings; one that objects
        to the unbinding keeps the binding, and the address is removed."""
        self.add_address(self.alice)
        self.bind_address()
        self.threepid_changes.checks.register("m", lambda *args: ("M_FORBIDDEN", "Stay."))
        self.assertRefused(self.delete(self.alice), 403, "M_FORBIDDEN")
        self.assertEqual((self.addresses_of(self.alice), len(self.double.bound)), ([ALICE], 1))
        self.restart()
        self.register_callbacks((None, "Stay."))
        self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual(
            (self.addresses_of(self.alice), self.stored_bindings), ([], [(ALICE, SERVER)])
        )

    def test_objectionToOne(self) -> None:
        """A module that objects for one server does not affect the others; the result is not a
        success then."""
        for name in ("one.example", SERVER):
            self.bind_address(id_server=name)
        self.object_to_unbinding("one.example")
        self.assertUnbound(self.delete(self.alice), NO_SUPPORT)
        self.assertEqual(self.stored_bindings, [(ALICE, "one.example")])

    def test_brokenModule(self) -> None:
        """A module that fails leaves everything unchanged."""
        self.add_address(self.alice)
        self.bind_address()
        self.register_callbacks("perhaps")
        self.assertRefused(self.delete(self.alice), 503, "M_UNKNOWN")
        self.assertEqual(
            (self.addresses_of(self.alice), self.stored_bindings), ([ALICE], [(ALICE, SERVER)])
        )

    def test_deactivated(self) -> None:
        """A deactivation removes all bindings; no module can object, all are told."""
        self.bind_address()
        self.bind_address(AWAY.replace(ALICE, OTHER))
        self.register_callbacks(("M_FORBIDDEN", "Stay."))
        for _ in range(2):
            self.wait(self.subsystem.handler.deactivated(UserID("alice", "test.example")))
        self.treq.flush()
        self.assertEqual(self.module_calls, [("update", SERVER, ALICE_ID, "email", ALICE, False)])
        self.assertEqual(list(self.double.bound), [OTHER])
        self.assertEqual(len(self.rows("SELECT * FROM jobs")), 1)
