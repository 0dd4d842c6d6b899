"""Refusals are collected and written in batches, and no flood of them fills the memory or the
database."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.audit.refusals import MOST, MOST_AN_HOUR, REST_S, WRITE_EVERY_S, Refusals
from regsys.errors import Unavailable
from regsys.model.audit import AuditEntry, AuditFilter
from regsys.storage.audit import AuditStore
from regsys.testing.database import memory_database

HOUR_S = 3600
ALL = AuditFilter()


class Store(AuditStore):
    """``away``: the database cannot be reached. ``calls`` counts its writes."""

    away = False
    calls = 0

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        if self.away:
            raise Unavailable()
        type(self).calls += 1
        await super().add(entries)


class RefusalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100 * HOUR_S)
        self.store = Store(memory_database(self, self.clock), 1)
        self.patch(Store, "calls", 0)
        self.refusals = Refusals(self.store, self.clock)
        self.refusals.start()

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def rows(self) -> list[tuple[str, Optional[str], int]]:
        """Rule, network and count of each row, the oldest first."""
        found = self.wait(self.store.list(ALL, 10**6))
        return [(row.rule, row.address, row.times) for row in found[::-1]]

    def add(self, rule: str, address: Optional[str], times: int = 1) -> None:
        for _ in range(times):
            self.refusals.add(rule, address)

    def test_oneRow(self) -> None:
        """Those of one rule, network and minute are one row, which grows; each other is its own.
        Nothing is written before its time, and nothing if there is nothing new."""
        self.add("name-taken", "192.0.2.0/24", 3)
        self.add("name-taken", "198.51.100.0/24")
        self.assertEqual(self.rows(), [])
        self.clock.advance(WRITE_EVERY_S)
        first = [("name-taken", "192.0.2.0/24", 3), ("name-taken", "198.51.100.0/24", 1)]
        self.assertCountEqual(self.rows(), first)
        self.add("name-taken", "192.0.2.0/24", 2)
        self.add("cap hour", "192.0.2.0/24")
        for _ in range(3):
            self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(self.store.calls, 2)
        self.assertEqual(sorted(times for *_, times in self.rows()), [1, 1, 5])
        self.clock.advance(60)
        self.assertEqual(len(self.refusals), 0)
        self.add("name-taken", "192.0.2.0/24")
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(sorted(times for *_, times in self.rows()), [1, 1, 1, 5])

    def test_flood(self) -> None:
        """10,000 refusals of as many networks in an hour are at most so many rows, and none of them
        goes uncounted; the memory holds no more, and is empty afterwards."""
        most = 0
        for number in range(10_000):
            self.add(f"stage m.{number % 7}", f"10.{number // 250}.{number % 250}.0/24")
            most = max(most, len(self.refusals))
            if number % 10 == 0:
                self.clock.advance(3)
        self.clock.advance(WRITE_EVERY_S)
        rows = self.rows()
        self.assertEqual(sum(times for *_, times in rows), 10_000)
        self.assertEqual(len([row for row in rows if row[1] is not None]), MOST_AN_HOUR)
        self.assertEqual({rule for rule, network, _ in rows if network is None}, {"stage"})
        self.assertEqual(len(rows), MOST_AN_HOUR + 1)
        self.assertLessEqual(most, MOST_AN_HOUR + 1)
        self.clock.advance(HOUR_S)
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(len(self.refusals), 0)
        self.add("cap hour", "192.0.2.0/24")
        self.clock.advance(WRITE_EVERY_S)
        self.assertIn(("cap hour", "192.0.2.0/24", 1), self.rows())

    def test_oneNetwork(self) -> None:
        """10,000 refusals of one network in one minute are one row."""
        self.add("rate-limit", "192.0.2.0/24", 10_000)
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(self.rows(), [("rate-limit", "192.0.2.0/24", 10_000)])

    def test_databaseAway(self) -> None:
        """While the database is away the memory stays bounded and tries are rare; what was kept is
        written once it is back, and how many were left out is in the log."""
        self.patch(Store, "away", True)
        for _ in range(5):
            for number in range(MOST_AN_HOUR):
                self.add("rate-limit", f"10.0.{number}.0/24")
            self.clock.advance(WRITE_EVERY_S)
            self.clock.advance(HOUR_S)
        self.assertEqual(len(self.refusals), MOST)
        self.patch(Store, "away", False)
        with capturedLogs() as events:
            self.clock.advance(REST_S + WRITE_EVERY_S)
        self.assertEqual(len(self.rows()), MOST)
        left_out = [event["count"] for event in events if "left out" in event["log_format"]]
        self.assertEqual(left_out, [3 * MOST_AN_HOUR])

    def test_rare(self) -> None:
        """After a write that has failed the next one waits."""
        self.patch(Store, "away", True)
        self.add("rate-limit", None)
        with capturedLogs() as events:
            for _ in range(int(REST_S / WRITE_EVERY_S)):
                self.clock.advance(WRITE_EVERY_S)
        self.assertEqual(len(events), 1, events)

    def test_stop(self) -> None:
        """What is left is written at the end, whether it has begun or not; a database that is away
        then is logged, and ends it as well."""
        self.add("rate-limit", None, 2)
        self.wait(self.refusals.stop())
        self.assertEqual(self.rows(), [("rate-limit", None, 2)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        idle = Refusals(self.store, self.clock)
        idle.add("rate-limit", None)
        self.wait(idle.stop())
        self.assertEqual(len(self.rows()), 2)
        self.patch(Store, "away", True)
        idle.add("rate-limit", None)
        with capturedLogs() as events:
            self.wait(idle.stop())
        self.assertIn("wait to be written", events[0]["log_format"])
