"""Jobs: run at once, retried until they succeed, never by two processes at a time, never lost."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine, Optional, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys import deadlines
from regsys.errors import Unavailable
from regsys.jobs import (
    PLACES,
    POLL_S,
    URGENT_LEASE_MS,
    URGENT_POLL_S,
    HeldJobs,
    JobRunner,
    NotYet,
    wait_ms,
)
from regsys.metrics import Metrics
from regsys.model import JOB_LEASE_MS
from regsys.model.jobs import JOB_LONGEST_WAIT_MS, Job, NewJob
from regsys.storage import jobs
from regsys.storage.jobs import JobStore
from regsys.testing.database import memory_database
from tests.support.due_jobs import run_due

KIND = "greet"
KINDS = (KIND, "mail", "room")


class WorkerTests(SynchronousTestCase):
    def test_released(self) -> None:
        """A process that runs no jobs releases those that it has written: they are due at once, for
        a process that does."""
        clock = Clock()
        clock.advance(1000)
        store = JobStore(memory_database(self, clock))
        held: HeldJobs = HeldJobs()
        announced: list[Any] = []

        async def announce(kinds: Any) -> None:
            announced.append(kinds)

        JobRunner(store, clock, handlers={}, held=held, announce=announce)
        done: list[Job] = []

        async def work(job: Job) -> None:
            done.append(job)

        other = JobRunner(store, clock, handlers={KIND: work}, held=HeldJobs())
        begun = store.begin([NewJob(kind=KIND)], 1_000_000)
        held.put(self.successResultOf(Deferred.fromCoroutine(begun)))
        self.assertEqual(done, [])
        self.assertEqual(announced, [{KIND}])
        self.successResultOf(Deferred.fromCoroutine(run_due(other)))
        self.assertEqual([job.kind for job in done], [KIND])


class NotYetTests(SynchronousTestCase):
    def test_later(self) -> None:
        """A handler may find that it is too early: then the job waits as long as it says, an hour
        at most, and has not failed."""
        clock, metrics = Clock(), Metrics()
        clock.advance(1000)
        store = JobStore(memory_database(self, clock))
        runs: list[int] = []
        wait_s = 600.0

        async def work(job: Job) -> None:
            runs.append(job.attempts)
            raise NotYet(wait_s)

        runner = JobRunner(store, clock, handlers={KIND: work}, held=HeldJobs(), metrics=metrics)

        def pass_by(seconds: float) -> None:
            clock.advance(seconds)
            self.successResultOf(Deferred.fromCoroutine(run_due(runner)))

        self.successResultOf(Deferred.fromCoroutine(store.add([NewJob(kind=KIND)], 1_000_000)))
        with capturedLogs() as events:
            pass_by(0)
            pass_by(599)
            self.assertEqual(runs, [1])
            pass_by(1)
            wait_s = 7 * 24 * 3600.0
            pass_by(600)
            pass_by(3600)
        self.assertEqual(runs, [1, 2, 2, 2])
        self.assertEqual(events, [])
        self.assertEqual(metrics.jobs_failed.labels(KIND)._value.get(), 0)


class WaitTests(SynchronousTestCase):
    def test_doubling(self) -> None:
        """The wait after a failure doubles from a second to an hour, half of it random."""
        for attempts, longest_ms in (
            (1, 1000),
            (2, 2000),
            (5, 16_000),
            (12, 2_048_000),
            (13, JOB_LONGEST_WAIT_MS),
            (10_000, JOB_LONGEST_WAIT_MS),
        ):
            waits = {wait_ms(attempts) for _ in range(100)}
            self.assertGreater(len(waits), 1)
            self.assertGreaterEqual(min(waits), longest_ms // 2)
            self.assertLessEqual(max(waits), longest_ms)


class RunnerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.database = memory_database(self, self.clock)
        self.store = JobStore(self.database)
        self.metrics = Metrics()
        self.reason = "the reason"
        self.done: list[Job] = []
        self.behaviour: Callable[[Job], Optional[Awaitable[None]]] = lambda job: None
        self.runner = self.make(metrics=self.metrics)

    def make(
        self,
        store: Any = None,
        kinds: Sequence[str] = KINDS,
        metrics: Optional[Metrics] = None,
    ) -> JobRunner:
        """A process that runs these kinds as ``behaviour`` says, and no other."""
        return JobRunner(
            store or self.store,
            self.clock,
            handlers={"fly": None, **dict.fromkeys(kinds, self.handle)},
            held=HeldJobs(),
            metrics=metrics,
        )

    async def handle(self, job: Job) -> None:
        self.done.append(job)
        waiting = self.behaviour(job)
        if waiting is not None:
            await waiting

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def rows(self, columns: str) -> list[Any]:
        sql = f"SELECT {columns} FROM jobs ORDER BY job_id"
        return list(self.wait(self.database.autocommit("test", lambda txn: txn.all(sql))))

    def written(self, job_id: str = "job", kind: str = KIND) -> NewJob:
        """A job that this process has just written with something else, and holds."""
        job = NewJob(kind=kind, payload={"name": "alice"}, job_id=job_id)
        now_ms = int(self.clock.seconds() * 1000)
        self.wait(self.database.transaction("test", jobs.insert_held, [job], now_ms))
        return job

    def add(self, *job_ids: str, kind: str = KIND) -> None:
        """Jobs that no process holds."""
        new = [NewJob(kind=kind, job_id=job_id) for job_id in job_ids]
        self.wait(self.store.add(new, int(self.clock.seconds() * 1000)))

    def fail(self, job: Job) -> None:
        raise ValueError(self.reason)


class UrgentTests(RunnerCase):
    def urgent(self, **more: Any) -> JobRunner:
        handlers = dict.fromkeys(KINDS, self.handle)
        more = {"urgent": ("mail", "elsewhere"), **more}
        runner = JobRunner(self.store, self.clock, handlers=handlers, held=HeldJobs(), **more)
        runner.start()
        self.addCleanup(lambda: self.wait(runner.stop()))
        return runner

    def ids(self) -> list[str]:
        return [job.job_id for job in self.done]

    def test_atStart(self) -> None:
        """A process that starts runs urgent jobs that another, which may have died, holds, and
        those that wait for a retry; others have their lease."""
        for kind in KINDS:
            self.written(kind, kind=kind)
        self.written("failed", kind="mail")
        due_ms = int(self.clock.seconds() * 1000) + JOB_LONGEST_WAIT_MS
        self.wait(self.store.postpone("failed", due_ms, "why"))
        self.urgent()
        self.assertEqual(set(self.ids()), {"mail", "failed"})
        self.assertEqual(self.rows("job_id"), [("greet",), ("room",)])

    def test_soon(self) -> None:
        """Urgent jobs are run soon after their lease, and their next lease is short."""
        self.urgent()
        self.add("mail", kind="mail")
        self.add("greet")
        under_way: list[Deferred[None]] = []

        def stall(job: Job) -> Deferred[None]:
            under_way.append(Deferred())
            return under_way[-1]

        self.behaviour = stall
        self.clock.advance(URGENT_POLL_S)
        self.assertEqual(self.ids(), ["mail"])
        self.clock.pump([URGENT_POLL_S] * round(URGENT_LEASE_MS / 1000 / URGENT_POLL_S))
        self.assertEqual(self.ids().count("mail"), 2)
        self.assertIn("greet", self.ids())
        for deferred in under_way:
            deferred.callback(None)

    def test_nothingDue(self) -> None:
        """While nothing is due, each look is one read."""
        self.urgent()
        names: list[str] = []
        run = type(self.database).autocommit

        async def counted(database: Any, name: str, *rest: Any) -> Any:
            names.append(name)
            return await run(database, name, *rest)

        self.patch(type(self.database), "autocommit", counted)
        self.clock.pump([URGENT_POLL_S] * 3)
        self.assertEqual(names, ["is_due"] * 3)

    def test_troubleIsSurvived(self) -> None:
        """If the database is away, the next look asks again."""
        self.add("mail", kind="mail")
        claim = JobStore.claim

        async def away(*asked: Any) -> Any:
            raise Unavailable()

        self.patch(JobStore, "claim", away)
        self.urgent()
        self.patch(JobStore, "claim", claim)
        self.clock.advance(URGENT_POLL_S)
        self.assertEqual(self.ids(), ["mail"])

    def test_first(self) -> None:
        """Each start writes its first jobs, unless they are there; a process that does not run
        their kind does not."""
        first = [NewJob(kind=kind, job_id=f"first {kind}") for kind in ("greet", "fly")]
        for _ in range(2):
            self.urgent(first=first)
        self.assertEqual(self.ids(), ["first greet"] * 2)
        self.assertEqual(self.rows("job_id"), [])
        self.written("first greet")
        self.urgent(first=first)
        self.assertEqual(self.ids(), ["first greet"] * 2)


class RunTests(RunnerCase):
    def test_heldBefore(self) -> None:
        """Jobs that were written before there was a runner begin with it, in their order; a job
        that writes another has it begun."""
        held, second = HeldJobs(), self.written("second")
        held.put([self.written("first")])
        held.put([self.written("third")])
        self.behaviour = lambda job: held.put([second]) if job.job_id == "first" else None
        JobRunner(self.store, self.clock, handlers={KIND: self.handle}, held=held)
        self.assertEqual([job.job_id for job in self.done], ["first", "third", "second"])
        self.assertEqual(self.rows("job_id"), [])

    def test_atOnce(self) -> None:
        """A job that was just written is run at once, and is gone when it is done."""
        until_ms = int(self.clock.seconds() * 1000) + JOB_LEASE_MS
        self.runner.held.put([self.written()])
        self.assertEqual(
            self.done,
            [
                Job(
                    job_id="job",
                    kind=KIND,
                    payload={"name": "alice"},
                    attempts=1,
                    claimed_until_ms=until_ms,
                )
            ],
        )
        self.assertEqual(self.rows("job_id"), [])

    def test_begunByARequest(self) -> None:
        """A job that a request begins is not held to the request's deadline."""
        seconds: list[float] = []
        self.behaviour = lambda job: seconds.append(deadlines.seconds_for(60, self.clock.seconds()))

        async def serve() -> float:
            with deadlines.for_request(self.clock):
                self.runner.held.put([self.written()])
                return deadlines.seconds_for(60, self.clock.seconds())

        self.assertEqual(self.wait(serve()), deadlines.REQUEST_S)
        self.assertEqual(seconds, [60])

    def test_failed(self) -> None:
        """A job that fails is kept with its reason, counted, logged without its payload, and
        retried until it succeeds."""
        self.behaviour = self.fail
        with capturedLogs() as events:
            self.runner.held.put([self.written()])
        self.assertEqual(self.rows("attempts, last_error"), [(1, "ValueError: the reason")])
        (event,) = events
        fields = [event[field] for field in ("kind", "job_id", "attempts", "error")]
        self.assertEqual(fields, [KIND, "job", 1, "ValueError: the reason"])
        self.assertNotIn("alice", repr(event))
        labels = {"kind": KIND}
        counted = self.metrics.registry.get_sample_value("regsys_job_failures_total", labels)
        self.assertEqual(counted, 1)
        self.runner.start()
        self.clock.pump([1] * 5)
        self.assertEqual(self.rows("attempts"), [(2,)])
        self.behaviour = lambda job: None
        self.clock.pump([1] * 20)
        self.assertEqual(self.rows("job_id"), [])
        self.assertEqual([job.attempts for job in self.done], [1, 2, 3])

    def test_longReason(self) -> None:
        """Only the beginning of a long reason is kept."""
        self.reason = "x" * 10**6
        self.behaviour = self.fail
        self.runner.held.put([self.written()])
        ((reason,),) = self.rows("last_error")
        self.assertEqual(len(reason), 500)

    def test_unknownKind(self) -> None:
        """A job of an unknown kind is left for another process."""
        self.add("foreign", kind="fly")
        self.runner.held.put([self.written(kind="fly")])
        self.wait(run_due(self.runner))
        self.assertEqual(self.rows("attempts, last_error"), [(0, None), (1, None)])
        self.clock.advance(1)
        self.wait(run_due(self.make(kinds=["fly"])))
        self.assertEqual([job.kind for job in self.done], ["fly"])

    def test_withoutMetrics(self) -> None:
        """Failures need not be counted."""
        self.behaviour = self.fail
        runner = self.make()
        runner.held.put([self.written()])
        self.assertEqual(self.rows("attempts"), [(1,)])

    def test_nothingIsKept(self) -> None:
        """A job that has ended, however, takes no memory."""
        self.runner.held.put([self.written("a")])
        self.behaviour = self.fail
        self.runner.held.put([self.written("b")])
        self.assertEqual(len(self.runner._under_way), 0)
        self.assertEqual(self.runner._running.total(), 0)

    def test_backendDownAfterwards(self) -> None:
        """If even the failure can't be stored, the job is held until its lease ends, and the
        process goes on."""
        self.behaviour = self.fail
        runner = self.make(FailingJobStore(self.store, "postpone", Unavailable()))
        runner.held.put([self.written()])
        self.assertEqual(len(self.flushLoggedErrors(Unavailable)), 1)
        self.behaviour = lambda job: None
        self.clock.advance(JOB_LEASE_MS / 1000)
        self.wait(run_due(self.runner))
        self.assertEqual(self.rows("job_id"), [])


