"""Unbinds users' addresses at identity servers, with retries while a server is away (contract
B7.10, B10.4)."""

from __future__ import annotations

from typing import Awaitable, Iterable, Sequence

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.callbacks.threepids import BindingChanges
from regsys.errors import Unavailable
from regsys.model import UserID
from regsys.model.identity_server_bindings import Binding
from regsys.model.jobs import Job, NewJob
from regsys.storage.identity_server_bindings import BindingStore
from regsys.storage.jobs import JobStore
from regsys.threepids.servers import BindingServers

UNBIND = "unbind_threepid"
# How long a server may be away before it is given up.
GIVE_UP_MS = 7 * 24 * 3600 * 1000
# The delay before the first retry.
RETRY_MS = 5000

log = Logger()


@attr.frozen(kw_only=True)
class Unbinder:
    """Asks identity servers to unbind addresses, and deletes the bindings that they have unbound.

    For addresses that their account no longer has (``unbind_eventually``), a server
    that cannot be asked is asked again, by an UNBIND job, for GIVE_UP_MS at most.
    """

    store: BindingStore
    servers: BindingServers
    changes: BindingChanges
    jobs: JobStore
    clock: IReactorTime

    async def unbind(self, bindings: Iterable[Binding]) -> bool:
        """Ask the servers of these bindings at the same time; whether all of them were unbound.

        Raises Unavailable if a server cannot be asked. What the others have unbound is recorded,
        so that the caller can simply ask again.
        """
        return await _all(self._unbind(binding) for binding in bindings)

    async def unbind_eventually(self, bindings: Iterable[Binding]) -> bool:
        """As ``unbind``, for addresses that their account no longer has: a server that cannot be
        asked now is asked again by a job, and a binding that a server refuses to unbind is
        deleted."""
        jobs = self.plan(bindings)
        await self.begin(jobs)
        return await self.try_now(jobs)

    def plan(self, bindings: Iterable[Binding]) -> Sequence[NewJob]:
        """The jobs that unbind these, for a caller that writes them with something else."""
        until_ms = clock.now_ms(self.clock) + GIVE_UP_MS
        return [
            NewJob(
                kind=UNBIND,
                payload={"binding_id": binding.binding_id, "until_ms": until_ms},
                # So that there is one job, however often this is requested.
                dedup_key=f"unbind {binding.binding_id}",
            )
            for binding in bindings
        ]

    async def begin(self, jobs: Sequence[NewJob]) -> Sequence[NewJob]:
        """Write these jobs with a lease of this process; returns those that were written now."""
        return await self.jobs.begin(jobs, clock.now_ms(self.clock)) if jobs else ()

    async def try_now(self, jobs: Sequence[NewJob]) -> bool:
        """Run these jobs now; whether all is unbound. Jobs that fail now are left to the job
        runner."""
        return await _all(self._try(job) for job in jobs)

    async def unbind_all_of(self, user_id: UserID) -> bool:
        """As ``unbind_eventually``, for all addresses of an account that was deactivated."""
        return await self.unbind_eventually(await self.store.of_user(user_id))

    async def run(self, job: Job) -> None:
        """The handler of UNBIND jobs."""
        binding_id = job.payload["binding_id"]
        if clock.now_ms(self.clock) < job.payload["until_ms"]:
            await self._end(binding_id)
        elif await self.store.remove(binding_id):
            log.warn("binding {binding_id} is given up: its server is gone", binding_id=binding_id)

    async def _try(self, job: NewJob) -> bool:
        try:
            done = await self._end(job.payload["binding_id"])
        except Unavailable as error:
            await self.jobs.postpone(job.job_id, clock.now_ms(self.clock) + RETRY_MS, error.text)
            return False
        await self.jobs.finish(job.job_id)
        return done

    async def _end(self, binding_id: str) -> bool:
        """Unbind it, and delete it even if the server refuses."""
        binding = await self.store.get(binding_id)
        if binding is None:
            return False
        done = await self._unbind(binding)
        if not done:
            log.info("identity server {server} did not unbind", server=binding.id_server)
            await self.store.remove(binding_id)
        return done

    async def _unbind(self, binding: Binding) -> bool:
        # If it were unbound before the request to bind it has ended, it would stay bound.
        if binding.is_asked_for(clock.now_ms(self.clock)):
            raise Unavailable("The address is being bound at this moment.")
        if not await self.servers.unbind(binding):
            return False
        await self.store.remove(binding.binding_id)
        self.changes.updated(binding, False)
        return True


async def _all(asked: Iterable[Awaitable[bool]]) -> bool:
    """Whether there is at least one result, and all are True. All run at the same time; the first
    error is raised after all have ended."""
    waiting = [Deferred.fromCoroutine(_awaited(one)) for one in asked]
    answers = [answer for _, answer in await DeferredList(waiting, consumeErrors=True)]
    for answer in answers:
        if not isinstance(answer, bool):
            answer.raiseException()
    return bool(answers) and all(answers)


async def _awaited(asked: Awaitable[bool]) -> bool:
    return await asked
