"""The threads that hash passwords, with a lower priority than the reactor's thread (contract
B14.2)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Callable, Optional, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

# How much lower than the process's priority, on the scale of nice(1).
NICENESS = 10


class _NicedThread(threading.Thread):
    """A thread that yields the processor to the reactor's thread."""

    def run(self) -> None:
        # On systems other than Linux a priority applies to the whole process.
        if sys.platform == "linux":
            nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS
            # A sandbox may forbid it; hashing works at any priority.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(nice, 19))
        super().run()


class _NicedThreadPool(ThreadPool):
    threadFactory = _NicedThread


class HashingThreads:
    """Threads for hashing only, one for each core that the process may use.

    ``run`` is HashingPool's runner. Call ``start`` before it is used and ``stop`` afterwards.
    """

    def __init__(self, reactor: IReactorFromThreads, size: Optional[int] = None) -> None:
        self.size = size or _usable_cores()
        self._reactor = reactor
        self._pool = _NicedThreadPool(0, self.size, "regsys-hashing")

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """End the threads. Blocks until the hashes under way are done."""
        self._pool.stop()

    def run(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Call the function in a thread; fires in the reactor's thread with the result."""
        return deferToThreadPool(self._reactor, self._pool, function, *args)


def _usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
