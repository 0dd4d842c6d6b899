"""``regsys.testing``: a subsystem in memory over an embedder's parts, and the client of it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

import regsys
from regsys.http import Call, Endpoint, Reply, resource
from regsys.model import NewAccount, UserID
from regsys.testing import (
    Client,
    MemoryAccounts,
    MemoryAuth,
    MemoryDevices,
    MemoryDirectory,
    MemoryThreepids,
    embedded,
    standalone,
)

DUMMY = {"type": "m.login.dummy"}
BODY = {"username": "alice", "password": "correct horse", "auth": DUMMY}


class EmbeddedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.accounts = MemoryAccounts()
        self.devices = MemoryDevices(self.accounts)

    def embedded(self, **more: Any) -> regsys.Subsystem:
        auth = MemoryAuth(self.devices)
        return embedded(self, store=self.accounts, devices=self.devices, auth=auth, **more)

    def test_registered(self) -> None:
        """The parts get the account and the device, and every further part is used."""
        directory, clock = MemoryDirectory(), Clock()
        system = self.embedded(directory=directory, clock=clock, server_name="own.example")
        answer = Client(self, system.resource()).register(**BODY)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, "@alice:own.example"))
        alice = UserID("alice", "own.example")
        self.assertEqual(self.accounts.by_name["alice"].user_id, alice)
        self.assertIn((alice, answer.json["device_id"]), self.devices.by_id)
        system.start()
        clock.advance(1)
        self.assertEqual(directory.shown, {alice: "alice"})
        self.successResultOf(Deferred.fromCoroutine(system.stop()))

    def test_hooks(self) -> None:
        """The hooks are those that are given."""
        hooks = regsys.hooks(Clock(), display_name=str.upper)
        self.assertIs(self.embedded(hooks=hooks).hooks.display_name, str.upper)

    def test_misspelt(self) -> None:
        """A part that does not exist is refused by name, and so is an option of a wrong type."""
        with self.assertRaisesRegex(TypeError, r"'thredpids' .* embedded\(\)"):
            self.embedded(thredpids=MemoryThreepids(self.accounts))
        with self.assertRaisesRegex(TypeError, r"'store' .* standalone\(\)"):
            standalone(self, store=self.accounts)


class StandaloneTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Every argument of regsys.standalone is passed on, ``also`` included."""
        written: list[NewAccount] = []
        directory, clock = MemoryDirectory(), Clock()
        system = standalone(
            self, clock, directory=directory, also=lambda txn, new: written.append(new)
        )
        Client(self, system.resource()).register(**BODY)
        self.assertEqual([str(new.user_id) for new in written], ["@alice:test.example"])
        system.start()
        clock.advance(1)
        self.assertEqual(list(directory.shown.values()), ["alice"])
        self.successResultOf(Deferred.fromCoroutine(system.stop()))


class ClientTests(TestCase):
    async def slow(self, call: Call) -> Reply:
        await deferLater(reactor, 0.01)
        return Reply({"body": call.object(), "agent": call.client.user_agent})

    async def test_wait(self) -> None:
        """The client waits for an answer that the reactor brings later; others need not wait."""
        client = Client(self, resource([Endpoint("slow", ("/slow",), {"POST": self.slow})]))
        started = client.start("POST", "/slow", {"a": 1}, User_Agent="me")
        self.assertNoResult(started)
        answer = await client.wait(started)
        self.assertEqual((answer.status, answer.json), (200, {"body": {"a": 1}, "agent": "me"}))
        refused = await client.wait(client.start("GET", "/elsewhere"))
        self.assertEqual((refused.status, refused.errcode), (404, "M_UNRECOGNIZED"))
