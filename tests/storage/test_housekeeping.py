"""Expired rows go every minute, in batches, whatever happens to one store."""

from __future__ import annotations

from typing import Optional

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Unavailable
from regsys.storage.housekeeping import Housekeeping


class Shelf:
    """Rows with an end: how many there are, in how many goes they went, or what is wrong."""

    def __init__(self, rows: int, error: Optional[Exception] = None) -> None:
        self.rows = rows
        self.error = error
        self.goes: list[int] = []

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        self.goes.append(now_ms)
        if self.error is not None:
            raise self.error
        gone = min(self.rows, at_most)
        self.rows -= gone
        return gone


class Broken(Shelf):
    """Named by the log."""


class Slow(Shelf):
    """Each go takes its time."""

    def __init__(self, rows: int, clock: Clock, took_s: float) -> None:
        super().__init__(rows)
        self._clock = clock
        self._took_s = took_s
        self.is_busy = False

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        if self._took_s:
            self.is_busy = True
            await deferLater(self._clock, self._took_s, lambda: None)
            self.is_busy = False
        return await super().delete_expired(now_ms, at_most)


class HousekeepingTests(SynchronousTestCase):
    def test_everyMinute(self) -> None:
        """At the start and then every minute what has expired goes."""
        clock = Clock()
        clock.advance(7)
        shelves = Shelf(20), Shelf(3)
        housekeeping = Housekeeping(shelves, clock)
        housekeeping.start()
        self.assertEqual([shelf.rows for shelf in shelves], [0, 0])
        clock.advance(60)
        self.assertEqual([shelf.goes for shelf in shelves], [[7000, 67_000]] * 2)
        housekeeping.stop()
        clock.advance(60)
        self.assertEqual(len(shelves[1].goes), 2)

    def test_looks(self) -> None:
        """At the end of each round it looks at what is left; a look that fails is logged, and ends
        neither the round nor the loop."""
        clock, shelf, seen = Clock(), Shelf(3), []

        async def fails() -> None:
            raise Unavailable()

        async def look() -> None:
            seen.append(shelf.rows)

        with capturedLogs() as events:
            Housekeeping([shelf], clock, [fails, look]).start()
            clock.advance(60)
        self.assertEqual(seen, [0, 0])
        self.assertEqual([event["log_level"].name for event in events], ["warn"] * 2)

    def test_batches(self) -> None:
        """Many rows go some at a time. Between one batch and the next the database belongs to
        others for three times as long as the batch took, and for a moment at least."""
        for took_s, rest_s in ((0.2, 0.6), (0.0, 0.01)):
            clock = Clock()
            shelf = Slow(1200, clock, took_s)
            Housekeeping([shelf], clock).start()
            for left in (700, 200, 0):
                clock.advance(took_s)
                self.assertEqual(shelf.rows, left)
                clock.advance(rest_s * 0.9)
                self.assertFalse(shelf.is_busy)
                clock.advance(rest_s * 0.11)
                self.assertIs(shelf.is_busy, left != 0 and took_s != 0)

    def test_stopped(self) -> None:
        """Once it is stopped no further batch begins, and nothing is left behind on the clock."""
        for took_s, advance_s in ((0.2, 0.1), (0.2, 0.3), (0.0, 0.0)):
            clock = Clock()
            shelves = Slow(1200, clock, took_s), Shelf(1)
            housekeeping = Housekeeping(shelves, clock)
            housekeeping.start()
            clock.advance(advance_s)
            housekeeping.stop()
            clock.pump([0.1] * 20)
            self.assertEqual((shelves[0].rows, shelves[1].rows), (700, 1))
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_trouble(self) -> None:
        """Whatever goes wrong with one store, it is logged with that store's name, the others are
        swept in the same round, and the next round tries again."""
        clock = Clock()
        shelves = Shelf(1), Broken(1), Shelf(1)
        Housekeeping(shelves, clock).start()
        for error, text in (
            (Unavailable(), "could not sweep Broken: "),
            (TypeError("a bug"), "could not sweep Broken"),
            (KeyError("user_id"), "could not sweep Broken"),
            (CancelledError(), "could not sweep Broken"),
        ):
            shelves[1].error = error
            for shelf in shelves:
                shelf.rows = 1
            with capturedLogs() as events:
                clock.advance(60)
            self.assertEqual([shelf.rows for shelf in shelves], [0, 1, 0])
            (event,) = events
            self.assertIn(text, formatEvent(event))
            shelves[1].error = None
            clock.advance(60)
            self.assertEqual(shelves[1].rows, 0)
        self.assertEqual(len(self.flushLoggedErrors()), 3)

    def test_neverStarted(self) -> None:
        """What was never started can be stopped."""
        Housekeeping([], Clock()).stop()
