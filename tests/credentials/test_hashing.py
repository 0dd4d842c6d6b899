"""The pool that hashes passwords (contract B14.2, B8.3): its queue and its memory."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Optional

import bcrypt
from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.credentials import hashing
from regsys.credentials.hashing import HashingPool
from regsys.credentials.passwords import verify_password
from regsys.errors import InvalidParam, LimitExceeded, Unavailable
from regsys.model import Secret

# The cheapest hash that bcrypt makes.
ROUNDS = 4


class Threads:
    """A runner whose threads work when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.calls.append((deferred, lambda: function(*args)))
        return deferred

    def finish(self) -> None:
        """Do the work that was handed over first."""
        deferred, call = self.calls.pop(0)
        execute(call).chainDeferred(deferred)

    def finish_all(self) -> None:
        while self.calls:
            self.finish()

    def fail(self) -> None:
        self.calls.pop(0)[0].errback(MemoryError())


class PoolCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.workers = Threads()
        self.pool = HashingPool(
            run=self.workers.run,
            threads=2,
            seconds=self.clock.seconds,
            rounds=ROUNDS,
            pepper="pepper",
        )

    def hash(self, password: str, once: Optional[str] = None) -> Deferred[str]:
        return Deferred.fromCoroutine(self.pool.hash(Secret(password), once))

    def verify(self, password: str, stored: Optional[str]) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.pool.verify(Secret(password), stored))

    def fill(self, waiting: int = 32) -> list[Deferred[str]]:
        return [self.hash(f"password {number}") for number in range(2 + waiting)]


