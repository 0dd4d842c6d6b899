"""Threads that modules block for ever (threat C23), in a process as it is served."""

from __future__ import annotations

import json
import threading
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource

import regsys
from regsys import http
from regsys.errors import ModuleRefusal
from regsys.modules.threads import AT_ONCE, WAITING, ModuleThreads
from tests.support.case import DUMMY
from tests.support.client import V3
from tests.support.databases import sqlite_file
from tests.support.modules import package
from tests.support.patience import PATIENCE_S

BLOCKED = 200


class Hello(Resource):
    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps({"got": request.content.read().decode()}).encode()


class BlockedTests(TestCase):
    timeout = 2 * PATIENCE_S

    def setUp(self) -> None:
        self.free = threading.Event()
        self.waiting: list[Deferred[Any]] = []
        self.before: Any = reactor.nameResolver  # type: ignore[attr-defined]
        self.addCleanup(reactor.installNameResolver, self.before)  # type: ignore[attr-defined]
        apis: list[Any] = []
        path = f"{package(self, Module=lambda config, api: apis.append(api) or api)}.Module"
        chosen = regsys.parse(
            {
                "server_name": "test.example",
                "macaroon_secret_key": "x",
                "enable_registration": True,
                "enable_registration_without_verification": True,
                "bcrypt_rounds": 4,
                "database": {"name": "sqlite3", "args": {"database": sqlite_file(self)}},
                "modules": [{"module": path}],
            }
        )
        self.subsystem = regsys.standalone(chosen, reactor)
        (self.api,) = apis
        self.subsystem.start()
        site = http.site(self.subsystem.resource(), clock=reactor)  # type: ignore[arg-type]
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.url = f"http://localhost:{port.getHost().port}"
        self.addCleanup(self.end, port)

    async def _end(self, port: Any) -> None:
        self.free.set()
        for waiting in self.waiting:
            await waiting
        await port.stopListening()
        await self.subsystem.stop()

    def end(self, port: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self._end(port))

    def block(self) -> None:
        """As many calls as there may be, in threads of the API and in those of the reactor, which
        older modules use."""
        for _ in range(BLOCKED):
            for call in (
                Deferred.fromCoroutine(self.api.defer_to_thread(self.free.wait)),
                deferToThread(self.free.wait),
            ):
                self.waiting.append(call.addErrback(lambda failure: failure.trap(ModuleRefusal)))

    async def test_blocked(self) -> None:
        """Registrations go on, over a name that is looked up; so does what a module serves, and
        what it asks by name."""
        self.block()
        body = {"username": "alice", "password": "correct horse", "auth": DUMMY}
        answer = await treq.post(f"{self.url}{V3}/register", json=body, persistent=False)
        self.assertEqual(answer.code, 200)
        self.assertEqual((await answer.json())["user_id"], "@alice:test.example")
        self.api.register_web_resource("/_synapse/client/hello", Hello())
        found = await self.api.http_client.post_json_get_json(
            f"{self.url}/_synapse/client/hello", {"a": 1}
        )
        self.assertEqual(found, {"got": '{"a": 1}'})
        self.assertEqual(await self.api.run_db_interaction("x", lambda txn: 3), 3)
        user_id, _ = await self.api.register("bob")
        self.assertEqual(user_id, "@bob:test.example")


class ThreadsTests(TestCase):
    timeout = PATIENCE_S

    async def test_bounded(self) -> None:
        """So many run at once, so many wait, and no more; one that is given up while it waits is
        never called, and one that runs keeps its place until it ends."""
        threads, free, calls = ModuleThreads(reactor), threading.Event(), list[int]()

        def call(number: int) -> int:
            calls.append(number)
            free.wait()
            return number

        begun = [threads.run(call, number) for number in range(AT_ONCE + WAITING)]
        refused = self.failureResultOf(threads.run(call, -1))
        self.assertEqual(refused.value.status, 503)
        for number in (0, AT_ONCE):
            begun[number].cancel()
            self.failureResultOf(begun[number], CancelledError)
        free.set()
        for number, deferred in enumerate(begun):
            if number not in (0, AT_ONCE):
                self.assertEqual(await deferred, number)
        self.assertEqual(sorted(calls), sorted({*range(AT_ONCE + WAITING)} - {AT_ONCE}))
        with self.assertRaises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
