"""The threads that hash (contract B14.2)."""

from __future__ import annotations

import os
import sys
import threading

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, TestCase

from regsys.credentials.hashing import HashingPool, HashingThreads
from regsys.model import Secret

# The cheapest hash that bcrypt makes.
ROUNDS = 4
# This process's, before any thread of ours has run.
PRIORITY = os.getpriority(os.PRIO_PROCESS, 0)


class ThreadsTests(TestCase):
    def setUp(self) -> None:
        self.threads = HashingThreads(reactor, 2)  # type: ignore[arg-type]  # a module, to mypy
        self.threads.start()
        self.addCleanup(self.threads.stop)

    async def test_worksOutsideTheReactorsThread(self) -> None:
        """A function runs in another thread; its result and its error come back to the
        reactor's."""
        there = await self.threads.run(threading.get_ident)
        self.assertNotEqual(there, threading.get_ident())
        with self.assertRaises(ValueError):
            await self.threads.run(int, "x")

    async def test_threadsYieldToTheReactor(self) -> None:
        """On Linux the threads have a lower priority than the process; the process keeps its
        own."""
        if sys.platform != "linux":
            raise SkipTest("priorities of single threads are Linux's")
        there = await self.threads.run(os.getpriority, os.PRIO_PROCESS, 0)
        self.assertEqual(there, min(PRIORITY + 10, 19))
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, 0), PRIORITY)

    async def test_poolOverThreads(self) -> None:
        """A pool over real threads hashes and verifies."""
        pool = HashingPool(
            run=self.threads.run, threads=self.threads.size, seconds=reactor.seconds, rounds=ROUNDS
        )
        stored = await pool.hash(Secret("password"))
        self.assertTrue(await pool.verify(Secret("password"), stored))
        self.assertFalse(await pool.verify(Secret("Password"), stored))

    async def test_stopEndsThem(self) -> None:
        """Once stopped, no thread is left."""
        threads = HashingThreads(reactor, 2)  # type: ignore[arg-type]  # likewise
        threads.start()
        there = await threads.run(threading.current_thread)
        self.assertTrue(there.is_alive())
        threads.stop()
        self.assertFalse(there.is_alive())

    def test_oneForEachCore(self) -> None:
        """By default there are as many threads as cores that the process may use."""
        threads = HashingThreads(reactor)  # type: ignore[arg-type]  # likewise
        self.assertGreaterEqual(threads.size, 1)
        self.assertLessEqual(threads.size, os.cpu_count() or 1)
