"""Tests of embedding.py with the memory system of regsys. Run this in docs/examples with

python -m twisted.trial test_homeserver
"""

from __future__ import annotations

from pathlib import Path

from embedding import DoorCode, Homeserver
from store import Store, open_database
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

import regsys
from regsys.errors import Unavailable
from regsys.model import Secret, UserID
from regsys.testing import (
    Client,
    MemoryAccounts,
    MemoryAuth,
    MemoryDevices,
    MemoryDirectory,
    embedded,
)

REGISTER = "/_matrix/client/v3/register"
LOGIN = "/_matrix/client/v3/login"
PASSWORD = "in the looking glass"  # noqa: S105
ALICE = UserID("alice", "test.example")


class DoorTests(SynchronousTestCase):
    """Our stage, over fakes in memory: neither a thread nor a wait."""

    def setUp(self) -> None:
        self.clock = Clock()
        stage = DoorCode(Secret("sesame"))
        hooks = regsys.hooks(self.clock, stages=[stage], flows=[(stage.type,)])
        self.accounts = MemoryAccounts()
        self.directory = MemoryDirectory(trouble=Unavailable())
        devices = MemoryDevices(self.accounts)
        self.registration = embedded(
            self,
            store=self.accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            directory=self.directory,
            clock=self.clock,
            hooks=hooks,
        )
        self.client = Client(self, self.registration.resource())

    def test_code(self) -> None:
        """Only the code opens the door."""
        for code, status in (("open", 401), ("sesame", 200)):
            auth = {"type": DoorCode.type, "code": code}
            answer = self.client.register(username="alice", password=PASSWORD, auth=auth)
            self.assertEqual(answer.status, status)
            self.assertEqual("alice" in self.accounts.by_name, status == 200)

    def test_retried(self) -> None:
        """A directory that fails is told later."""
        auth = {"type": DoorCode.type, "code": "sesame"}
        self.client.register(username="alice", password=PASSWORD, auth=auth)
        self.registration.start()
        self.clock.advance(1)
        self.assertEqual(self.directory.shown, {})
        self.directory.trouble = None
        self.clock.advance(60)
        self.assertEqual(self.directory.shown, {ALICE: "alice"})


class LoginTests(TestCase):
    """Our endpoints, over our own tables: their pool has a thread, so that answers take a while."""

    def setUp(self) -> None:
        pool = open_database(Path(self.mktemp()))
        self.addCleanup(pool.close)
        clock = Clock()
        store = Store(pool, clock)
        registration = embedded(
            self,
            store=store,
            devices=store,
            auth=store,
            users=store,
            threepids=store,
            clock=clock,
        )
        own = Homeserver(store, registration, clock).endpoints()
        self.client = Client(self, registration.having(*own).resource())

    async def test_logIn(self) -> None:
        """A registered user logs in with the password."""
        body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        registered = await self.client.wait(self.client.start("POST", REGISTER, body))
        self.assertEqual((registered.status, registered.json["user_id"]), (200, str(ALICE)))
        identifier = {"type": "m.id.user", "user": "alice"}
        for password, status in (("a guess", 403), (PASSWORD, 200)):
            body = {"type": "m.login.password", "identifier": identifier, "password": password}
            answer = await self.client.wait(self.client.start("POST", LOGIN, body))
            self.assertEqual(answer.status, status)
