"""Whether somebody is a guest comes from the account, and an address has one form (contract B2.0,
B2.4)."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from regsys.errors import InvalidParam, ThreepidInUse, UserNotFound
from regsys.interfaces import IUserLookup
from regsys.model import Created, DeviceRequest, NewAccount, Registration, Secret, User, UserID
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, config, memory_process
from regsys.wiring import embedded
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import V3

BOB = UserID("bob", "test.example")
GUEST = UserID("1", "test.example")


@implementer(IUserLookup)
@attr.frozen
class Users:
    """The accounts of a homeserver in memory."""

    accounts: MemoryAccounts

    async def find(self, localpart: str) -> User | None:
        new: NewAccount | None = self.accounts.by_name.get(localpart.lower())
        if new is None:
            return None
        return User(
            user_id=new.user_id,
            is_guest=new.is_guest,
            deactivated=new.user_id in self.accounts.deactivated,
        )


class ContradictionCase(SystemCase):
    def make(self, localpart: str | None, guest: bool = False, **more: Any) -> Created:
        making = self.subsystem.handler.register_user(
            Registration(localpart=localpart, make_guest=guest, device=DeviceRequest(), **more)
        )
        created: Created = self.wait(making)
        return created

    def log_in(self, user_id: Any, **more: Any) -> str:
        """A new token of this user."""
        login = self.wait(self.subsystem.handler.register_device(user_id, "PHONE", **more))
        token: str = login.access_token.reveal()
        return token

    def refused(self, error: type[Exception], user_id: Any, **more: Any) -> str:
        asked = self.subsystem.handler.register_device(user_id, "PHONE", **more)
        return str(self.failureResultOf(Deferred.fromCoroutine(asked), error).value)

    def owner(self, token: str) -> tuple[UserID, str | None, bool]:
        requester = self.wait(self.subsystem.auth.whose(Secret(token)))
        return requester.user_id, requester.device_id, requester.is_guest


class OwnTests(ContradictionCase):
    """regsys keeps the accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.made = [self.make(None, guest=True), self.make("bob")]

    def test_registered(self) -> None:
        """A guest gets a guest's device and token, whatever device it asked for."""
        guest, bob = (created.login for created in self.made)
        assert guest is not None and bob is not None
        self.assertFalse(guest.access_token.reveal().startswith("syt_"))
        self.assertEqual(self.owner(guest.access_token.reveal()), (GUEST, "guest_device", True))
        self.assertEqual(self.owner(bob.access_token.reveal()), (BOB, bob.device_id, False))

    def test_devices(self) -> None:
        """A later device's login is of the account's kind, whether the caller says so or not, and
        whichever way the user is named."""
        for said in ({}, {"is_guest": True}):
            for user_id in (GUEST, str(GUEST)):
                self.assertEqual(
                    self.owner(self.log_in(user_id, **said)), (GUEST, "guest_device", True)
                )
        for said in ({}, {"is_guest": False}):
            self.assertEqual(self.owner(self.log_in(str(BOB), **said)), (BOB, "PHONE", False))

    def test_refused(self) -> None:
        """The other kind is refused, and nothing is written."""
        before = self.rows("SELECT * FROM devices"), self.rows("SELECT * FROM logins")
        self.assertIn("This account is a user's", self.refused(InvalidParam, BOB, is_guest=True))
        self.assertIn(
            "This account is a guest's", self.refused(InvalidParam, GUEST, is_guest=False)
        )
        for nobody in (UserID("bob", "other.example"), "@BOB:test.example", "@carol:test.example"):
            for said in ({}, {"is_guest": False}):
                self.refused(UserNotFound, nobody, **said)
        after = self.rows("SELECT * FROM devices"), self.rows("SELECT * FROM logins")
        self.assertEqual(after, before)

    def test_upgradedMeanwhile(self) -> None:
        """A guest who has become a user since it was looked up gets no guest's token."""
        user = self.wait(self.subsystem.handler._planner.users.find("1"))
        self.change("UPDATE users SET is_guest = FALSE WHERE user_id = ?", str(GUEST))
        asked = self.subsystem.handler.log_in(user, DeviceRequest())
        self.failureResultOf(Deferred.fromCoroutine(asked), InvalidParam)

    def test_oneAddress(self) -> None:
        """Two spellings of an address are one address, which one account has."""
        self.make("carol", bind_emails=("Carol@Mail.test",))
        taken = self.subsystem.handler.register_user(
            localpart="dave", bind_emails=("carol@mail.test",)
        )
        self.failureResultOf(Deferred.fromCoroutine(taken), ThreepidInUse)
        nonsense = self.subsystem.handler.register_user(localpart="eve", bind_emails=("nonsense",))
        self.failureResultOf(Deferred.fromCoroutine(nonsense), InvalidParam)
        self.assertEqual(
            self.rows("SELECT address, user_id FROM threepids"),
            [("carol@mail.test", "@carol:test.example")],
        )

    def test_keyOfAnother(self) -> None:
        """A key gives the login of its account again, but not to who asks for another name."""
        first = self.make("carol", key="k")
        for localpart in ("carol", None):
            again = self.make(localpart, key="k")
            self.assertEqual((again.user_id, again.login), (first.user_id, first.login))
        other = self.subsystem.handler.register_user(
            localpart="dave", key="k", device=DeviceRequest()
        )
        new = NewAccount(key="k", user_id=UserID("dave", BOB.server), created_ms=self.now_ms)
        for asked in (other, self.subsystem.handler.register_with_store(new)):
            failure = self.failureResultOf(Deferred.fromCoroutine(asked), InvalidParam)
            self.assertIn("the account of another name", str(failure.value))
        self.assertEqual(self.rows("SELECT 1 FROM users WHERE user_id LIKE '@dave%'"), [])

    def test_keyOfService(self) -> None:
        """An application service's key is a text that is not empty, too."""
        for key, error in (("", ValueError), (5, TypeError)):
            asked = self.subsystem.handler.appservice_register(
                "carol",
                Secret("as"),
                key=key,  # type: ignore[arg-type]
            )
            failure = self.failureResultOf(Deferred.fromCoroutine(asked), error)
            self.assertIn("key must", str(failure.value))

    def test_strings(self) -> None:
        """A text in the place of a secret is a TypeError, not a wrong refusal."""
        hasher = self.subsystem.handler.hasher
        for asked in (
            self.subsystem.auth.whose("syt_hidden"),  # type: ignore[arg-type]
            hasher.hash("hidden"),  # type: ignore[arg-type]
            hasher.verify("hidden", None),  # type: ignore[arg-type]
        ):

            async def waiting(asked: Any = asked) -> None:
                await asked

            failed = self.failureResultOf(Deferred.fromCoroutine(waiting()), TypeError)
            self.assertNotIn("hidden", str(failed.value))

    def test_counted(self) -> None:
        """What is counted by count_registration uses up the limit of /register; looking does
        not."""
        self.system(rc_registration={"per_second": 0.1, "burst_count": 2})
        handler = self.subsystem.handler
        for call in (handler.check_registration_ratelimit, handler.count_registration) * 2:
            self.wait(call("192.0.2.1"))
        body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        answer = self.client.post(f"{V3}/register", body, X_Forwarded_For="192.0.2.1")
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")


