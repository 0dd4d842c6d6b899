"""Metrics of several processes in one, without processes: each has its slot and its own numbers."""

from __future__ import annotations

import os
from typing import Callable, Optional

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.metrics import HELD_BY_PROCESS, Metrics
from regsys.metrics.shared import HALF, SharedMetrics, Slot
from regsys.model.jobs import Backlog

LABELS = {"medium": "email", "reason": "register", "attempt": "1"}


def value(shared: SharedMetrics, sample_name: str, **labels: str) -> Optional[float]:
    """As Prometheus reads it; None if it is not shown."""
    text = generate_latest(shared).decode()
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if (sample.name, sample.labels) == (sample_name, labels)
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


class SharedMetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.slots = [Slot(), Slot()]

    def process(self, number: int) -> tuple[Metrics, SharedMetrics]:
        metrics = Metrics()
        return metrics, SharedMetrics(metrics.registry, self.slots, number)

    def validations(self, shared: SharedMetrics) -> Optional[float]:
        return value(shared, "regsys_validation_requests_total", **LABELS)

    def test_countersAdded(self) -> None:
        """Counters and summaries are the sum over all processes, whichever is asked, and series
        that only another one has are shown, too."""
        (one, shown), (two, other) = self.process(0), self.process(1)
        one.validation_requested("email", "register", 1)
        two.validation_requested("email", "register", 1)
        two.validation_requested("email", "register", 1)
        two.database_call("find_user", 0.5)
        other.publish()
        self.assertEqual(self.validations(shown), 3)
        self.assertEqual(self.validations(other), 3)
        self.assertEqual(value(shown, "regsys_database_seconds_sum", name="find_user"), 0.5)
        self.assertEqual(value(shown, "regsys_database_seconds_count", name="find_user"), 1)

    def test_gauges(self) -> None:
        """What each process holds is added; what all read from the database is not."""
        (one, shown), (two, other) = self.process(0), self.process(1)
        for metrics in (one, two):
            metrics.hashes_waiting.set_function(lambda: 4)
            metrics.jobs_waiting([Backlog(kind="mail", count=7, oldest_ms=0)], 5000)
        other.publish()
        self.assertEqual(value(shown, "regsys_hashes_waiting"), 8)
        self.assertEqual(value(shown, "regsys_jobs_waiting", kind="mail"), 7)
        self.assertEqual(value(shown, "regsys_oldest_job_age_seconds", kind="mail"), 5)

    def test_heldByProcess(self) -> None:
        """Each gauge that is added exists."""
        names = {family.name for family in Metrics().registry.collect()}
        self.assertLessEqual(HELD_BY_PROCESS, names)

    def test_neverLess(self) -> None:
        """What one process has shown another one shows, too: a scraper that goes round never sees
        a counter go back."""
        (one, first), (_, second) = self.process(0), self.process(1)
        one.validation_requested("email", "register", 1)
        self.assertEqual(self.validations(first), 1)
        self.assertEqual(self.validations(second), 1)

    def test_replaced(self) -> None:
        """The counters of a process that has ended stay; what it held does not."""
        (one, first), (_, second) = self.process(0), self.process(1)
        one.validation_requested("email", "register", 1)
        one.hashes_waiting.set(3)
        first.publish()
        for _ in range(2):
            one, first = self.process(0)
            first.publish()
        one.validation_requested("email", "register", 1)
        self.assertEqual(self.validations(first), 2)
        self.assertEqual(self.validations(second), 2)
        self.assertEqual(value(second, "regsys_hashes_waiting"), 0)

    def test_created(self) -> None:
        """The time since which a sum counts is that of its first part."""
        (one, shown), (two, other) = self.process(0), self.process(1)
        for metrics in (one, two):
            metrics.validation_requested("email", "register", 1)
        times = [
            sample.value
            for metrics in (one, two)
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "regsys_validation_requests_created"
        ]
        other.publish()
        shows = value(shown, "regsys_validation_requests_created", **LABELS)
        self.assertEqual(shows, min(times))

    def test_tooMany(self) -> None:
        """Numbers that do not fit are logged and left out of the others' sums."""
        one, shown = self.process(0)
        for number in range(3000):
            one.database_call(f"call_{number:050}", 1)
        with capturedLogs() as events:
            shown.publish()
        self.assertIn("are too many", str(events[0]["error"]))
        self.assertIsNone(self.slots[0].read())


class SlotTests(SynchronousTestCase):
    def test_latest(self) -> None:
        """The latest message is read; before the first there is none."""
        slot = Slot()
        self.assertIsNone(slot.read())
        for message in (b"one", b"two", b"", b"three"):
            slot.write(message)
            self.assertEqual(slot.read(), message)

    def test_tooLong(self) -> None:
        """A message that does not fit is refused, and the one before stays."""
        slot = Slot()
        slot.write(b"fits")
        self.assertRaises(ValueError, slot.write, b"x" * HALF)
        self.assertEqual(slot.read(), b"fits")

    def test_diesWhileWriting(self) -> None:
        """Whoever dies while writing leaves the message before."""
        slot = Slot()
        slot.write(b"before")
        self.in_child(lambda: slot.write(Dying(b"half")))  # type: ignore[arg-type]
        self.assertEqual(slot.read(), b"before")

    def test_otherProcess(self) -> None:
        """A forked process writes into the same memory."""
        slot = Slot()
        self.in_child(lambda: slot.write(b"from a child"))
        self.assertEqual(slot.read(), b"from a child")

    def in_child(self, work: Callable[[], object]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


class Dying(bytes):
    """Bytes whose writer dies when their length has been read for the third time: after the head
    of the message, and before its text."""

    _read = 0

    def __len__(self) -> int:
        self._read += 1
        if self._read == 3:
            os._exit(0)
        return super().__len__()
