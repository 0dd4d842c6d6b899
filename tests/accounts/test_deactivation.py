"""What is left of an account after deactivation."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet.defer import Deferred

from regsys.errors import UserNotFound
from regsys.model import NewAccount, Threepid, UserID
from regsys.model.jobs import NewJob
from regsys.model.threepids import NewValidation
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.sessions import SessionStore
from regsys.storage.validations import ValidationStore
from regsys.testing import (
    MemoryAccounts,
    MemoryAuth,
    MemoryDevices,
    MemoryThreepids,
    config,
    memory_process,
)
from regsys.testing.contracts.case import NOW_MS, account, device
from regsys.wiring import embedded
from tests.support.accounts import AccountCase
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import V3
from tests.support.validations import ALICE
from tests.support.values import END_MS, session

ALICE_ID = UserID("alice", "test.example")
OTHER = "other@mail.example"


class OwnTests(AccountCase):
    """regsys keeps the accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.module_calls: list[Any] = []
        hooks = self.hooks(mails=self.mails)
        hooks.threepid_changes.removals.register("m", lambda *args: self.module_calls.append(args))
        objection = (None, "Stay!")
        hooks.threepid_changes.checks.register(
            "m", lambda user, medium, address, adding: None if adding else objection
        )
        self.system(database=self.database, hooks=hooks)
        self.add_address(self.alice)
        self.add_address(self.bob, OTHER, "bob")

    def deactivated(self, user_id: UserID = ALICE_ID) -> None:
        self.wait(self.subsystem.handler.deactivated(user_id))

    def test_nothingWorks(self) -> None:
        """Neither the token nor the password works, no device can be added, and the name stays
        taken."""
        self.deactivated()
        self.assertRefused(self.whoami(self.alice), 401, "M_UNKNOWN_TOKEN")
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.assertEqual(self.client.post(f"{V3}/login", login).status, 403)
        asked = self.subsystem.handler.register_device(ALICE_ID)
        self.failureResultOf(Deferred.fromCoroutine(asked), UserNotFound)
        available = self.client.get(f"{V3}/register/available?username=alice")
        self.assertRefused(available, 400, "M_USER_IN_USE")
        self.assertEqual(self.rows("SELECT password_hash FROM users WHERE deactivated"), [(None,)])
        self.assertEqual(self.rows("SELECT * FROM devices WHERE user_id = ?", str(ALICE_ID)), [])

    def test_addresses(self) -> None:
        """Its addresses are free, even if a module objects; a module that is called on removals is
        called once for each."""
        self.deactivated()
        self.deactivated()
        self.assertEqual(self.module_calls, [(str(ALICE_ID), "email", ALICE)])
        self.add_address(self.bob, ALICE, "bob")

    def test_traces(self) -> None:
        """Its UIA sessions and validation sessions are deleted."""
        self.session(self.alice, self.validate_as(self.alice, "third@mail.example"))
        self.deactivated()
        for table in ("uia_sessions", "validations"):
            found = self.rows(f"SELECT user_id FROM {table} WHERE user_id = ?", str(ALICE_ID))
            self.assertEqual(found, [], table)

    def test_others(self) -> None:
        """The data of every other account are unchanged."""
        self.session(self.bob, self.validate_as(self.bob, "third@mail.example"))
        newcomer = self.start_validation("newcomer@mail.example")
        before = self.counts()
        self.deactivated(UserID("nobody", "test.example"))
        self.assertEqual(self.counts(), before)
        self.deactivated()
        self.assertEqual(self.addresses_of(self.bob), [OTHER])
        sids = {row[0] for row in self.rows("SELECT sid FROM validations")}
        self.assertIn(newcomer, sids)
        self.assertEqual(self.rows("SELECT user_id FROM uia_sessions"), [("@bob:test.example",)])


class EmbeddedTests(SystemCase):
    def test_homeserver(self) -> None:
        """If a homeserver keeps the accounts, it frees the addresses there, and deletes what regsys
        stored."""
        accounts, chosen = MemoryAccounts(), config()
        devices = MemoryDevices(accounts)
        process = memory_process(self, chosen, self.clock)
        proven = Threepid("email", ALICE, self.now_ms)
        new = NewAccount(key="k", user_id=ALICE_ID, created_ms=self.now_ms, threepids=(proven,))
        self.wait(accounts.create_account(new))
        subsystem = embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            threepids=MemoryThreepids(accounts),
            process=process,
        )
        validations = ValidationStore(process.database)
        wanted = NewValidation(
            sid="sid",
            medium="email",
            address=OTHER,
            client_secret="secret",
            send_attempt=1,
            job=NewJob(kind="mail"),
            now_ms=self.now_ms,
            until_ms=self.now_ms + 1000,
            user_id=ALICE_ID,
        )
        self.wait(validations.begin(wanted))
        self.wait(subsystem.handler.deactivated(ALICE_ID))
        self.assertEqual(accounts.threepids, {})
        self.assertIsNone(self.wait(validations.get("sid", self.now_ms)))

    def test_loggedOut(self) -> None:
        """A homeserver that keeps the devices says which of them have ended: a registration that
        made one of these is not repeated, and no registration of a deactivated account is."""
        accounts, chosen = MemoryAccounts(), config()
        devices = MemoryDevices(accounts)
        process = memory_process(self, chosen, self.clock)
        handler = embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            process=process,
        ).handler
        sessions, embedded_accounts = (
            SessionStore(process.database),
            EmbeddedAccountStore(process.database),
        )
        names = ("PHONE", "LAPTOP", "TABLET")
        for name in names:
            self.wait(sessions.add(session(name), 9))
            new = account(name, session_id=name, session_until_ms=END_MS, device=device(name, name))
            self.wait(embedded_accounts.complete(attr.evolve(new, user_id=ALICE_ID), name))

        def left() -> list[str]:
            return [name for name in names if self.wait(sessions.get(name, NOW_MS)) is not None]

        self.wait(handler.logged_out(ALICE_ID, "PHONE"))
        self.assertEqual(left(), ["LAPTOP", "TABLET"])
        self.wait(handler.logged_out(UserID("bob", "test.example")))
        self.assertEqual(left(), ["LAPTOP", "TABLET"])
        self.wait(handler.deactivated(ALICE_ID))
        self.assertEqual(left(), [])