class EmbeddedTests(ContradictionCase):
    """A homeserver keeps the accounts."""

    def embed(self, with_users: bool) -> None:
        self.accounts = MemoryAccounts()
        self.devices = MemoryDevices(self.accounts)
        chosen = config()
        self.subsystem = embedded(
            chosen,
            self.clock,
            store=self.accounts,
            devices=self.devices,
            auth=MemoryAuth(self.devices),
            users=Users(self.accounts) if with_users else None,
            process=memory_process(self, chosen, self.clock),
        )
        self.make(None, guest=True)
        self.make("bob")
        self.devices.by_id.clear()

    def test_withUsers(self) -> None:
        """The account is looked up, before the homeserver's devices are asked."""
        self.embed(with_users=True)
        self.assertIn("This account is a user's", self.refused(InvalidParam, BOB, is_guest=True))
        self.assertIn(
            "This account is a guest's", self.refused(InvalidParam, GUEST, is_guest=False)
        )
        self.refused(UserNotFound, "@bob:other.example")
        self.accounts.deactivated.add(UserID("bob", "test.example"))
        self.refused(UserNotFound, BOB)
        self.assertEqual(self.devices.by_id, {})
        self.assertEqual(self.owner(self.log_in(GUEST)), (GUEST, "guest_device", True))

    def test_withoutUsers(self) -> None:
        """The caller decides, and the homeserver's devices refuse what contradicts the account."""
        self.embed(with_users=False)
        self.refused(InvalidParam, BOB, is_guest=True)
        self.refused(InvalidParam, GUEST)
        self.assertEqual(
            self.owner(self.log_in(GUEST, is_guest=True)), (GUEST, "guest_device", True)
        )
        self.assertEqual(self.owner(self.log_in(BOB)), (BOB, "PHONE", False))
