"""The lines of the log: Twisted's own, in less time."""

from __future__ import annotations

import io
from typing import Any

from twisted.logger import Logger, LogLevel, PredicateResult, capturedLogs, textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from regsys.http import resource
from regsys.logs import Lines, levels
from tests.http.wire import Echo, Wire


class BrokenStr:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class LineTests(SynchronousTestCase):
    def assertAsTwisted(self, **event: Any) -> None:
        """An event's line is the one that Twisted writes."""
        ours, theirs = io.StringIO(), io.StringIO()
        for observe in (Lines(ours), textFileLogObserver(theirs)):
            logged = {"log_time": 1_700_000_000.75, "log_level": LogLevel.info, **event}
            observe({"log_namespace": "regsys.test", **logged})
        self.assertEqual(ours.getvalue(), theirs.getvalue(), event)

    def test_asTwisted(self) -> None:
        """Plain or odd, an event's line is the one that Twisted's observer writes."""
        cases: list[dict[str, Any]] = [
            {"log_format": "registered {user_id} (guest={guest})", "user_id": "@a:b", "guest": 1},
            {"log_format": "two\nlines of {name}", "name": "x\ny\n"},
            {"log_format": "{thing.name!r} {items[0]:>5}", "thing": LogLevel.warn, "items": [7]},
            {"log_format": "called: {function()}", "function": lambda: "once"},
            {"log_format": "{missing}"},
            {"log_format": "{it}", "it": BrokenStr()},
            {"log_format": "", "log_level": LogLevel.error},
            {"log_format": None},
            {},
            {"log_format": "of old", "log_system": "a system"},
            {"log_format": "no time", "log_time": None},
            {"log_format": "failed", "log_failure": Failure(ValueError("why"))},
        ]
        for case in cases:
            self.assertAsTwisted(**case)

    def test_written(self) -> None:
        """An event is written at once, with its time, source and level."""
        out = io.StringIO()
        log = Logger(namespace="regsys.test", observer=Lines(out))
        log.warn("{count} left", count=2)
        self.assertRegex(out.getvalue(), r"^\d{4}-\d\d-\d\dT.{13} \[regsys\.test#warn\] 2 left\n$")


class LevelTests(SynchronousTestCase):
    def test_idleConnection(self) -> None:
        """That an idle connection was closed is not logged at level info."""
        wire = Wire(resource([Echo("/x").endpoint]), idle_timeout_s=30)
        with capturedLogs() as events:
            wire.clock.advance(31)
        self.assertEqual(events, [])

    def test_levels(self) -> None:
        """Lines of level info are for operators, except Twisted's own about connections."""
        with capturedLogs() as events:
            Logger(namespace="regsys.http.refusals").info("refused")
            Logger(namespace="twisted.web.http").info("opened")
        judged = [levels()(event) for event in events]
        self.assertEqual(judged, [PredicateResult.maybe, PredicateResult.no])