class SlowJobStore:
    """Takes the place of a JobStore: a claim, which has been made, returns when the test wants."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.claims: list[Deferred[None]] = []

    async def claim(self, *arguments: Any) -> Any:
        claimed = await self._store.claim(*arguments)
        self.claims.append(Deferred())
        await self.claims[-1]
        return claimed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class LoopTests(RunnerCase):
    def test_start(self) -> None:
        """A process that starts takes over the jobs that no process holds, then polls every few
        seconds."""
        self.add("a")
        self.runner.start()
        self.assertEqual([job.job_id for job in self.done], ["a"])
        self.add("b")
        self.clock.advance(POLL_S - 0.1)
        self.assertEqual(len(self.done), 1)
        self.clock.advance(0.1)
        self.assertEqual([job.job_id for job in self.done], ["a", "b"])

    def test_lookFor(self) -> None:
        """A process that is told of jobs that another one has left runs them at once, as long as it
        runs any."""
        self.add("a")
        self.runner.look_for({KIND})
        self.assertEqual(self.done, [])
        self.runner.start()
        self.add("b")
        self.add("c", kind="mail")
        self.runner.look_for({KIND, "of another version", "fly"})
        self.assertEqual([job.job_id for job in self.done], ["a", "b"])
        self.wait(self.runner.stop())
        self.runner.look_for({"mail"})
        self.assertEqual(len(self.done), 2)

    def test_lookForMeanwhile(self) -> None:
        """What it is told of while it looks, it finds as well."""
        store = SlowJobStore(self.store)
        runner = self.make(store)
        runner.start()
        self.assertEqual(len(store.claims), 1)
        found = store.claims.pop()
        self.add("a")
        runner.look_for({KIND})
        found.callback(None)
        store.claims.pop().callback(None)
        self.assertEqual([job.job_id for job in self.done], ["a"])

    def test_many(self) -> None:
        """However many are due, one round runs them all."""
        self.add(*(f"{number:03}" for number in range(2 * PLACES + 5)))
        self.runner.start()
        self.assertEqual(len(self.done), 2 * PLACES + 5)

    def test_leases(self) -> None:
        """A job that another process holds is left to it, until its lease ends because it died."""
        dead = self.make()
        self.behaviour = lambda job: Deferred()
        dead.held.put([self.written()])
        self.behaviour = lambda job: None
        self.runner.start()
        self.clock.pump([POLL_S] * int(JOB_LEASE_MS / 1000 / POLL_S - 1))
        self.assertEqual(len(self.done), 1)
        self.clock.advance(POLL_S)
        self.assertEqual([job.attempts for job in self.done], [1, 2])
        self.assertEqual(self.rows("job_id"), [])

    def test_troubleIsSurvived(self) -> None:
        """A round that fails, because of the database or a bug, is not the last."""
        for error, logged in ((Unavailable(), 0), (TypeError("a bug"), 1)):
            store = FailingJobStore(self.store, "claim", error)
            runner = self.make(store)
            self.add("job")
            runner.start()
            self.clock.advance(POLL_S)
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2 * logged)
            self.assertEqual(self.rows("job_id"), [("job",)])
            store.error = None
            self.clock.advance(POLL_S)
            self.assertEqual(self.rows("job_id"), [])
            self.wait(runner.stop())


class PlacesTests(RunnerCase):
    """Each kind may run as many jobs at a time as PLACES says."""

    MAIL, ROOM = KINDS[1:]

    def setUp(self) -> None:
        super().setUp()
        self.ends: dict[str, Deferred[None]] = {}
        self.behaviour = self.stall

    def stall(self, job: Job) -> Optional[Awaitable[None]]:
        """Rooms are quick, mails and greetings last until they are ended."""
        if job.kind == self.ROOM:
            return None
        self.ends[job.job_id] = Deferred()
        return self.ends[job.job_id]

    def end(self, *job_ids: str) -> None:
        for job_id in job_ids:
            self.ends.pop(job_id).callback(None)

    def names(self, kind: str, count: int) -> list[str]:
        return [f"{kind}{number:03}" for number in range(count)]

    def begun(self) -> list[str]:
        """The ids of the jobs begun since the last look."""
        begun, self.done[:] = sorted(job.job_id for job in self.done), []
        return begun

    def test_anotherKindStalls(self) -> None:
        """A job due behind 60 of a kind that stalls starts at once, and so does one that is due
        later, in the next round."""
        self.add(*self.names("mail", 60), kind=self.MAIL)
        self.clock.advance(1)
        self.add("room", kind=self.ROOM)
        self.runner.start()
        self.assertEqual(self.begun(), [*self.names("mail", PLACES), "room"])
        self.add("later", kind=self.ROOM)
        self.clock.advance(POLL_S)
        self.assertEqual(self.begun(), ["later"])

    def test_slowOne(self) -> None:
        """One slow job delays no other: as others of its kind end, the next ones begin."""
        names = self.names("mail", 3 * PLACES)
        self.add(*names, kind=self.MAIL)
        self.runner.start()
        slow, *quick = self.begun()
        for job_id, following in zip(quick, names[PLACES:], strict=False):
            self.end(job_id)
            self.assertEqual(self.begun(), [following])
        self.assertIn(slow, self.ends)
        self.assertEqual(len(self.ends), PLACES)

    def test_noMoreThanPlaces(self) -> None:
        """A job without a place is not held, so another process runs it meanwhile."""
        self.add(*self.names("mail", PLACES + 5), kind=self.MAIL)
        self.runner.start()
        for _ in range(3):
            self.clock.advance(POLL_S)
        self.assertEqual(len(self.begun()), PLACES)
        other = self.make()
        self.wait_for(other)
        self.assertEqual(self.begun(), self.names("mail", PLACES + 5)[PLACES:])

    def wait_for(self, runner: JobRunner) -> None:
        runner.start()
        self.addCleanup(runner._loop.stop)

    def test_nothingMoreIsDue(self) -> None:
        """A job that ends claims no more if nothing else was due."""
        self.add(*self.names("mail", 3), kind=self.MAIL)
        store = CountingJobStore(self.store)
        runner = self.make(store)
        runner.start()
        self.end(*self.names("mail", 3))
        self.assertEqual((len(self.begun()), store.claims), (3, 1))

    def test_born(self) -> None:
        """Jobs that this process has just written count like any other: those without a place are
        released, and begin, here or elsewhere, as soon as there is one."""
        self.runner.start()
        names = self.names("mail", PLACES + 5)
        self.runner.held.put([self.written(name, self.MAIL) for name in names])
        self.runner.held.put([self.written("room", self.ROOM)])
        self.assertEqual(self.begun(), [*names[:PLACES], "room"])
        now_ms = int(self.clock.seconds() * 1000)
        free = [due_ms <= now_ms for (due_ms,) in self.rows("due_ms")]
        self.assertEqual(free, [False] * PLACES + [True] * 5)
        self.end(*names[:2])
        self.assertEqual(self.begun(), names[PLACES : PLACES + 2])
        self.end(names[2])
        self.assertEqual(self.begun(), [names[PLACES + 2]])

    def test_releaseFails(self) -> None:
        """If they can't be released, they are taken over when their first lease ends."""
        runner = self.make(FailingJobStore(self.store, "release", Unavailable()))
        runner.held.put([self.written(name) for name in self.names("mail", PLACES + 1)])
        self.assertEqual(len(self.flushLoggedErrors(Unavailable)), 1)
        self.end(*self.begun())
        self.clock.advance(JOB_LEASE_MS / 1000)
        self.behaviour = lambda job: None
        self.wait(run_due(runner))
        self.assertEqual(self.rows("job_id"), [])

    def test_troubleWhileLooking(self) -> None:
        """While the database is unavailable, jobs that end don't query it: the next round does."""
        for error, logged in ((Unavailable(), 0), (TypeError("a bug"), 1)):
            self.add(*self.names("mail", 2 * PLACES), kind=self.MAIL)
            store = FailingJobStore(self.store, "claim", None)
            runner = self.make(store)
            runner.start()
            first, second = self.begun()[:2]
            store.error = error
            self.end(first, second)
            store.error = None
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), logged)
            self.assertEqual(self.begun(), [])
            self.clock.advance(POLL_S)
            self.assertEqual(self.begun(), self.names("mail", PLACES + 2)[PLACES:])
            stopping = Deferred.fromCoroutine(runner.stop())
            self.end(*self.ends)
            self.successResultOf(stopping)
            self.wait(self.database.transaction("test", lambda txn: txn.run("DELETE FROM jobs")))

    def test_stopWhileOthersAreDue(self) -> None:
        """Stopping waits for all that is under way, and no further job is begun."""
        names = self.names("mail", 2 * PLACES)
        self.add(*names, kind=self.MAIL)
        self.runner.start()
        stopping = Deferred.fromCoroutine(self.runner.stop())
        begun = self.begun()
        self.end(*begun[1:])
        self.assertNoResult(stopping)
        self.end(begun[0])
        self.successResultOf(stopping)
        self.assertEqual((self.begun(), len(self.rows("job_id"))), ([], PLACES))

    def test_stopWhileLookingForMore(self) -> None:
        """Stopping waits for a claim that a job's end has begun, and for its jobs."""
        self.add(*self.names("mail", PLACES + 1), kind=self.MAIL)
        store = FailingJobStore(self.store, "claim", None)
        runner = self.make(store)
        runner.start()
        claim: Deferred[None] = Deferred()
        store.error = claim
        begun = self.begun()
        self.end(*begun)
        stopping = Deferred.fromCoroutine(runner.stop())
        self.assertNoResult(stopping)
        claim.callback(None)
        self.assertNoResult(stopping)
        (last,) = self.begun()
        self.end(last)
        self.successResultOf(stopping)
        self.assertEqual(self.rows("job_id"), [])