class QueueTests(PoolCase):
    def test_hashFits(self) -> None:
        """The hash is made with the pool's pepper and rounds, and verifies its password only."""
        hashed = self.hash("password")
        self.assertNoResult(hashed)
        self.workers.finish()
        stored = self.successResultOf(hashed)
        self.assertTrue(stored.startswith("$2b$04$"))
        self.assertTrue(verify_password(b"passwordpepper", stored))
        answers = [self.verify("password", stored), self.verify("Password", stored)]
        self.workers.finish_all()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [True, False])

    def test_truncates(self) -> None:
        """A pool that truncates makes hashes that a truncating server verifies."""
        self.pool.truncate = True
        hashed = self.hash("x" * 100)
        self.workers.finish()
        stored = self.successResultOf(hashed)
        self.assertTrue(bcrypt.checkpw(b"x" * 72, stored.encode()))

    def test_firstComeFirstServed(self) -> None:
        """At most as many hashes are under way as there are threads; the others follow in their
        order."""
        hashings = self.fill(3)
        self.assertEqual(len(self.workers.calls), 2)
        for done, hashed in enumerate(hashings):
            self.assertNoResult(hashed)
            self.workers.finish()
            stored = self.successResultOf(hashed)
            self.assertTrue(verify_password(f"password {done}pepper".encode(), stored))
            self.assertLessEqual(len(self.workers.calls), 2)

    def test_fullQueueRefuses(self) -> None:
        """With 32 waiting, hashing and verifying are refused until one more has begun."""
        self.fill()
        self.failureResultOf(self.hash("late"), LimitExceeded)
        self.failureResultOf(self.verify("late", None), LimitExceeded)
        self.failureResultOf(self.hash("late", "dialogue"), LimitExceeded)
        self.workers.finish()
        self.assertNoResult(self.hash("in time"))

    def test_retryHintIsTheTimeThatTheQueueTakes(self) -> None:
        """The hint follows from the duration of the latest hashes, and from the number of
        threads."""
        for step_s in (0.5, 2.0):
            # Each reading of the clock is one step later, so that every hash takes one step.
            self.pool.seconds = itertools.count(0, step_s).__next__
            for _ in range(40):
                self.hash("password")
                self.workers.finish()
            self.fill()
            refusal = self.failureResultOf(self.hash("late"), LimitExceeded).value
            expected_ms = 33 / 2 * step_s * 1000
            self.assertApproximates(refusal.retry_after_ms, expected_ms, expected_ms / 20)
            self.workers.finish_all()

    def test_retryHintBeforeAnyHash(self) -> None:
        """Before any measurement the hint follows from the rounds: 0.3 s a hash at twelve."""
        for rounds, expected_ms in [(12, 4950), (13, 9900)]:
            self.pool = HashingPool(
                run=Threads().run, threads=2, seconds=self.clock.seconds, rounds=rounds
            )
            self.fill()
            refusal = self.failureResultOf(self.hash("late"), LimitExceeded).value
            self.assertEqual(refusal.retry_after_ms, expected_ms)

    def test_roomUntilHalfFull(self) -> None:
        """There is room for work that can be put off while fewer than 16 wait."""
        self.fill(15)
        self.assertTrue(self.pool.has_room())
        self.hash("one more")
        self.assertEqual(self.pool.waiting, 16)
        self.assertFalse(self.pool.has_room())

    def test_waitingForRoom(self) -> None:
        """A caller that waits for room goes on when the queue is less than half full again, unless
        it was cancelled."""
        self.successResultOf(Deferred.fromCoroutine(self.pool.wait_for_room()))
        self.fill(17)
        patient, gone = (Deferred.fromCoroutine(self.pool.wait_for_room()) for _ in range(2))
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.workers.finish()
        self.assertNoResult(patient)
        self.workers.finish()
        self.successResultOf(patient)

    def test_refused(self) -> None:
        """Before the process ends all waiting callers are refused, including those whose hash is
        being made, and so are later ones; a hash that was made is still there."""
        made = self.hash("password", "dialogue")
        self.workers.finish()
        hashings = [*self.fill(1), self.hash("other", "other"), self.verify("password", None)]
        self.pool.refuse()
        for refused in (*hashings, self.hash("late"), self.verify("late", None)):
            self.assertEqual(self.failureResultOf(refused, Unavailable).value.retry_after_ms, 2000)
        self.workers.finish_all()
        again = self.hash("password", "dialogue")
        self.assertEqual(self.successResultOf(again), self.successResultOf(made))

    def test_whoeverGoesAwayWhileWaitingIsNotHashed(self) -> None:
        """A caller that cancels before its turn leaves the queue."""
        hashings = self.fill(2)
        hashings[2].cancel()
        self.failureResultOf(hashings[2], CancelledError)
        self.assertEqual(self.pool.waiting, 1)
        self.workers.finish_all()
        self.successResultOf(hashings[3])

    def test_threadStaysTakenWhenItsCallerGoesAway(self) -> None:
        """Cancelling a hash under way frees no thread: the next begins when it has finished."""
        hashings = self.fill(1)
        hashings[0].cancel()
        self.failureResultOf(hashings[0], CancelledError)
        self.assertEqual(len(self.workers.calls), 2)
        self.workers.finish()
        self.assertEqual(len(self.workers.calls), 2)
        self.assertEqual(self.pool.waiting, 0)

    def test_failureFreesItsThread(self) -> None:
        """A hash that fails, or a runner that refuses, lets the next one begin."""
        hashings = self.fill(1)
        self.workers.fail()
        self.failureResultOf(hashings[0], MemoryError)
        self.assertEqual(len(self.workers.calls), 2)

        def stopped(*args: object) -> Deferred[Any]:
            raise RuntimeError("stopped")

        self.workers.finish_all()
        self.pool.run = stopped
        for _ in range(3):
            self.failureResultOf(self.hash("password"), RuntimeError)

    def test_accountWithoutPasswordTakesAsLong(self) -> None:
        """Without a stored hash no password is right, and a thread makes a hash of the pool's
        rounds."""
        salts: list[bytes] = []
        original = bcrypt.hashpw

        def hashpw(password: bytes, salt: bytes) -> bytes:
            salts.append(salt)
            return original(password, salt)

        self.patch(bcrypt, "hashpw", hashpw)
        answer = self.verify("password", None)
        self.assertNoResult(answer)
        self.workers.finish()
        self.assertIs(self.successResultOf(answer), False)
        self.assertEqual([salt[:7] for salt in salts], [b"$2b$04$"])

    def test_loneSurrogateIsNotQueued(self) -> None:
        """A password that is not valid Unicode is refused before it takes up a thread."""
        self.failureResultOf(self.hash("\ud800"), InvalidParam)
        self.failureResultOf(self.verify("\ud800", None), InvalidParam)
        self.assertEqual(self.workers.calls, [])

    def test_noSecretIsShown(self) -> None:
        """Neither pepper, password nor hash appears in the pool's repr."""
        hashed = self.hash("hunter2", "dialogue")
        self.workers.finish()
        text = repr(self.pool)
        self.assertIn("dialogue", text)
        for secret in ["'pepper'", "hunter2", self.successResultOf(hashed)]:
            self.assertNotIn(secret, text)


