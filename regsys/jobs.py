"""What must still happen after a registration: run at once, retried with backoff, never lost.

A job is a row that the account's own transaction wrote. Its lease (``claimed_until_ms``)
keeps other processes off while we work; if we die, the lease ends and another takes over.
So a job may run twice, and every handler makes that harmless.
"""

from __future__ import annotations

import secrets
from typing import Awaitable, Callable, Mapping, Optional, Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from regsys import clocks
from regsys.errors import RegistrationError
from regsys.interfaces import IExpiring, IJobStore
from regsys.metrics import Metrics
from regsys.model import JOB_LEASE_MS, JOB_LONGEST_WAIT_MS, Job, NewJob

log = Logger()

POLL_S = 5.0
BATCH = 20
Handler = Callable[[Job], Awaitable[None]]


def wait_ms(attempts: int) -> int:
    """How long to wait after so many failed attempts: doubling from a second to an hour."""
    longest = min(1000 << min(attempts - 1, 20), JOB_LONGEST_WAIT_MS)
    return longest // 2 + secrets.randbelow(longest // 2 + 1)


class JobRunner:
    """Runs the jobs of this process, and takes over those that nobody holds.

    Jobs of a kind that has no handler here wait for a process that has one.
    """

    def __init__(
        self,
        store: IJobStore,
        clock: IReactorTime,
        metrics: Optional[Metrics] = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._metrics = metrics
        self._running: set[Deferred[None]] = set()
        self._loop = LoopingCall(self._poll)
        self._loop.clock = clock
        self._looping: Optional[Deferred[LoopingCall]] = None

    def start(self) -> None:
        """Look for jobs now and every few seconds."""
        self._looping = self._loop.start(POLL_S)

    async def stop(self) -> None:
        """Take no more; returns when those under way have ended."""
        looping, self._looping = self._looping, None
        if looping is not None:
            self._loop.stop()
            # It may be in the middle of a claim, and then runs what it has got.
            await looping
        await DeferredList(list(self._running))

    def add_handlers(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers.update(handlers)

    def start_jobs(self, new: Sequence[NewJob]) -> None:
        """Begin jobs that a transaction of this process has just written, held from birth."""
        until_ms = clocks.now_ms(self._clock) + JOB_LEASE_MS
        for job in new:
            if job.kind not in self._handlers:
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

    async def run_due(self) -> int:
        """Claim what is due and run it to its end; returns how many there were."""
        kinds = sorted(self._handlers)
        jobs = await self._store.claim(kinds, clocks.now_ms(self._clock), JOB_LEASE_MS, BATCH)
        await DeferredList([self._begin(job) for job in jobs])
        return len(jobs)

    async def _poll_once(self) -> None:
        try:
            while await self.run_due() == BATCH and self._loop.running:
                continue
            if self._metrics is not None:
                self._metrics.jobs_waiting(await self._store.backlog(), clocks.now_ms(self._clock))
        except RegistrationError as error:
            # The database is away; the next round asks again.
            log.warn("jobs: {error}", error=error.text)

    def _poll(self) -> Deferred[None]:
        # Whatever happens in one round must not end the loop.
        polling = Deferred.fromCoroutine(self._poll_once())
        return polling.addErrback(lambda failure: log.failure("looking for jobs", failure))

    def _begin(self, job: Job) -> Deferred[None]:
        running = Deferred.fromCoroutine(self._run(job))
        self._running.add(running)

        def ended(result: None) -> None:
            self._running.discard(running)

        running.addErrback(lambda failure: log.failure("job {kind}", failure, kind=job.kind))
        return running.addCallback(ended)

    async def _run(self, job: Job) -> None:
        try:
            await self._handlers[job.kind](job)
        except Exception as error:  # whatever a handler raises, the job is kept and retried
            await self._failed(job, f"{type(error).__name__}: {error}")
        else:
            await self._store.finish(job.job_id)

    async def _failed(self, job: Job, error: str) -> None:
        due_ms = clocks.now_ms(self._clock) + wait_ms(job.attempts)
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


class Housekeeping:
    """Removes rows whose time is over, a few at a time, once a minute."""

    EVERY_S = 60.0
    AT_MOST = 500

    def __init__(self, stores: Sequence[IExpiring], clock: IReactorTime) -> None:
        self._stores = stores
        self._clock = clock
        self._loop = LoopingCall(self._round)
        self._loop.clock = clock

    def start(self) -> None:
        self._loop.start(self.EVERY_S)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def _round(self) -> Deferred[None]:
        sweeping = Deferred.fromCoroutine(self._sweep())
        return sweeping.addErrback(lambda failure: log.failure("sweep", failure))

    async def _sweep(self) -> None:
        now_ms = clocks.now_ms(self._clock)
        for store in self._stores:
            try:
                while await store.delete_expired(now_ms, self.AT_MOST) >= self.AT_MOST:
                    continue
            except RegistrationError as error:
                log.warn("sweep: {error}", error=error.text)
