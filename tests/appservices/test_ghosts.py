"""What a handler makes of an application service's request, and that a refusal leaves nothing."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.errors import (
    AppserviceLoginUnsupported,
    InvalidParam,
    InvalidUsername,
    MissingToken,
    UnknownToken,
    UsernameReserved,
    UsernameTaken,
)
from regsys.model import Appservice, NewAccount, Secret, UserID
from regsys.testing import MemoryAppservices
from tests.appservices.bridges import TOKEN, BridgeCase
from tests.support.handler import NOW_MS, PHONE, SERVER, HandlerCase

BRIDGE = Appservice(id="bridge", as_token=Secret("as token"), sender_localpart="bot")
GHOST = UserID("_ghost", SERVER)


class GhostCase(HandlerCase):
    def make(self, service: Appservice = BRIDGE, **config: Any) -> None:
        super().make(**config)
        services = MemoryAppservices({"_ghost": {"bridge"}}, [service], ["shared"])
        ghosts = attr.evolve(self.parts.handler.ghosts, services=services)
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

    def test_log(self) -> None:
        """One log line reports the ghost, without secrets."""
        with capturedLogs() as events:
            self.made(password=Secret("pass"))
        (event,) = events
        self.assertEqual((event["user_id"], event["exclusive"]), (str(GHOST), True))
        for secret in ("pass", "ssap", "as token"):
            self.assertNotIn(secret, repr(event))


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