class OnceTests(PoolCase):
    def remembers(self, once: str, password: str) -> bool:
        """Whether this session's hash of this password is there, so that no thread makes it."""
        self.workers.finish_all()
        self.hash(password, once)
        return not self.workers.calls

    def test_samePasswordIsHashedOnce(self) -> None:
        """Within a session, simultaneous and later callers share one hash of one password."""
        together = [self.hash("password", "dialogue") for _ in range(16)]
        self.assertEqual(len(self.workers.calls), 1)
        self.workers.finish()
        results = {self.successResultOf(hashed) for hashed in together}
        results.add(self.successResultOf(self.hash("password", "dialogue")))
        self.assertEqual(len(results), 1)
        self.assertTrue(verify_password(b"passwordpepper", results.pop()))

    def test_sessionsShareNothing(self) -> None:
        """Two sessions with the same password have hashes of their own, and so have calls without
        one."""
        hashings = [self.hash("password", once) for once in ("one", "two", None, None)]
        self.workers.finish_all()
        self.assertEqual(len({self.successResultOf(hashed) for hashed in hashings}), 4)

    def test_anotherPasswordTakesItsPlace(self) -> None:
        """A new password is hashed; from then on its hash is the session's, the old one is
        forgotten."""
        first, second = self.hash("first", "dialogue"), self.hash("second", "dialogue")
        self.workers.finish_all()
        again = self.hash("second", "dialogue")
        self.assertEqual(self.successResultOf(again), self.successResultOf(second))
        self.assertTrue(verify_password(b"firstpepper", self.successResultOf(first)))
        self.assertNoResult(self.hash("first", "dialogue"))

    def test_cancellingLeavesTheOthersTheirs(self) -> None:
        """If one of several callers that wait for one hash cancels, the others still get it."""
        first, second = self.hash("password", "dialogue"), self.hash("password", "dialogue")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.workers.finish()
        self.successResultOf(second)

    def test_failureIsNotRemembered(self) -> None:
        """A hash that failed fails for all callers that wait for it, and is made again for the
        next."""
        hashings = [self.hash("password", "dialogue") for _ in range(2)]
        self.workers.fail()
        for hashed in hashings:
            self.failureResultOf(hashed, MemoryError)
        again = self.hash("password", "dialogue")
        self.workers.finish()
        self.successResultOf(again)

    def test_failureOfTheOldLeavesTheNew(self) -> None:
        """When a replaced password's hash fails, the hash that replaced it is still there."""
        first, second = self.hash("first", "dialogue"), self.hash("second", "dialogue")
        self.workers.fail()
        self.failureResultOf(first, MemoryError)
        self.workers.finish()
        self.successResultOf(second)
        self.assertTrue(self.remembers("dialogue", "second"))

    def test_fullQueueLeavesTheEarlierHash(self) -> None:
        """With the queue full a remembered hash is still returned, and a refusal replaces
        nothing."""
        hashed = self.hash("password", "dialogue")
        self.workers.finish()
        self.fill()
        self.failureResultOf(self.hash("other", "dialogue"), LimitExceeded)
        again = self.hash("password", "dialogue")
        self.assertEqual(self.successResultOf(again), self.successResultOf(hashed))

    def test_memoryExpires(self) -> None:
        """An hour later a session's hash is forgotten; a younger one is not."""
        self.hash("password", "old")
        self.workers.finish()
        self.clock.advance(1)
        self.hash("password", "young")
        self.workers.finish()
        self.clock.advance(3599)
        self.assertTrue(self.remembers("young", "password"))
        self.assertFalse(self.remembers("old", "password"))

    def test_memoryIsBounded(self) -> None:
        """Beyond the pool's bound the session that was begun first is forgotten."""
        self.patch(hashing, "REMEMBERED_SESSIONS", 2)
        for once, password in [("one", "1"), ("two", "1"), ("one", "2"), ("three", "1")]:
            self.hash(password, once)
        latest = [("one", "2"), ("three", "1"), ("two", "1")]
        known = [self.remembers(once, password) for once, password in latest]
        self.assertEqual(known, [True, True, False])
