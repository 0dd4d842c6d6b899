"""Taking back what identity servers were told of our users, also while those are away (contract
B7.10, B10.4)."""

from __future__ import annotations

from typing import Awaitable, Callable, Iterable, Sequence

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.callbacks.threepids import BindingChanges
from regsys.errors import Unavailable
from regsys.interfaces import IAccountData
from regsys.model import Binding, Job, NewJob, UserID
from regsys.storage.identity_server_bindings import BindingStore
from regsys.storage.jobs import JobStore
from regsys.threepids.servers import BindingServers

UNBIND = "unbind_threepid"
# So long a server may be away until it is taken for gone.
GIVE_UP_MS = 7 * 24 * 3600 * 1000
# How soon it is asked again for the first time.
RETRY_MS = 5000

log = Logger()


@implementer(IAccountData)
@attr.frozen(kw_only=True)
class Unbinder:
    """Asks identity servers to unbind what we have had bound, and forgets it once they have.

    Of addresses that are nobody's any more (``let_go``, ``forget``) a server that cannot be asked
    is asked again, by an UNBIND job, for GIVE_UP_MS at most.
    """

    store: BindingStore
    servers: BindingServers
    changes: BindingChanges
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    async def unbind(self, bindings: Iterable[Binding]) -> bool:
        """Ask the servers of these, all at once; whether each has unbound its own.

        Raises Unavailable if one can't be asked: what the others did is remembered, and asking
        again is all there is to do.
        """
        return await _all(self._unbind(binding) for binding in bindings)

    async def let_go(self, bindings: Iterable[Binding]) -> bool:
        """The same for addresses that their accounts do not have any more: who can't be asked now
        is asked again, by a job, and whatever is refused is forgotten."""
        jobs = self.plan(bindings)
        await self.begin(jobs)
        return await self.try_now(jobs)

    def plan(self, bindings: Iterable[Binding]) -> Sequence[NewJob]:
        """The jobs that let go of these, for who writes them with something else."""
        until_ms = clock.now_ms(self.clock) + GIVE_UP_MS
        return [
            NewJob(
                kind=UNBIND,
                payload={"binding_id": binding.binding_id, "until_ms": until_ms},
                # However often it is asked for while the server is away.
                dedup_key=f"unbind {binding.binding_id}",
            )
            for binding in bindings
        ]

    async def begin(self, jobs: Sequence[NewJob]) -> Sequence[NewJob]:
        """Write these, held by us; returns those that were not written before."""
        return await self.jobs.begin(jobs, clock.now_ms(self.clock)) if jobs else ()

    async def try_now(self, jobs: Sequence[NewJob]) -> bool:
        """Do at once what these do; whether all is unbound. What can't be done now is left to
        those who run jobs."""
        return await _all(self._try(job) for job in jobs)

    async def delete_for(self, user_id: UserID) -> None:
        """The account is no more: unbind all of it, by jobs."""
        self.start_jobs(await self.begin(self.plan(await self.store.of_user(user_id))))

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
        """Unbind it, or be refused: afterwards it is gone from here."""
        binding = await self.store.get(binding_id)
        if binding is None:
            return False
        done = await self._unbind(binding)
        if not done:
            log.info("identity server {server} unbinds nothing", server=binding.id_server)
            await self.store.remove(binding_id)
        return done

    async def _unbind(self, binding: Binding) -> bool:
        # Unbound before it is bound, it would stay bound.
        if binding.is_asked_for(clock.now_ms(self.clock)):
            raise Unavailable("The address is being bound at this moment.")
        if not await self.servers.unbind(binding):
            return False
        await self.store.remove(binding.binding_id)
        self.changes.updated(binding, False)
        return True


async def _all(asked: Iterable[Awaitable[bool]]) -> bool:
    """Whether there is at least one answer, and all are True. All are asked at the same time and
    waited for, then the first error is raised."""
    waiting = [Deferred.fromCoroutine(_awaited(one)) for one in asked]
    answers = [answer for _, answer in await DeferredList(waiting, consumeErrors=True)]
    for answer in answers:
        if not isinstance(answer, bool):
            answer.raiseException()
    return bool(answers) and all(answers)


async def _awaited(asked: Awaitable[bool]) -> bool:
    return await asked