class CountingJobStore:
    """A job store that counts the claims."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.claims = 0

    def __getattr__(self, name: str) -> Any:
        self.claims += name == "claim"
        return getattr(self._store, name)


class StopTests(RunnerCase):
    def test_underWay(self) -> None:
        """Stopping waits for the jobs under way, and claims no more."""
        end: Deferred[None] = Deferred()
        self.behaviour = lambda job: end
        self.runner.start()
        self.runner.held.put([self.written()])
        stopping = Deferred.fromCoroutine(self.runner.stop())
        self.assertNoResult(stopping)
        self.add("late")
        self.clock.advance(POLL_S)
        end.callback(None)
        self.successResultOf(stopping)
        self.clock.advance(POLL_S)
        self.assertEqual(self.rows("job_id"), [("late",)])

    def test_inTheMiddleOfAClaim(self) -> None:
        """Stopping in the middle of a claim waits for its jobs, and for no second batch."""
        self.add(*(f"{number:03}" for number in range(2 * PLACES)))
        claim: Deferred[None] = Deferred()
        runner = self.make(FailingJobStore(self.store, "claim", claim))
        runner.start()
        stopping = Deferred.fromCoroutine(runner.stop())
        self.assertNoResult(stopping)
        claim.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(len(self.done), PLACES)

    def test_neverStarted(self) -> None:
        """A runner that was never started stops at once, and so does one that was stopped
        before."""
        self.wait(self.runner.stop())
        self.runner.start()
        for _ in range(2):
            self.wait(self.runner.stop())


class FailingJobStore:
    """A job store whose ``method`` raises ``error``, or waits for it if it is a Deferred."""

    def __init__(self, store: JobStore, method: str, error: Any) -> None:
        self._store = store
        self._method = method
        self.error = error

    def __getattr__(self, name: str) -> Any:
        if name != self._method or self.error is None:
            return getattr(self._store, name)
        return self._away

    async def _away(self, *args: Any) -> Any:
        if isinstance(self.error, Deferred):
            await self.error
            return await getattr(self._store, self._method)(*args)
        raise self.error
