"""What a handler makes of an application service's request, and that a refusal leaves nothing."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.accounts.appservice_account import key_of
from regsys.errors import (
    AppserviceLoginUnsupported,
    InvalidParam,
    InvalidUsername,
    MissingToken,
    UnknownToken,
    UsernameReserved,
    UsernameTaken,
)
from regsys.model import Appservice, DeviceRequest, NewAccount, Secret, Threepid, UserID
from regsys.testing import MemoryAppservices
from tests.appservices.bridges import OTHER_TOKEN, TOKEN, BridgeCase
from tests.support.handler import NOW_MS, PHONE, SERVER, HandlerCase

BRIDGE = Appservice(id="bridge", as_token=Secret("as token"), sender_localpart="bot")
GHOST = UserID("_ghost", SERVER)


class GhostCase(HandlerCase):
    def make(self, service: Appservice = BRIDGE, **config: Any) -> None:
        super().make(**config)
        services = MemoryAppservices({"_ghost": {"bridge"}}, [service], ["shared"])
        ghosts = attr.evolve(self.parts.handler._ghosts, services=services)
        self.handler = attr.evolve(self.parts.handler, ghosts=ghosts)

    def made(self, localpart: str = "_ghost", **more: Any) -> NewAccount:
        """What was handed to the writer."""
        given = {"as_token": Secret("as token"), **more}
        self.created = self.wait(self.handler.appservice_register(localpart, **given))
        return self.parts.writer.accounts[-1]

    def refused(  # type: ignore[override]  # another kind of request
        self, error: type[Exception], localpart: str = "_ghost", **more: Any
    ) -> None:
        given = {"as_token": Secret("as token"), **more}
        asking = self.handler.appservice_register(localpart, **given)
        self.failureResultOf(Deferred.fromCoroutine(asking), error)


class RegisterTests(GhostCase):
    def test_account(self) -> None:
        """A ghost is a user of its service without password or login, with its directory job; only
        the writer is asked."""
        new = self.made()
        self.assertEqual(
            (new.user_id, new.appservice_id, new.is_ghost, new.created_ms, new.display_name),
            (GHOST, "bridge", True, NOW_MS, "_ghost"),
        )
        self.assertEqual((new.password_hash, new.device, new.approved), (None, None, True))
        self.assertEqual([job.kind for job in new.jobs], ["greet"])
        self.assertEqual(self.script.steps, ["write"])
        self.assertFalse(new.is_real)

    def test_shared(self) -> None:
        """If the name is not exclusive, the row names no service; the user is a ghost all the
        same."""
        new = self.made("shared")
        self.assertEqual((new.appservice_id, new.is_ghost, new.is_real), (None, True, False))

    def test_asRequested(self) -> None:
        """Password, display name and device are as the caller asks."""
        new = self.made(password=Secret("pass"), display_name="The Ghost", device=PHONE)
        self.assertEqual((new.password_hash, new.display_name), ("ssap", "The Ghost"))
        assert new.device is not None
        self.assertEqual(new.device.login, self.created.login)
        self.assertEqual(
            (new.device.display_name, new.device.login.device_id), ("my phone", "PHONE")
        )
        self.assertNotEqual(self.made().key, new.key)

    def test_refusals(self) -> None:
        """Every refusal comes before anything is hashed or written."""
        for error, fields in (
            (MissingToken, {"as_token": None}),
            (UnknownToken, {"as_token": Secret("another")}),
            (InvalidUsername, {"localpart": "a:b"}),
            (InvalidUsername, {"localpart": "_ghost\ud800"}),
            (UsernameReserved, {"localpart": "alice"}),
            (InvalidParam, {"device": attr.evolve(PHONE, device_id="x" * 600)}),
        ):
            self.refused(error, password=Secret("pass"), **fields)
        self.make(service=attr.evolve(BRIDGE, may_log_in=False))
        self.refused(AppserviceLoginUnsupported, device=PHONE)
        self.assertEqual(self.script.steps, [])
        self.made()

    def test_taken(self) -> None:
        """Whether a name is taken is found out by the write."""
        self.script.refuse("write", UsernameTaken())
        self.refused(UsernameTaken)

    def test_takenElsewhere(self) -> None:
        """A name of all users that a homeserver beside us has is taken, unless this very call has
        taken it here."""
        self.script.refuse("elsewhere", UsernameTaken())
        self.refused(UsernameTaken, "shared", key="call")
        self.refused(UsernameTaken, "shared")
        user_id = UserID("shared", SERVER)
        self.parts.names.made.add((key_of("bridge", user_id, "call"), user_id))
        self.assertEqual(self.made("shared", key="call").user_id, user_id)

    def test_addresses(self) -> None:
        """The addresses that a service vouches for are brought to canonical form, or refused."""
        given = (Threepid("email", "A@Mail.example", 1), Threepid("email", "a@mail.example", 2))
        self.assertEqual(
            self.made(threepids=given).threepids, (Threepid("email", "a@mail.example", 1),)
        )
        self.script.steps.clear()
        self.refused(InvalidParam, threepids=(Threepid("email", "nonsense", 1),))
        self.assertEqual(self.script.steps, [])

    def test_log(self) -> None:
        """One log line reports the ghost, without secrets."""
        with capturedLogs() as events:
            self.made(password=Secret("pass"))
        (event,) = events
        self.assertEqual((event["user_id"], event["exclusive"]), (str(GHOST), True))
        for secret in ("pass", "ssap", "as token"):
            self.assertNotIn(secret, repr(event))


class KeyTests(BridgeCase):
    """A call with a key is idempotent."""

    def ask_for(self, localpart: str, token: str = TOKEN, key: str = "call", **more: Any) -> Any:
        asked = self.subsystem.handler.appservice_register(
            localpart, Secret(token), key=key, **{"device": PHONE, **more}
        )
        return Deferred.fromCoroutine(asked)

    def test_sameKey(self) -> None:
        """The same call again finds its account and login; nothing more is written or logged."""
        first = self.successResultOf(self.ask_for("_irc_alice"))
        self.assertFalse(first.replayed)
        before = self.counts()
        with capturedLogs() as events:
            again = self.successResultOf(self.ask_for("_irc_alice", device=DeviceRequest()))
        self.assertTrue(again.replayed)
        self.assertEqual((again.user_id, again.login), (first.user_id, first.login))
        self.assertEqual(self.counts(), before)
        self.assertEqual([event for event in events if "registered" in str(event)], [])

    def test_otherAccounts(self) -> None:
        """A key finds no account but the one that this service has made under this name with it:
        not another name, nor another service's user, nor what a registration has made."""
        made = [
            self.successResultOf(self.ask_for("_irc_alice")),
            self.successResultOf(self.ask_for("_irc_bob")),
            self.successResultOf(self.ask_for("_other_alice", OTHER_TOKEN)),
            self.successResultOf(self.ask_for("_open_alice")),
            self.wait(self.subsystem.handler.register_user(key="call", localpart="alice")),
            self.wait(self.subsystem.handler.register_user(key="other call", localpart="bob")),
            self.successResultOf(self.ask_for("_open_bob", key="other call")),
        ]
        self.assertEqual(len({created.user_id for created in made}), len(made))
        self.assertFalse(any(created.replayed for created in made))
        for token, localpart, key in (
            (OTHER_TOKEN, "_open_alice", "call"),
            (TOKEN, "_irc_alice", "another call"),
        ):
            self.failureResultOf(self.ask_for(localpart, token, key), UsernameTaken)

    def test_withoutAKey(self) -> None:
        """Without a key a repeated call is another one."""
        self.successResultOf(self.ask_for("_irc_alice"))
        asked = self.subsystem.handler.appservice_register("_irc_alice", Secret(TOKEN))
        self.failureResultOf(Deferred.fromCoroutine(asked), UsernameTaken)


class ManyTests(BridgeCase):
    def test_memory(self) -> None:
        """Registering many ghosts leaves nothing in memory."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        sizes = []
        for start in (0, 1000):  # bounded caches are full after the first
            self.ghosts(start, start + 1000)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        self.assertLess(sizes[1] - sizes[0], 1000 * 5)

    def ghosts(self, start: int, end: int) -> None:
        for number in range(start, end):
            asked = self.subsystem.handler.appservice_register(f"_irc_{number}", Secret(TOKEN))
            self.wait(asked)
            self.clock.advance(0)
