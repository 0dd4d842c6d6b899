"""Runs jobs: at once, then with backoff until they succeed, elsewhere if this process dies.

A job is a row that is written in the transaction of what it follows. While its lease lasts (until
``claimed_until_ms``), no other process runs it. A job may run twice all the same, so every handler
is idempotent. docs/jobs.md lists the kinds.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import (
    Any,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Optional,
    Sequence,
)

from twisted.internet.defer import Deferred, DeferredList, DeferredQueue
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from regsys import clock, deadlines
from regsys.errors import RegistrationError
from regsys.metrics import Metrics
from regsys.model import JOB_LEASE_MS
from regsys.model.jobs import JOB_LONGEST_WAIT_MS, Job, NewJob
from regsys.storage.jobs import JobStore

log = Logger()

POLL_S = 5.0
# Urgent kinds are looked for so often. A handler of theirs may well run twice at once: when a
# process dies, another must not wait for long.
URGENT_POLL_S = 0.5
URGENT_LEASE_MS = 6_000
# How many jobs of a kind one process runs at a time.
PLACES = 20
Handler = Callable[[Job], Awaitable[None]]
# Tells the process that runs jobs that some of these kinds wait. It raises nothing.
Announce = Callable[[Collection[str]], Awaitable[None]]
# The queue from what writes jobs to the runner of this process, which holds the lease of each job
# in it. So the parts that write jobs need no runner, and handlers may be such parts.
HeldJobs = DeferredQueue[Sequence[NewJob]]


def wait_ms(attempts: int) -> int:
    """How long to wait after so many failed attempts: up to a second, then twice as long each time,
    up to an hour. Half of it is random, so that jobs that failed together spread out."""
    longest = min(1000 << min(attempts - 1, 20), JOB_LONGEST_WAIT_MS)
    return longest // 2 + secrets.randbelow(longest // 2 + 1)


class NotYet(Exception):
    """Raised by a handler: it is too early for the job, which has not failed. It is run again after
    ``wait_s``, at most an hour."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class JobRunner:
    """Runs the jobs of this process, and claims those whose lease has ended.

    ``handlers`` has every kind of job. A kind whose handler is None is left to a process that has
    one; if there are none at all, this process runs no jobs, and releases those that it has
    written: ``announce`` then tells the one that does. ``held`` brings the jobs that this process
    has written.

    Each kind has PLACES of its own, so that one that stalls delays no other. Only as many jobs are
    claimed as have a place: a claimed job that waited here would use up its lease.

    Jobs of ``urgent`` kinds that wait when this process starts are run at once, whatever their
    lease. ``first`` are written at each start, unless they are there.
    """

    def __init__(
        self,
        store: JobStore,
        clock: IReactorTime,
        *,
        handlers: Mapping[str, Optional[Handler]],
        held: HeldJobs,
        metrics: Optional[Metrics] = None,
        announce: Optional[Announce] = None,
        urgent: Collection[str] = (),
        first: Sequence[NewJob] = (),
    ) -> None:
        self.kinds = frozenset(handlers)
        self._store = store
        self._clock = clock
        self._handlers = {kind: run for kind, run in handlers.items() if run is not None}
        self.held = held
        self._metrics = metrics
        self._announce = announce
        self._running: Counter[str] = Counter()
        # Kinds of which more jobs may be due than there were places for.
        self._may_have_more: set[str] = set()
        self._is_claiming = False
        self._under_way: set[Deferred[None]] = set()
        self._urgent = frozenset(urgent) & self._handlers.keys()
        self._first = [job for job in first if job.kind in self._handlers]
        self._loop = LoopingCall(self._poll)
        self._urgent_loop = LoopingCall(self._poll_urgent)
        self._loop.clock = self._urgent_loop.clock = clock
        self._looping: list[Deferred[LoopingCall]] = []
        self._receive_held()

    def start(self) -> None:
        """Look for due jobs now and every POLL_S seconds."""
        self._looping = [self._loop.start(POLL_S)]
        if self._urgent:
            self._follow(self._claim_urgent(JOB_LONGEST_WAIT_MS), "looking for urgent jobs")
            self._looping += [self._urgent_loop.start(URGENT_POLL_S, now=False)]
        if self._first:
            self._follow(self._write_first(), "writing the first jobs")

    def look_for(self, kinds: Collection[str]) -> None:
        """Look for due jobs of these kinds now: another process has left some. A runner that has
        not started, or has stopped, does not."""
        if self._loop.running:
            self._may_have_more.update(kinds & self._handlers.keys())
            self._follow(self._fill(), "looking for jobs")

    async def stop(self) -> None:
        """Claim no more jobs; return when those under way have ended."""
        looping, self._looping = self._looping, []
        for loop in (self._loop, self._urgent_loop):
            if loop.running:
                loop.stop()
        for ended in looping:
            await ended
        # A claim that is under way runs what it gets.
        while self._under_way:
            await DeferredList(list(self._under_way))

    def _receive_held(self) -> None:
        self.held.get().addCallback(self._held_received)

    def _held_received(self, new: Sequence[NewJob]) -> None:
        try:
            self._start_held(new)
        except Exception:  # a bug must not be the end of the queue
            log.failure("starting jobs")
        self._receive_held()

    def _start_held(self, new: Sequence[NewJob]) -> None:
        """Begin these. Those without a place are released, for any process that has one."""
        until_ms = clock.now_ms(self._clock) + JOB_LEASE_MS
        released = []
        for job in new:
            if not self._handlers:
                released.append(job)
                continue
            if job.kind not in self._handlers:
                continue
            if self._running[job.kind] >= PLACES:
                released.append(job)
                continue
            self._begin(
                Job(
                    job_id=job.job_id,
                    kind=job.kind,
                    payload=job.payload,
                    attempts=1,
                    claimed_until_ms=until_ms,
                )
            )
        if released:
            self._follow(self._release(released), "releasing jobs")

    def _free(self, kinds: Iterable[str]) -> Mapping[str, int]:
        """How many places are free for each of these kinds, without those that have none."""
        free = {kind: PLACES - self._running[kind] for kind in kinds}
        return {kind: count for kind, count in free.items() if count > 0}

    async def _claim(self, places: Mapping[str, int], ahead_ms: int = 0) -> None:
        """Begin what is due within ``ahead_ms``. A kind with fewer jobs than places has no more,
        but for those that are added meanwhile."""
        self._may_have_more.difference_update(places)
        jobs: list[Job] = []
        for lease_ms in (JOB_LEASE_MS, URGENT_LEASE_MS):
            is_urgent = lease_ms == URGENT_LEASE_MS
            some = {kind: places[kind] for kind in places if (kind in self._urgent) == is_urgent}
            if some:
                due_ms = clock.now_ms(self._clock) + ahead_ms
                jobs += await self._store.claim(some, due_ms, lease_ms - ahead_ms)
        found = Counter(job.kind for job in jobs)
        self._may_have_more.update(kind for kind, count in places.items() if found[kind] >= count)
        for job in jobs:
            self._begin(job)

    async def _fill(self) -> None:
        """Claim as long as some kind has both free places and, perhaps, due jobs. A call while
        another is under way leaves the work to that one."""
        if self._is_claiming:
            return
        self._is_claiming = True
        try:
            while places := self._free(self._may_have_more):
                await self._claim(places)
                if not self._loop.running:
                    break
        except Exception as error:
            # The next round asks again. Until then jobs that end do not.
            self._may_have_more.clear()
            if not isinstance(error, RegistrationError):
                raise
            log.warn("jobs: {error}", error=error.text)
        finally:
            self._is_claiming = False

    async def _write_first(self) -> None:
        try:
            await self._store.add(self._first, clock.now_ms(self._clock))
        except RegistrationError as error:
            log.warn("jobs: {error}", error=error.text)
        else:
            self.look_for({job.kind for job in self._first})

    async def _claim_urgent(self, ahead_ms: int) -> None:
        """Begin urgent jobs that are due within ``ahead_ms``."""
        now_ms = clock.now_ms(self._clock)
        try:
            if await self._store.is_due(self._urgent, now_ms + ahead_ms):
                await self._claim(self._free(self._urgent), ahead_ms)
        except RegistrationError as error:
            log.warn("jobs: {error}", error=error.text)

    def _poll_urgent(self) -> Deferred[None]:
        return self._follow(self._claim_urgent(0), "looking for urgent jobs")

    async def _poll_once(self) -> None:
        self._may_have_more.update(self._handlers.keys() - self._urgent)
        await self._fill()
        if self._metrics is not None:
            try:
                self._metrics.jobs_waiting(await self._store.backlog(), clock.now_ms(self._clock))
            except RegistrationError as error:
                log.warn("jobs: {error}", error=error.text)

    def _poll(self) -> Deferred[None]:
        # An exception must not end the loop.
        polling = Deferred.fromCoroutine(self._poll_once())
        return polling.addErrback(lambda failure: log.failure("looking for jobs", failure))

    def _follow(self, coroutine: Coroutine[Any, Any, None], what: str) -> Deferred[None]:
        """Run it, and have ``stop`` wait for it. ``what`` names it in the log if it raises."""
        running = Deferred.fromCoroutine(coroutine)
        self._under_way.add(running)

        def ended(result: None) -> None:
            self._under_way.discard(running)

        running.addErrback(lambda failure: log.failure("{what}", failure, what=what))
        return running.addCallback(ended)

    def _begin(self, job: Job) -> None:
        self._running[job.kind] += 1

        def ended(result: None) -> None:
            self._running[job.kind] -= 1
            self._fill_again(job.kind)

        self._follow(self._run(job), f"job {job.kind}").addCallback(ended)

    def _fill_again(self, kind: str) -> None:
        """Look for more of this kind, if there may be more."""
        if self._loop.running and kind in self._may_have_more and not self._is_claiming:
            self._follow(self._fill(), "looking for jobs")

    async def _release(self, jobs: Sequence[NewJob]) -> None:
        await self._store.release([job.job_id for job in jobs], clock.now_ms(self._clock))
        kinds = {job.kind for job in jobs}
        for kind in kinds & self._handlers.keys():
            self._may_have_more.add(kind)
            self._fill_again(kind)
        if not self._handlers and self._announce is not None:
            await self._announce(kinds)

    async def _run(self, job: Job) -> None:
        # A job has its lease, also the one that a request has just written and begins.
        deadlines.leave()
        try:
            await self._handlers[job.kind](job)
        except NotYet as early:
            later_ms = min(round(early.wait_s * 1000), JOB_LONGEST_WAIT_MS)
            await self._store.put_off(job.job_id, clock.now_ms(self._clock) + later_ms)
        except Exception as error:  # whatever a handler raises, the job is kept and retried
            await self._failed(job, f"{type(error).__name__}: {error}")
        else:
            await self._store.finish(job.job_id)

    async def _failed(self, job: Job, error: str) -> None:
        due_ms = clock.now_ms(self._clock) + wait_ms(job.attempts)
        log.warn(
            "job {kind} {job_id} failed (attempt {attempts}): {error}",
            kind=job.kind,
            job_id=job.job_id,
            attempts=job.attempts,
            error=error,
        )
        if self._metrics is not None:
            self._metrics.jobs_failed.labels(job.kind).inc()
        await self._store.postpone(job.job_id, due_ms, error[:500])
