"""The handler's other methods: checks, devices, accounts with ready-made checks; and its log."""

from __future__ import annotations

import attr
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.credentials.access_tokens import MAX_DEVICE_ID
from regsys.errors import InvalidParam, LimitExceeded, RegistrationError, UserNotFound
from regsys.model import Client, Created, DeviceRequest, NewAccount, Secret, Threepid, User
from regsys.model.accounts import Outcome
from tests.support.handler import ALICE, PHONE, HandlerCase, alice


class MethodTests(HandlerCase):
    def test_registerDevice(self) -> None:
        """A device of an existing account gets a login as asked, with new tokens each time."""
        for _ in range(2):
            login = self.wait(
                self.parts.handler.register_device(
                    ALICE,
                    "PHONE",
                    "my phone",
                    is_appservice_ghost=True,
                    auth_provider_id="oidc",
                    should_issue_refresh_token=True,
                    auth_provider_session_id="sid",
                )
            )
            user_id, device = self.parts.writer.devices[-1]
            self.assertEqual((user_id, device.login), (ALICE, login))
            self.assertEqual(login.device_id, "PHONE")
            self.assertIsNotNone(login.refresh_token)
            fields = (device.display_name, device.auth_provider_id, device.auth_provider_session_id)
            self.assertEqual(fields, ("my phone", "oidc", "sid"))
            self.assertTrue(device.is_appservice_ghost)
        first, second = (device.login for _, device in self.parts.writer.devices)
        self.assertNotEqual(first.access_token, second.access_token)

    def test_registerDeviceOfAGuest(self) -> None:
        """A guest's device is the guest device: without a lookup as the caller says, and for an
        account that was looked up as that says."""
        handler = self.parts.handler
        for logging_in in (
            handler.register_device(ALICE, "MINE", is_guest=True),
            handler.log_in(User(user_id=ALICE, is_guest=True), DeviceRequest(device_id="MINE")),
        ):
            self.assertEqual(self.wait(logging_in).device_id, "guest_device")

    def test_registerDeviceWithNothingAsked(self) -> None:
        """A request without options gets a new device, without a display name or a refresh
        token."""
        login = self.wait(self.parts.handler.register_device(ALICE))
        ((_, device),) = self.parts.writer.devices
        self.assertRegex(login.device_id, r"\A[A-Z]{10}\Z")
        self.assertEqual((device.display_name, login.refresh_token), (None, None))
        self.assertFalse(device.is_appservice_ghost)

    def test_registerDeviceRefused(self) -> None:
        """An invalid device is refused before anything is written; a missing account is the store's
        error."""
        refused = self.parts.handler.register_device(ALICE, "a" * (MAX_DEVICE_ID + 1))
        self.failureResultOf(Deferred.fromCoroutine(refused), InvalidParam)
        self.assertEqual(self.script.steps, [])
        for sent in ((17,), ("PHONE", 17)):
            refused = self.parts.handler.register_device(ALICE, *sent)
            self.failureResultOf(Deferred.fromCoroutine(refused), InvalidParam)
        self.script.refuse("device", UserNotFound())
        refused = self.parts.handler.register_device(ALICE)
        self.failureResultOf(Deferred.fromCoroutine(refused), UserNotFound)

    def test_afterwards(self) -> None:
        """The actions after a registration are passed to the writer unchanged."""
        result, token = {"m.login.terms": True}, Secret("syt_x")
        self.wait(self.parts.handler.post_registration_actions(ALICE, result, token))
        self.wait(self.parts.handler.post_registration_actions(str(ALICE), result))
        self.wait(self.parts.handler.post_registration_actions(ALICE))
        expected = [(ALICE, result, token), (ALICE, result, None), (ALICE, {}, None)]
        self.assertEqual(self.parts.writer.followed, expected)

    def test_deactivated(self) -> None:
        """A deactivation is the writer's."""
        for user_id in (ALICE, str(ALICE)):
            self.wait(self.parts.handler.deactivated(user_id))
        self.assertEqual(self.parts.writer.deactivated, [ALICE, ALICE])

    def test_checks(self) -> None:
        """The checks that a homeserver may call are those of names and limits."""
        handler, token = self.parts.handler, Secret("t")
        self.wait(handler.check_username("alice", token, ALICE, early=True, key="key"))
        self.wait(handler.check_username("bob"))
        handler.check_user_id_not_appservice_exclusive(ALICE, "bridge")
        self.assertEqual(
            self.parts.names.asked,
            [
                ("alice", token, ALICE, True, "key"),
                ("bob", None, None, False, None),
                (ALICE, "bridge"),
            ],
        )
        for address in ("192.0.2.1", None):
            self.wait(handler.check_registration_ratelimit(address))
        self.assertEqual(self.parts.admission.peeked, ["192.0.2.1", None])
        self.assertEqual(self.script.steps, ["names", "names"])

    def test_count(self) -> None:
        """A registration that regsys doesn't make can be counted against the limit."""
        self.wait(self.parts.handler.count_registration("192.0.2.1"))
        self.assertEqual((self.parts.admission.taken, self.script.steps), (["192.0.2.1"], ["take"]))

    def test_callsThatAreWrong(self) -> None:
        """A call that is wrong in itself is a TypeError or ValueError which says so, without the
        secret that was given; nothing is asked or written."""
        handler, said, client = self.parts.handler, "syt_secret", Client("192.0.2.1")
        new = NewAccount(key="key", user_id=ALICE, created_ms=1)
        for error, words, call in (
            (TypeError, "guest_access_token must be Secret", handler.check_username("a", said)),
            (TypeError, "localpart must be str", handler.check_username(ALICE)),
            (TypeError, "as_token must be Secret", handler.appservice_register("a", said)),
            (
                TypeError,
                "password must be Secret",
                handler.appservice_register("a", Secret("as"), said),
            ),
            (
                TypeError,
                "access_token must be Secret",
                handler.post_registration_actions(ALICE, {}, said),
            ),
            (TypeError, "auth_result must be", handler.post_registration_actions(ALICE, [said])),
            (TypeError, "new must be NewAccount", handler.register_with_store(alice())),
            (TypeError, "address must be str", handler.register_with_store(new, client)),
            (TypeError, "address must be str", handler.count_registration(client)),
            (TypeError, "address must be str", handler.check_registration_ratelimit(client)),
            (TypeError, "register_device takes a user ID", handler.log_in(ALICE, PHONE)),
            (TypeError, "request must be DeviceRequest", handler.log_in(User(user_id=ALICE), None)),
            (
                TypeError,
                "is_guest must be bool or None",
                handler.register_device(ALICE, is_guest=1),
            ),
            (TypeError, "user_id must be UserID or str", handler.register_device(17)),
            (
                ValueError,
                "'alice' is not a user ID.*add the server",
                handler.register_device("alice"),
            ),
            (ValueError, "'@alice' is not a user ID", handler.deactivated("@alice")),
            (ValueError, "'' is not a user ID", handler.deactivated("")),
            (ValueError, "not a user ID", handler.check_username("alice", guest_id="alice")),
        ):
            failed = self.failureResultOf(Deferred.fromCoroutine(call), error)
            self.assertRegex(str(failed.value), words)
            self.assertNotIn(said, str(failed.value))
        self.assertRaises(ValueError, handler.check_user_id_not_appservice_exclusive, "alice")
        self.assertEqual(self.script.steps, [])

    def test_withStore(self) -> None:
        """An account whose checks were made is written with its jobs, and no check is repeated."""
        self.wait(
            self.parts.handler.register_with_store(
                NewAccount(key="key", user_id=ALICE, created_ms=1, display_name="A")
            )
        )
        self.assertEqual(self.script.steps, ["take", "write"])
        self.assertEqual(self.parts.admission.taken, [None])
        self.assertEqual(self.parts.writer.accounts[0].jobs[0].payload, {"name": "A"})

    def test_withStoreCounted(self) -> None:
        """With an address such an account counts against the limit, but not if none was made, or
        an earlier call has made it."""
        new = NewAccount(key="key", user_id=ALICE, created_ms=1)
        for error, replays, expected in (
            (None, False, ["take", "write"]),
            (None, True, ["take", "write", "give back"]),
            (RegistrationError(), False, ["take", "write", "give back"]),
        ):
            self.make()
            self.parts.writer.replays = replays
            making = self.parts.handler.register_with_store(new, "192.0.2.1")
            if error is None:
                self.wait(making)
            else:
                self.script.refuse("write", error)
                self.failureResultOf(Deferred.fromCoroutine(making), RegistrationError)
            self.assertEqual(
                (self.parts.admission.taken, self.script.steps), (["192.0.2.1"], expected)
            )

    def test_withStoreAddresses(self) -> None:
        """The addresses of such an account are brought to canonical form, or refused."""
        new = NewAccount(
            key="key",
            user_id=ALICE,
            created_ms=1,
            threepids=(Threepid("email", "A@Mail.example", 1),),
            vouched_emails=("A@Mail.example",),
        )
        self.wait(self.parts.handler.register_with_store(new))
        (written,) = self.parts.writer.accounts
        self.assertEqual(written.threepids, (Threepid("email", "a@mail.example", 1),))
        self.assertEqual(written.vouched_emails, ("a@mail.example",))
        bad = attr.evolve(new, threepids=(Threepid("email", "nonsense", 1),))
        refused = self.parts.handler.register_with_store(bad)
        self.failureResultOf(Deferred.fromCoroutine(refused), InvalidParam)
        self.assertEqual(self.parts.writer.accounts, [written])

    def test_repeat(self) -> None:
        """A finished outcome's answer is repeated by the writer."""
        outcome = Outcome(key="key", user_id=ALICE, created_ms=1)
        again = self.wait(self.parts.handler.repeat(outcome))
        self.assertEqual(again, Created(user_id=ALICE, replayed=True))

    def test_log(self) -> None:
        """A registration is logged once, with user and address, and without its secrets."""
        with capturedLogs() as events:
            self.register(alice(client=Client("192.0.2.1"), guest_access_token=Secret("gtoken")))
        (event,) = events
        fields = [event[field] for field in ("user_id", "address", "guest", "admin")]
        self.assertEqual(fields, ["@alice:s.example", "192.0.2.1", False, False])
        assert self.created.login is not None
        for secret in ("pass", "ssap", "gtoken", self.created.login.access_token.reveal()):
            self.assertNotIn(secret, repr(event))
        self.parts.writer.replays = True
        with capturedLogs() as events:
            self.register(alice())
            self.script.refuse("spam", LimitExceeded(1))
            self.refused(alice(), LimitExceeded)
        self.assertEqual(events, [])

    def test_logOfOthers(self) -> None:
        """The log line tells guests and admins apart, and shows an unknown address as such."""
        for more in ({"make_guest": True, "password": None}, {"admin": True}):
            self.parts.writer.replays = False
            with capturedLogs() as events:
                self.register(alice(**more))
            (event,) = events
            fields = [event[field] for field in ("address", "guest", "admin")]
            self.assertEqual(fields, [None, "make_guest" in more, "admin" in more])
