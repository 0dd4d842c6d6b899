"""Administrators' changes where a homeserver is told of them, and in a worker."""

from __future__ import annotations

import json
from typing import Any, Coroutine

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from regsys.accounts.administration import Administration
from regsys.errors import GuestForbidden, ThreepidDenied, ThreepidInUse, UserNotFound
from regsys.model import Registration, Secret, Threepid, UserID
from regsys.model.administration import CLI, AccountChange
from tests.accounts.test_delegation import DelegatedCase
from tests.doubles.synapse import HANG_UP
from tests.support.accounts import AccountCase
from tests.support.validations import ALICE as MAIL

ALICE, NOBODY = UserID("alice", "test.example"), UserID("nobody", "test.example")
BOB = UserID("bob", "test.example")


def administration_of(case: Any) -> Administration:
    found = case.subsystem.administration
    assert isinstance(found, Administration)
    return found


class DelegatedTests(DelegatedCase):
    """What is dead here is dead at the homeserver whose auth service this is."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register(device_id="PHONE")["access_token"]
        self.log_in(device_id="TV")

    @property
    def administration(self) -> Administration:
        return administration_of(self)

    def test_logOut(self) -> None:
        """One device, then all."""
        self.wait(self.administration.log_out(ALICE, ["PHONE"], CLI))
        self.assertEqual({*self.devices()}, {"TV"})
        self.assertFalse(self.is_active(self.token))
        self.assertEqual(self.wait(self.administration.log_out(ALICE, None, CLI)), ["TV"])
        self.assertEqual({*self.devices()}, set())
        self.assertNothingWaits()

    def test_password(self) -> None:
        """A new password ends all devices there, too, by a job if the homeserver is away."""
        self.double.faults = {"delete_device": [HANG_UP, HANG_UP]}
        password = Secret("another horse")
        self.wait(self.administration.set_password(ALICE, password, CLI))
        self.assertFalse(self.is_active(self.token))
        self.later()
        self.assertEqual({*self.devices()}, set())
        self.assertNothingWaits()

    def test_deactivation(self) -> None:
        """With the wish to erase, which is passed on."""
        self.wait(self.administration.deactivate(ALICE, True, CLI))
        there = self.double.users["alice"]
        self.assertEqual((there.deactivated, there.erased), (True, True))
        self.assertNothingWaits()

    def test_rights(self) -> None:
        """The next introspection tells of an administrator, and of one no more."""
        for admin in (True, False):
            self.wait(self.administration.set_admin(ALICE, admin, CLI))
            scope = self.introspect(self.token).json["scope"]
            self.assertEqual("urn:synapse:admin:*" in scope, admin)


class OwnTests(AccountCase):
    """Addresses, and who is said to have made a change."""

    def setting(self, user_id: UserID, *addresses: str) -> Coroutine[Any, Any, bool]:
        wanted = [Threepid("email", address, self.now_ms) for address in addresses]
        return administration_of(self).set_threepids(user_id, wanted, CLI)

    def set_threepids(self, user_id: UserID, *addresses: str) -> bool:
        return bool(self.wait(self.setting(user_id, *addresses)))

    def refused(self, error: type[Exception], asked: Coroutine[Any, Any, Any]) -> None:
        self.failureResultOf(Deferred.fromCoroutine(asked), error)

    def test_threepids(self) -> None:
        """Modules are asked, and told; what they refuse is not written."""
        told: list[Any] = []
        hooks = self.hooks(mails=self.mails)
        hooks.threepid_changes.additions.register("m", lambda *args: told.append(args))
        hooks.threepid_changes.removals.register("m", lambda *args: told.append(args))
        self.system(database=self.database, hooks=hooks)
        self.assertTrue(self.set_threepids(ALICE, MAIL, "other@mail.example"))
        self.assertFalse(self.set_threepids(ALICE, "other@mail.example", MAIL))
        self.assertTrue(self.set_threepids(ALICE, MAIL))
        self.clock.advance(1)
        self.assertEqual(len(told), 3, told)
        self.assertEqual(self.addresses_of(self.alice), [MAIL])
        self.refused(ThreepidInUse, self.setting(BOB, "new@mail.example", MAIL))
        self.assertEqual(self.addresses_of(self.bob), [])

    def test_rules(self) -> None:
        """An address that this server does not allow is not allowed an administrator either."""
        allowed = [{"medium": "email", "pattern": r".*@mail\.example"}]
        self.system(database=self.database, allowed_local_3pids=allowed)
        self.refused(ThreepidDenied, self.setting(ALICE, "alice@elsewhere.example"))
        self.assertTrue(self.set_threepids(ALICE, MAIL))

    def test_guests(self) -> None:
        guest = UserID.parse(self.guest()["user_id"])
        self.refused(GuestForbidden, self.setting(guest, MAIL))
        self.refused(GuestForbidden, administration_of(self).log_out(guest, None, CLI))

    def test_by(self) -> None:
        """The log says who has changed what, without anything secret."""
        administration, by = administration_of(self), "@root:test.example"
        with capturedLogs() as events:
            self.wait(administration.create(Registration(localpart="carol"), by))
            self.wait(administration.set_password(ALICE, Secret("another horse"), by))
            self.wait(administration.set_admin(ALICE, True, by))
            self.wait(administration.set_admin(ALICE, True, by))
            self.wait(administration.set_approved(ALICE, False, CLI))
            self.wait(administration.log_out(BOB, None, by))
            self.wait(administration.deactivate(BOB, False, by))
        lines = [formatEvent(event) for event in events]
        for line in (
            f"{by} has made @carol:test.example",
            f"{by} has changed {ALICE}: password",
            f"{by} has changed {ALICE}: admin",
            f"cli has {ALICE} wait for approval",
            f"{by} has logged out {BOB} (1 devices)",
            f"{by} deactivates {BOB}",
        ):
            self.assertEqual(lines.count(line), 1, lines)
        self.assertNotIn("another horse", "".join(lines))

    def test_nobody(self) -> None:
        """A user who is not here cannot be changed."""
        administration = administration_of(self)
        for changing in (
            administration.set_password(NOBODY, Secret("x"), CLI),
            administration.set_admin(NOBODY, True, CLI),
            administration.set_approved(NOBODY, True, CLI),
            administration.log_out(NOBODY, None, CLI),
            administration.deactivate(NOBODY, True, CLI),
        ):
            self.refused(UserNotFound, changing)
        self.refused(UserNotFound, self.setting(NOBODY, MAIL))


class AuditTests(AccountCase):
    """What the audit log is told of changes."""

    def setUp(self) -> None:
        super().setUp()
        self.system(database=self.database, regsys={"audit": {"enabled": True}})

    def entries(self) -> list[tuple[Any, ...]]:
        """What, about whom, by whom, with which details, of all since the last call."""
        found = self.rows("SELECT what, user_id, actor, details FROM audit ORDER BY what")
        self.change("DELETE FROM audit")
        return [(what, user_id, by, json.loads(more)) for what, user_id, by, more in found]

    def test_changes(self) -> None:
        """Each change is one entry, with who has made it and nothing secret; what is so already is
        none."""
        administration, by = administration_of(self), "@root:test.example"
        password, mail = Secret("another horse"), Threepid("email", MAIL, self.now_ms)
        about, carol = str(ALICE), "@carol:test.example"
        for changing, entry in (
            (
                lambda: administration.set_password(ALICE, password, by),
                ("password-set", about, by, {"ends_logins": True}),
            ),
            (
                lambda: administration.set_admin(ALICE, True, CLI),
                ("admin-set", about, CLI, {"admin": True}),
            ),
            (
                lambda: administration.set_threepids(ALICE, [mail], by),
                ("addresses-set", about, by, {"added": 1, "removed": 0}),
            ),
            (
                lambda: administration.log_out(BOB, None, CLI),
                ("logged-out", str(BOB), CLI, {"devices": 1}),
            ),
            (
                lambda: administration.create(Registration(localpart="carol"), by),
                ("registered", carol, by, {}),
            ),
            (
                lambda: administration.deactivate(ALICE, True, CLI),
                ("deactivated", about, CLI, {"erase": True}),
            ),
        ):
            self.wait(changing())
            self.assertEqual(self.entries(), [entry])
        for again in (
            administration.deactivate(ALICE, True, CLI),
            administration.deactivate(ALICE, False, CLI),
            administration.log_out(BOB, None, CLI),
        ):
            self.wait(again)
        self.assertEqual(self.entries(), [])

    def test_fields(self) -> None:
        """A change of many fields is an entry for each that is not as it was, by its words."""
        change = AccountChange(
            user_id=ALICE,
            by=CLI,
            admin=False,
            display_name="Alice",
            user_type="bot",
            external_ids=(("oidc", "1"),),
        )
        self.wait(administration_of(self).change(change))
        words = ["display-name-set", "external-id-set", "user-type-set"]
        self.assertEqual(self.entries(), [(word, str(ALICE), CLI, {}) for word in words])

    def test_approval(self) -> None:
        """An approval and its withdrawal, and what the queue says: nothing is left behind."""
        administration, about = administration_of(self), str(ALICE)
        for approved, word in ((False, "approval-withdrawn"), (True, "approved")) * 2:
            self.clock.advance(1)
            self.assertTrue(self.wait(administration.set_approved(ALICE, approved, CLI)))
            self.clock.advance(1)
            self.assertFalse(self.wait(administration.set_approved(ALICE, approved, CLI)))
            self.assertEqual(self.entries(), [(word, about, CLI, {})])
            queue = self.wait(administration.approvals.queue())
            self.assertEqual(queue.count, 0 if approved else 1)
        self.wait(administration.deactivate(ALICE, False, CLI))
        self.assertFalse(self.wait(administration.set_approved(ALICE, True, CLI)))
