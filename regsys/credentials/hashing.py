"""Hashes and verifies passwords in threads, through one bounded queue (contract B14.2, B8.3)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import threading
from collections import OrderedDict
from typing import Any, Callable, Optional, TypeVar, Union

import attr
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from regsys.credentials.passwords import hash_password, prepare, verify_password
from regsys.errors import LimitExceeded, Unavailable
from regsys.model import Secret
from regsys.model.typed import check_type

T = TypeVar("T")
# Calls a function in a thread; the Deferred fires in the reactor's thread with the result.
Runner = Callable[..., "Deferred[Any]"]

# The estimate for a hash of twelve rounds, until one has been measured.
TWELVE_ROUNDS_S = 0.3
# How long, and for how many UIA sessions, the pool remembers the latest password's hash.
REMEMBERED_S = 3600.0
REMEMBERED_SESSIONS = 4096
# How many calls may wait for a thread: in one process, and in each of very many.
WAITING, LEAST_WAITING = 32, 8


@attr.define(eq=False)
class _Hashing:
    """The hash of one UIA session's password, under way or made lately; any number of callers may
    wait for it."""

    fingerprint: bytes = attr.field(repr=False)
    until_s: float
    outcome: Union[str, Failure, None] = attr.field(default=None, repr=False)
    waiting: list[Deferred[str]] = attr.field(factory=list)

    def result(self) -> Deferred[str]:
        """A Deferred for one caller: cancelling it does not affect the others."""
        mine: Deferred[str] = Deferred()
        if self.outcome is None:
            self.waiting.append(mine)
        else:
            mine.callback(self.outcome)
        return mine

    def finish(self, outcome: Union[str, Failure]) -> None:
        self.outcome = outcome
        for deferred in self.waiting:
            deferred.callback(outcome)
        self.waiting.clear()


@attr.define(kw_only=True, eq=False)
class HashingPool:
    """Hashes and verifies passwords, first come, first served.

    ``run`` calls a function in one of ``threads`` threads. ``seconds`` is a monotonic clock that
    threads may read. While ``waiting_limit`` calls wait for a thread, further calls raise
    LimitExceeded with an estimate of when to try again. After ``refuse`` all calls raise
    Unavailable.
    """

    run: Runner
    threads: int
    seconds: Callable[[], float]
    rounds: int = 12
    pepper: str = attr.field(default="", repr=False)
    truncate: bool = False
    waiting_limit: int = WAITING

    _free_threads: DeferredSemaphore = attr.field(init=False)
    _hash_s: float = attr.field(init=False)
    # The calls that have not ended yet.
    _calls: set[Deferred[Any]] = attr.field(init=False, factory=set)
    _for_room: list[Deferred[None]] = attr.field(init=False, factory=list)
    refuses: bool = attr.field(init=False, default=False)
    _hashings: OrderedDict[str, _Hashing] = attr.field(init=False, factory=OrderedDict)
    # A new key for each process, so that fingerprints are useless outside it.
    _key: bytes = attr.field(init=False, repr=False, factory=lambda: secrets.token_bytes(32))

    def __attrs_post_init__(self) -> None:
        self._free_threads = DeferredSemaphore(self.threads)
        self._hash_s = TWELVE_ROUNDS_S * 2.0 ** (self.rounds - 12)

    @property
    def waiting(self) -> int:
        """How many hashes wait for a thread."""
        return len(self._free_threads.waiting)

    def has_room(self) -> bool:
        """Whether the queue is less than half full."""
        return self.waiting < self.waiting_limit / 2

    async def wait_for_room(self) -> None:
        """Return once the queue is less than half full: for work that can wait. May be
        cancelled."""
        while not self.has_room():
            place: Deferred[None] = Deferred(self._for_room.remove)
            self._for_room.append(place)
            await place

    def refuse(self) -> None:
        """The process is about to end: the calls that wait raise Unavailable now, and later calls
        at once. Threads finish what they have begun; the results are dropped."""
        self.refuses = True
        for call in list(self._calls):
            call.cancel()

    async def hash(self, password: Secret, session_id: Optional[str] = None) -> str:
        """The hash to store. ``session_id``: a UIA session, in which the same password is hashed
        only once, and another password replaces the one before.

        Raises InvalidParam for a lone surrogate, LimitExceeded when too many hashes wait,
        Unavailable when the process is about to end.
        """
        prepared = self._prepare(password)
        if session_id is None:
            return await self._queue(hash_password, prepared, self.rounds, self.truncate)
        fingerprint = hashlib.blake2b(prepared, key=self._key).digest()
        hashing = self._remembered(session_id)
        if hashing is None or not secrets.compare_digest(hashing.fingerprint, fingerprint):
            hashing = self._begin(session_id, fingerprint, prepared)
        return await hashing.result()

    async def verify(self, password: Secret, stored: Optional[str]) -> bool:
        """Whether the password matches; takes as long for None (an account without a password).
        Raises as ``hash`` does."""
        prepared = self._prepare(password)
        if stored is None:
            # As much work as for an account with a password, so that the time reveals nothing.
            await self._queue(hash_password, prepared, self.rounds, self.truncate)
            return False
        return await self._queue(verify_password, prepared, stored)

    def _prepare(self, password: Secret) -> bytes:
        check_type("password", password, Secret)
        return prepare(password.reveal(), self.pepper)

    # The queue

    def _queue(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Call the function in a thread when its turn comes; LimitExceeded if the queue is full."""
        if self.refuses:
            raise _stopping()
        if self.waiting >= self.waiting_limit:
            ahead_s = self._hash_s * (self.waiting + 1) / self.threads
            wait_ms = round(ahead_s * 1000)
            refusal = LimitExceeded(wait_ms, "The server is busy: try again shortly.")
            raise refusal.by_rule("busy")
        call = Deferred.fromCoroutine(self._run(function, args))
        self._calls.add(call)
        call.addBoth(self._ended, call)
        return call

    def _ended(self, outcome: T, call: Deferred[T]) -> T:
        self._calls.discard(call)
        return outcome

    async def _run(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        try:
            return await self._in_thread(function, args)
        except CancelledError:
            if self.refuses:
                raise _stopping() from None
            raise

    async def _in_thread(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        await self._free_threads.acquire()
        done: Deferred[T] = Deferred()
        # Cancelling ends ``done`` only: the thread cannot be stopped, and counts as busy
        # until it has finished.
        working: Deferred[T] = maybeDeferred(self.run, self._timed, function, args)
        working.addBoth(self._release)
        working.chainDeferred(done)
        return await done

    def _timed(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        """Runs in a thread and updates the estimate, which is one float and needs no lock."""
        started_s = self.seconds()
        try:
            return function(*args)
        finally:
            self._hash_s += (self.seconds() - started_s - self._hash_s) / 8

    def _release(self, outcome: T) -> T:
        self._free_threads.release()
        while self._for_room and self.has_room():
            self._for_room.pop(0).callback(None)
        return outcome

    # The memory

    def _begin(self, session_id: str, fingerprint: bytes, prepared: bytes) -> _Hashing:
        # Queued before it is remembered: a full queue leaves the earlier hash in its place.
        working = self._queue(hash_password, prepared, self.rounds, self.truncate)
        hashing = _Hashing(fingerprint, self.seconds() + REMEMBERED_S)
        self._hashings[session_id] = hashing
        self._hashings.move_to_end(session_id)
        if len(self._hashings) > REMEMBERED_SESSIONS:
            self._hashings.popitem(last=False)
        working.addErrback(self._forget, session_id, hashing).addBoth(hashing.finish)
        return hashing

    def _forget(self, failure: Failure, session_id: str, hashing: _Hashing) -> Failure:
        if self._hashings.get(session_id) is hashing:
            del self._hashings[session_id]
        return failure

    def _remembered(self, session_id: str) -> Optional[_Hashing]:
        # The oldest come first, and all expire after the same time.
        while self._hashings and next(iter(self._hashings.values())).until_s <= self.seconds():
            self._hashings.popitem(last=False)
        return self._hashings.get(session_id)


def _stopping() -> Unavailable:
    return Unavailable("The server is about to stop: try again shortly.")


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
    """Threads for hashing only, one for each core that the process may use; ``processes`` share
    the cores.

    ``run`` is HashingPool's runner. Call ``start`` before it is used and ``stop`` afterwards.
    """

    def __init__(
        self, reactor: IReactorFromThreads, size: Optional[int] = None, processes: int = 1
    ) -> None:
        self.size = size or max(1, usable_cores() // processes)
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


def usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
