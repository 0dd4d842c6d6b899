"""Which limits are counted over several processes, and how often a request asks for them."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from regsys import wiring
from regsys.errors import Unavailable
from regsys.model.buckets import Bucket
from regsys.outbound import redis as redis_store
from regsys.testing import config, memory_process
from regsys.wiring import limits
from regsys.wiring.process import counts_together, open_process, prepare
from tests.config.test_workers import POSTGRES, WORKER
from tests.limits.test_shared import Store
from tests.support import redis
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import Client
from tests.support.databases import sqlite_file
from tests.support.patience import PATIENCE_S


class SharedCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = Store()
        self.share()

    def share(self, **options: Any) -> None:
        """Replace the subsystem by one whose limits are in ``store``."""
        chosen = config(**options)
        process = attr.evolve(memory_process(self, chosen, self.clock), buckets=self.store)
        subsystem = wiring.standalone(chosen, self.clock, process=process)
        self.client = Client(self, subsystem.resource())

    @property
    def asked(self) -> list[str]:
        names = [name for name, _ in self.store.asked]
        self.store.asked.clear()
        return names


class SharedLimitTests(SharedCase):
    def test_names(self) -> None:
        """Each limit has a name of its own, under which all processes count it."""
        names: list[str] = []
        buckets_of = limits.BucketsOf

        def named(**more: Any) -> Any:
            names.append(more["name"])
            return buckets_of(**more)

        self.patch(limits, "BucketsOf", named)
        self.share(regsys={"rc_availability": {"per_second": 1, "burst_count": 1}})
        self.assertEqual(
            sorted(names),
            [
                "all mails",
                "all texts",
                "availability",
                "binding",
                "login account",
                "login address",
                "login failed",
                "registration",
                "token validity",
                "validation attempts",
                "validation client",
                "validation mailbox",
            ],
        )

    def test_oneShot(self) -> None:
        """A registration in one request asks once, in two requests once as well."""
        self.register("alice")
        self.assertEqual(self.asked, ["take"])
        self.share()
        session = self.challenge(username="bob", password=PASSWORD)["session"]
        self.assertEqual(self.asked, [])
        self.clock.advance(0)
        answer = self.client.register(auth={**DUMMY, "session": session})
        self.assertEqual((answer.status, self.asked), (200, ["take"]))

    def test_caps(self) -> None:
        """Caps on all registrations are counted there as well, and what is nearly all of them."""
        self.share(regsys={"rc_registration_total": {"per_hour": 10, "per_day": 100}})
        self.register("alice")
        sizes = [(name, buckets[0].burst_count) for name, buckets in self.store.asked]
        self.assertEqual(sizes[1:], [("take", count) for count in (10, 8, 100, 80)])
        self.assertEqual(len({buckets[0].key for _, buckets in self.store.asked}), 5)

    def test_refused(self) -> None:
        """What the store refuses is a 429, for a client that this process knows at its first
        request."""
        self.store.wait_us = 2_500_000
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual((answer.json["retry_after_ms"], self.asked), (2500, ["take"]))
        self.clock.advance(3600)
        self.asked.clear()
        self.store.wait_us = 0
        self.register("alice")
        self.store.wait_us = 1_500_000
        answer = self.client.register(username="bob", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer.json["retry_after_ms"], 1500)
        self.assertEqual(self.asked, ["take", "peek"])


class ProcessTests(TestCase):
    def test_oneOfSeveral(self) -> None:
        """A process that knows itself to be one of several counts its limits in the PostgreSQL that
        they share, unless the file says that it does not."""
        sqlite = {"name": "sqlite3", "args": {"database": "a.db"}}
        for options, processes, expected in (
            ({"database": POSTGRES}, 1, False),
            ({"database": POSTGRES}, 2, True),
            ({"database": POSTGRES, "worker_replication_secret": "secret"}, 1, True),
            (WORKER, 1, True),
            ({**WORKER, "regsys": {"shared_limits": False}}, 2, False),
            ({"database": POSTGRES, "regsys": {"shared_limits": True}}, 1, True),
            ({"database": sqlite, "worker_replication_secret": "secret"}, 1, False),
        ):
            self.assertIs(counts_together(config(**options), processes), expected, options)

    async def test_redis(self) -> None:
        """The log and the metrics say where the limits of a process are counted; when the process
        stops, it closes its connection."""
        self.patch(redis_store, "DEADLINE_S", PATIENCE_S)
        server = redis.own(self)
        chosen = config(
            database={"name": "sqlite3", "args": {"database": sqlite_file(self)}},
            redis={"enabled": True, "path": server.path},
        )
        prepare(chosen)
        process = open_process(chosen, reactor, b"secret")
        counted = lambda: process.metrics.registry.get_sample_value(  # noqa: E731
            "regsys_rate_limits_counted", {"place": "Redis"}
        )
        with capturedLogs() as events:
            process.start()
            assert process.buckets is not None
            await process.buckets.take([Bucket("a", 10**8, 1)])
            self.assertEqual(counted(), 1)
            process.stop()
            while str(server.ask("CLIENT", "LIST")).count("id=") > 1:
                await deferLater(reactor, 0.01)
            server.stop()
            peeking = Deferred.fromCoroutine(process.buckets.peek([Bucket("a", 10**8, 1)]))
            await self.assertFailure(peeking, Unavailable)
        self.assertEqual(counted(), 0)
        self.assertIn("rate limits are counted in Redis", [formatEvent(event) for event in events])

    def test_alone(self) -> None:
        """A process alone says that it counts by itself."""
        chosen = config(database={"name": "sqlite3", "args": {"database": sqlite_file(self)}})
        prepare(chosen)
        process = open_process(chosen, reactor, b"secret")
        self.assertIsNone(process.buckets)
        labels = {"place": "this process"}
        value = process.metrics.registry.get_sample_value("regsys_rate_limits_counted", labels)
        self.assertEqual(value, 1)
