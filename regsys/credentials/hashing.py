"""Hashing and verifying passwords off the reactor: one queue, one hash a dialogue (B14.2, B8.3)."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Any, Callable, Optional, TypeVar, Union

import attr
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, maybeDeferred
from twisted.python.failure import Failure

from regsys.credentials.passwords import hash_password, prepare, verify_password
from regsys.errors import LimitExceeded, Unavailable
from regsys.model import Secret

T = TypeVar("T")
# Calls a function in a thread; the Deferred fires in the reactor's with what it returned.
Runner = Callable[..., "Deferred[Any]"]

# Until there is something to measure, a hash is taken to last so long at twelve rounds.
TWELVE_ROUNDS_S = 0.3
# How long, and for how many dialogues, the pool remembers which password gave which hash.
REMEMBERED_S = 3600.0
REMEMBERED_DIALOGUES = 4096


@attr.define(eq=False)
class _Hashing:
    """One hash of one dialogue, under way or made lately; any number of callers wait for it."""

    fingerprint: bytes = attr.field(repr=False)
    until_s: float
    outcome: Union[str, Failure, None] = attr.field(default=None, repr=False)
    waiting: list[Deferred[str]] = attr.field(factory=list)

    def result(self) -> Deferred[str]:
        """A Deferred of the caller's own: cancelling it leaves the others theirs."""
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
    """Hashes and verifies passwords first come first served, never more at once than threads.

    ``run`` calls a function in one of ``threads`` threads. ``seconds`` is a monotonic clock
    that threads may read. While ``waiting_limit`` wait for a thread, further callers
    are told to try again when those should be done. After ``refuse`` all callers are.
    """

    run: Runner
    threads: int
    seconds: Callable[[], float]
    rounds: int = 12
    pepper: str = attr.field(default="", repr=False)
    truncate: bool = False
    waiting_limit: int = 32

    _turns: DeferredSemaphore = attr.field(init=False)
    _hash_s: float = attr.field(init=False)
    # What was asked of the pool and is not answered yet.
    _asked: set[Deferred[Any]] = attr.field(init=False, factory=set)
    _for_room: list[Deferred[None]] = attr.field(init=False, factory=list)
    refuses: bool = attr.field(init=False, default=False)
    _hashings: OrderedDict[str, _Hashing] = attr.field(init=False, factory=OrderedDict)
    # Keyed anew in each process, so that a fingerprint is worth nothing outside of it.
    _key: bytes = attr.field(init=False, repr=False, factory=lambda: secrets.token_bytes(32))

    def __attrs_post_init__(self) -> None:
        self._turns = DeferredSemaphore(self.threads)
        self._hash_s = TWELVE_ROUNDS_S * 2.0 ** (self.rounds - 12)

    @property
    def waiting(self) -> int:
        """How many hashes wait for a thread."""
        return len(self._turns.waiting)

    def has_room(self) -> bool:
        """Whether the queue is less than half full."""
        return self.waiting < self.waiting_limit / 2

    async def room(self) -> None:
        """Return once the queue is less than half full: for work that can wait. May be
        cancelled."""
        while not self.has_room():
            place: Deferred[None] = Deferred(self._for_room.remove)
            self._for_room.append(place)
            await place

    def refuse(self) -> None:
        """The process is about to end: Unavailable for all who wait, now and from now on. What a
        thread has begun it finishes, for nobody."""
        self.refuses = True
        for asked in list(self._asked):
            asked.cancel()

    async def hash(self, password: Secret, once: Optional[str] = None) -> str:
        """The hash to store. ``once`` names a dialogue in which the same password is hashed only
        once, and another password replaces the one before.

        Raises InvalidParam for a lone surrogate, LimitExceeded when too many hashes wait,
        Unavailable when the process is about to end.
        """
        prepared = self._prepare(password)
        if once is None:
            return await self._queue(hash_password, prepared, self.rounds, self.truncate)
        fingerprint = hashlib.blake2b(prepared, key=self._key).digest()
        hashing = self._remembered(once)
        if hashing is None or not secrets.compare_digest(hashing.fingerprint, fingerprint):
            hashing = self._begin(once, fingerprint, prepared)
        return await hashing.result()

    async def verify(self, password: Secret, stored: Optional[str]) -> bool:
        """Whether the password matches; takes as long for None (an account without a password).
        Raises as ``hash`` does."""
        prepared = self._prepare(password)
        if stored is None:
            # As much work as for an account with a password, so that time tells nothing.
            await self._queue(hash_password, prepared, self.rounds, self.truncate)
            return False
        return await self._queue(verify_password, prepared, stored)

    def _prepare(self, password: Secret) -> bytes:
        return prepare(password.reveal(), self.pepper)

    # The queue

    def _queue(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Call the function in a thread when its turn comes; LimitExceeded if the queue is full."""
        if self.refuses:
            raise _stopping()
        if self.waiting >= self.waiting_limit:
            ahead_s = self._hash_s * (self.waiting + 1) / self.threads
            raise LimitExceeded(round(ahead_s * 1000), "The server is busy: try again shortly.")
        asked = Deferred.fromCoroutine(self._answered(function, args))
        self._asked.add(asked)
        asked.addBoth(self._was_answered, asked)
        return asked

    def _was_answered(self, outcome: T, asked: Deferred[T]) -> T:
        self._asked.discard(asked)
        return outcome

    async def _answered(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        try:
            return await self._in_turn(function, args)
        except CancelledError:
            if self.refuses:
                raise _stopping() from None
            raise

    async def _in_turn(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        await self._turns.acquire()
        done: Deferred[T] = Deferred()
        # A caller who goes away cancels ``done`` only: a thread can't be called back, and its
        # place is not free before it has finished.
        working: Deferred[T] = maybeDeferred(self.run, self._timed, function, args)
        working.addBoth(self._release)
        working.chainDeferred(done)
        return await done

    def _timed(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        """Runs in a thread. The estimate it sharpens is one float: no lock is needed."""
        started_s = self.seconds()
        try:
            return function(*args)
        finally:
            self._hash_s += (self.seconds() - started_s - self._hash_s) / 8

    def _release(self, outcome: T) -> T:
        self._turns.release()
        while self._for_room and self.has_room():
            self._for_room.pop(0).callback(None)
        return outcome

    # The memory

    def _begin(self, once: str, fingerprint: bytes, prepared: bytes) -> _Hashing:
        # Queued before it is remembered: a full queue leaves the earlier hash in its place.
        working = self._queue(hash_password, prepared, self.rounds, self.truncate)
        hashing = _Hashing(fingerprint, self.seconds() + REMEMBERED_S)
        self._hashings[once] = hashing
        self._hashings.move_to_end(once)
        if len(self._hashings) > REMEMBERED_DIALOGUES:
            self._hashings.popitem(last=False)
        working.addErrback(self._forget, once, hashing).addBoth(hashing.finish)
        return hashing

    def _forget(self, failure: Failure, once: str, hashing: _Hashing) -> Failure:
        if self._hashings.get(once) is hashing:
            del self._hashings[once]
        return failure

    def _remembered(self, once: str) -> Optional[_Hashing]:
        # The oldest come first, and all live equally long.
        while self._hashings and next(iter(self._hashings.values())).until_s <= self.seconds():
            self._hashings.popitem(last=False)
        return self._hashings.get(once)


def _stopping() -> Unavailable:
    return Unavailable("The server is about to stop: try again shortly.")
