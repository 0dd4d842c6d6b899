"""The contract of JobStore: each job is claimed, and by one process at a time."""

from __future__ import annotations

from typing import Any, Sequence

import attr

from regsys.model import JOB_LEASE_MS
from regsys.model.accounts import CLOCKS_APART_MS
from regsys.model.jobs import JOB_LONGEST_WAIT_MS, MOST_COUNTED, Backlog, Job, NewJob, WaitingJob
from regsys.storage.jobs import JobStore
from regsys.testing.contracts.case import NOW_MS, Contract, together
from tests.support.values import NEIGHBOUR, PAYLOAD, jobs

LEASE_MS = 1000
KINDS = ("greet", "wave")
PLACES = dict.fromkeys(KINDS, 10)


class JobStoreContract(Contract):
    """A JobStore."""

    def make(self) -> JobStore:
        """A store without any job, but for those of the kind NEIGHBOUR, which are never due."""
        raise NotImplementedError()

    async def claim(self, store: JobStore, now_ms: int = NOW_MS, at_most: int = 10) -> list[str]:
        """The ids of the jobs that are claimed now, at most so many of each kind."""
        places = dict.fromkeys(KINDS, at_most)
        return [job.job_id for job in await store.claim(places, now_ms, LEASE_MS)]

    async def waiting(self, store: JobStore) -> list[WaitingJob]:
        return [job for job in await store.waiting(100) if job.kind != NEIGHBOUR]

    async def backlog(self, store: JobStore) -> list[Backlog]:
        return [item for item in await store.backlog() if item.kind != NEIGHBOUR]

    async def test_claimed(self) -> None:
        """An added job is due at once, and is claimed with all its fields."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        self.assertEqual(
            list(await store.claim(PLACES, NOW_MS, LEASE_MS)),
            [
                Job(
                    job_id="one",
                    kind="greet",
                    payload=PAYLOAD,
                    attempts=1,
                    claimed_until_ms=NOW_MS + LEASE_MS,
                )
            ],
        )

    async def test_addedTwice(self) -> None:
        """The same job added again, as after a lost connection, is stored once."""
        store = self.make()
        for _ in range(2):
            await store.add(jobs("one"), NOW_MS)
        self.assertEqual(await self.claim(store), ["one"])
        self.assertEqual(await self.claim(store), [])

    async def test_lease(self) -> None:
        """A job is not claimed again while its lease lasts; then it counts one more attempt."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await self.claim(store)
        self.assertEqual(await self.claim(store, NOW_MS + LEASE_MS - 1), [])
        (job,) = await store.claim(PLACES, NOW_MS + LEASE_MS, LEASE_MS)
        self.assertEqual((job.job_id, job.attempts), ("one", 2))

    async def test_oldestFirst(self) -> None:
        """As many are claimed as were asked for, those that have been due longest."""
        store = self.make()
        for number in (3, 1, 2):
            await store.add(jobs(f"{number}"), NOW_MS + number)
        later = NOW_MS + 10
        self.assertEqual(sorted(await self.claim(store, later, at_most=2)), ["1", "2"])
        self.assertEqual(await self.claim(store, later), ["3"])

    async def test_notDueYet(self) -> None:
        """A job is not claimed before it is due."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS + 1)
        self.assertEqual(await self.claim(store), [])

    async def test_wrongClock(self) -> None:
        """A job that a wrong clock has put off further than any job is due now, after the jobs that
        are rightly due."""
        store = self.make()
        latest_ms = JOB_LONGEST_WAIT_MS + CLOCKS_APART_MS
        due = {"usual": NOW_MS, "latest": NOW_MS + latest_ms, "wrong": NOW_MS + latest_ms + 1}
        for name, due_ms in due.items():
            await store.add(jobs(name), NOW_MS)
            await store.postpone(name, due_ms, "no answer")
        claimed = [await self.claim(store, at_most=1) for _ in due]
        self.assertEqual(claimed, [["usual"], ["wrong"], []])
        # Both are held for a lease now, like any other.
        again = await self.claim(store, NOW_MS + LEASE_MS)
        self.assertEqual(sorted(again), ["usual", "wrong"])

    async def test_kinds(self) -> None:
        """Jobs of another kind are not claimed, even if they are due earlier."""
        store = self.make()
        await store.add([NewJob(kind="fly", job_id="other")], NOW_MS)
        await store.add(jobs("one"), NOW_MS + 1)
        later = NOW_MS + 2
        self.assertEqual(await self.claim(store, later, at_most=1), ["one"])
        for nothing in ({}, {"fly": 0}):
            self.assertEqual(list(await store.claim(nothing, later, LEASE_MS)), [])
        (job,) = await store.claim({"fly": 10}, later, LEASE_MS)
        self.assertEqual((job.job_id, job.attempts), ("other", 1))

    async def test_placesByKind(self) -> None:
        """Of each kind as many are claimed as there are places for it, the oldest, however many of
        another kind are due, and for longer."""
        store = self.make()
        for number in range(6):
            await store.add([NewJob(kind="greet", job_id=f"greet{number}")], NOW_MS + number)
        for number in range(3):
            await store.add([NewJob(kind="wave", job_id=f"wave{number}")], NOW_MS + 10 + number)
        await store.add([NewJob(kind="fly", job_id="fly")], NOW_MS)
        wrong_ms = NOW_MS + JOB_LONGEST_WAIT_MS + CLOCKS_APART_MS + 1000
        await store.postpone("greet0", wrong_ms, "no answer")
        later, places = NOW_MS + 20, {"greet": 4, "wave": 2}
        claimed = [await store.claim(places, later, LEASE_MS) for _ in range(3)]
        self.assertEqual(
            [sorted(job.job_id for job in share) for share in claimed],
            [
                ["greet1", "greet2", "greet3", "greet4", "wave0", "wave1"],
                ["greet0", "greet5", "wave2"],
                [],
            ],
        )

    async def test_released(self) -> None:
        """A held job that is released can be claimed at once, as one more attempt; a job that was
        claimed since keeps its lease."""
        store = self.make()
        await store.begin(jobs("one", "two", "three"), NOW_MS)
        await store.release([], NOW_MS)
        await store.release(["one", "three", "gone"], NOW_MS + 5)
        self.assertEqual(await self.claim(store, NOW_MS + 4), [])
        found = await store.claim(PLACES, NOW_MS + 5, LEASE_MS)
        attempts = sorted((job.job_id, job.attempts) for job in found)
        self.assertEqual(attempts, [("one", 2), ("three", 2)])
        await store.release(["one"], NOW_MS + 6)
        self.assertEqual(await self.claim(store, NOW_MS + 7), [])

    async def test_begun(self) -> None:
        """A begun job is held until its lease ends, and its first attempt counts."""
        store = self.make()
        new = jobs("one", "two")
        self.assertEqual(list(await store.begin(new, NOW_MS)), new)
        self.assertEqual(await self.claim(store, NOW_MS + JOB_LEASE_MS - 1), [])
        found = await store.claim(PLACES, NOW_MS + JOB_LEASE_MS, LEASE_MS)
        self.assertEqual(
            sorted((job.job_id, job.attempts) for job in found), [("one", 2), ("two", 2)]
        )

    async def test_longKey(self) -> None:
        """A deduplication key may be as long as a device id or an address makes it."""
        store = self.make()
        signs = "".join(chr(0x10000 + 7919 * number % 0xFFFFF) for number in range(1200))
        first, other = (NewJob(kind="greet", dedup_key=signs + end) for end in "ab")
        self.assertEqual(list(await store.begin([first], NOW_MS)), [first])
        self.assertEqual(list(await store.begin([first, other], NOW_MS)), [other])

    async def test_anyError(self) -> None:
        """A job is postponed whatever its error says; characters that no database takes are
        replaced."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await store.postpone("one", NOW_MS + 5, "a\0b\ud800c\nd")
        (waiting,) = await self.waiting(store)
        self.assertEqual((waiting.due_ms, waiting.last_error), (NOW_MS + 5, "a\ufffdb\ufffdc\nd"))

    async def test_onlyOnce(self) -> None:
        """Jobs of one deduplication key are written together and never again, not even after they
        are finished; jobs without one always are."""
        store = self.make()
        first = [attr.evolve(job, dedup_key="rooms of alice") for job in jobs("one", "two")]
        self.assertEqual(list(await store.begin(first, NOW_MS)), first)
        for job in first:
            await store.finish(job.job_id)
        more = [
            NewJob(kind="greet", job_id="again", dedup_key="rooms of alice"),
            NewJob(kind="greet", job_id="other", dedup_key="rooms of bob"),
            NewJob(kind="greet", job_id="always"),
        ]
        begun = await store.begin(more, NOW_MS)
        self.assertEqual([job.job_id for job in begun], ["other", "always"])
        later = NOW_MS + JOB_LEASE_MS
        self.assertEqual(sorted(await self.claim(store, later)), ["always", "other"])

    async def test_onlyOnceOfSeveral(self) -> None:
        """Of several concurrent calls with one deduplication key one writes its jobs."""
        store = self.make()
        begun = await together(
            store.begin([attr.evolve(job, dedup_key="key") for job in jobs(f"job{number}")], NOW_MS)
            for number in range(8)
        )
        self.assertEqual(sum(len(checked(share)) for share in begun), 1)

    async def test_claimedAtOnce(self) -> None:
        """Concurrent claims get different jobs, and all jobs together."""
        store = self.make()
        names = [f"job{number:02}" for number in range(12)]
        await store.add(jobs(*names), NOW_MS)
        claimed: list[str] = []
        while len(claimed) < len(names):
            shares = await together(store.claim({"greet": 3}, NOW_MS, LEASE_MS) for _ in range(4))
            found = [job for share in shares for job in checked(share)]
            self.assertTrue(found, f"only {claimed} were to be had")
            claimed += [job.job_id for job in found]
        self.assertEqual(sorted(claimed), names)

    async def test_finished(self) -> None:
        """A finished job is deleted; the others stay. Finishing is idempotent."""
        store = self.make()
        await store.add(jobs("one", "two"), NOW_MS)
        for _ in range(2):
            await store.finish("one")
        self.assertEqual(await self.claim(store), ["two"])

    async def test_postponed(self) -> None:
        """A postponed job can be claimed at its new time, and not before."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await self.claim(store)
        await store.postpone("one", NOW_MS + 5, "no luck: '%s' 🦊")
        self.assertEqual(await self.claim(store, NOW_MS + 4), [])
        (job,) = await store.claim(PLACES, NOW_MS + 5, LEASE_MS)
        self.assertEqual((job.attempts, job.payload), (2, PAYLOAD))

    async def test_postponedTooLate(self) -> None:
        """Postponing a job that does not exist creates none."""
        store = self.make()
        await store.postpone("one", NOW_MS, "no luck")
        self.assertEqual(await self.claim(store), [])

    async def test_putOff(self) -> None:
        """A job for which it is too early has not failed: it is claimed at its time as if it had
        been tried once."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        for _ in range(3):
            (job,) = await store.claim(PLACES, NOW_MS, LEASE_MS)
            await store.postpone("one", NOW_MS, "no luck")
        await store.put_off("one", NOW_MS + 5)
        (waiting,) = await self.waiting(store)
        self.assertEqual((waiting.due_ms, waiting.last_error), (NOW_MS + 5, None))
        self.assertEqual(await self.claim(store, NOW_MS + 4), [])
        (job,) = await store.claim(PLACES, NOW_MS + 5, LEASE_MS)
        self.assertEqual((job.attempts, job.payload), (2, PAYLOAD))

    # --- What the operator sees -----------------------------------------------------------

    async def test_waiting(self) -> None:
        """Unfinished jobs are listed with all their fields, the oldest first, those with a lease
        included."""
        store = self.make()
        for later_ms, name in ((2, "b"), (1, "c"), (3, "a")):
            await store.add(jobs(name), NOW_MS + later_ms)
        await store.begin([NewJob(kind="fly", job_id="begun")], NOW_MS + 4)
        await self.claim(store, NOW_MS + 1, at_most=1)
        await store.postpone("c", NOW_MS + 9, "no luck: 'ö'")
        found = await self.waiting(store)
        self.assertEqual([job.job_id for job in found], ["c", "b", "a", "begun"])
        self.assertEqual(
            found[0],
            WaitingJob(
                job_id="c",
                kind="greet",
                payload=PAYLOAD,
                attempts=1,
                due_ms=NOW_MS + 9,
                created_ms=NOW_MS + 1,
                last_error="no luck: 'ö'",
            ),
        )
        self.assertIsNone(found[1].last_error)
        self.assertEqual([job.job_id for job in await store.waiting(2)], ["c", "b"])

    async def test_backlog(self) -> None:
        """The backlog has each kind's number of jobs, and the time of the oldest."""
        store = self.make()
        self.assertEqual(await self.backlog(store), [])
        for number in (2, 1):
            await store.add(jobs(f"{number}"), NOW_MS + number)
        await store.begin([NewJob(kind="fly", job_id="begun")], NOW_MS + 4)
        expected = [
            Backlog(kind="fly", count=1, oldest_ms=NOW_MS + 4),
            Backlog(kind="greet", count=2, oldest_ms=NOW_MS + 1),
        ]
        self.assertEqual(await self.backlog(store), expected)

    async def test_backlogIsBounded(self) -> None:
        """The backlog counts no further than MOST_COUNTED."""
        store = self.make()
        await store.add(jobs(*map(str, range(MOST_COUNTED + 1))), NOW_MS)
        (counted,) = await self.backlog(store)
        self.assertEqual((counted.count, counted.oldest_ms), (MOST_COUNTED, NOW_MS))

    async def test_retry(self) -> None:
        """A failed job becomes due at once; one that has not failed, or is unknown, does not."""
        store = self.make()
        await store.add(jobs("one", "two"), NOW_MS)
        await store.begin(jobs("begun"), NOW_MS)
        await self.claim(store)
        for name in ("one", "two"):
            await store.postpone(name, NOW_MS + 1000, "no luck")
        for name, count in (("one", 1), ("one", 0), ("begun", 0), ("gone", 0)):
            self.assertEqual(await store.retry(name, NOW_MS + 1), count, name)
        self.assertEqual(await self.claim(store, NOW_MS + 1), ["one"])

    async def test_retryAll(self) -> None:
        """All failed jobs become due at once; their number is returned."""
        store = self.make()
        await store.add(jobs("one", "two"), NOW_MS)
        await store.begin(jobs("begun"), NOW_MS)
        await self.claim(store)
        for name in ("one", "two"):
            await store.postpone(name, NOW_MS + 1000, "no luck")
        self.assertEqual(await store.retry(None, NOW_MS + 1), 2)
        self.assertEqual(sorted(await self.claim(store, NOW_MS + 1)), ["one", "two"])


def checked(share: object) -> Sequence[Any]:
    """What one call has claimed; raises its exception."""
    if isinstance(share, BaseException):
        raise share
    assert isinstance(share, Sequence)
    return share
