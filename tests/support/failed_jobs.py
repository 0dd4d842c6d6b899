"""Failures of jobs, which the runner logs and retries. Like logged errors in trial they fail the
test, unless it expects them and flushes them."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from twisted.logger import LogEvent, globalLogPublisher


class FailedJobs:
    """The failed attempts at jobs while ``case`` runs, as log events."""

    def __init__(self, case: TestCase) -> None:
        self._case = case
        self._events: list[LogEvent] = []
        globalLogPublisher.addObserver(self._observe)
        case.addCleanup(self._end)

    def flush(self) -> list[str]:
        """The errors so far, which no longer fail the test."""
        events, self._events = self._events, []
        return [event["error"] for event in events]

    def _observe(self, event: LogEvent) -> None:
        if event["log_namespace"] == "regsys.jobs" and {"job_id", "attempts"} <= event.keys():
            self._events.append(event)

    def _end(self) -> Any:
        globalLogPublisher.removeObserver(self._observe)
        failed = [f"{event['kind']}: {event['error']}" for event in self._events]
        self._case.assertEqual(failed, [], "jobs failed in this test")
