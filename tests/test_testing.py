"""``regsys.testing``: a subsystem in memory over an embedder's parts, and the client of it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

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
    config,
    embedded,
    memory_process,
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

    def test_misspeltOption(self) -> None:
        """So is one whose value could be an option's, with the name that was probably meant."""
        for given, meant in (
            ({"threepid": None}, "did you mean 'threepids'?"),
            ({"enable_registartion": 1}, "did you mean enable_registration?"),
            ({"nonsense": 1}, "nor an option"),
        ):
            error = self.assertRaises(TypeError, self.embedded, **given)
            self.assertIn(meant, str(error))
            self.assertTrue(str(error).startswith(f"{next(iter(given))!r} is neither"), error)
        self.embedded(server_name="own.example", rooms=None)

    def test_withoutKey(self) -> None:
        """Without a macaroon_secret_key one is drawn."""
        clock, chosen = Clock(), config(macaroon_secret_key=None)
        process = memory_process(self, chosen, clock)
        auth = MemoryAuth(self.devices)
        given = {"store": self.accounts, "devices": self.devices, "auth": auth}
        system = regsys.embedded(chosen, clock, process=process, **given)
        self.assertEqual(Client(self, system.resource()).register(**BODY).status, 200)


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


class DialogueTests(SynchronousTestCase):
    def register(self, client: Client) -> None:
        """Register in two requests, of which the second waits for the password's hash."""
        body = {"username": "alice", "password": "correct horse"}
        session = client.register(**body).json["session"]
        answer = client.register(auth={"session": session, **DUMMY})
        self.assertEqual(answer.status, 200, answer)

    def test_twoRequests(self) -> None:
        """Nothing waits: the client gives the subsystem's clock its turn."""
        self.register(Client(self, standalone(self).resource()))

    def test_ownClock(self) -> None:
        """Below another resource the client is told the clock."""
        clock, root = Clock(), Resource()
        root.putChild(b"_matrix", standalone(self, clock).resource())
        self.register(Client(self, root, clock))


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
