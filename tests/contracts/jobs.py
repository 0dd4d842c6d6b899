"""The contract of JobStore: every job is somebody's, and only one's at a time."""

from __future__ import annotations

from typing import Any, Sequence

import attr

from regsys.model import (
    CLOCKS_APART_MS,
    JOB_LEASE_MS,
    JOB_LONGEST_WAIT_MS,
    MOST_COUNTED,
    Backlog,
    Job,
    NewJob,
    WaitingJob,
)
from regsys.storage.jobs import JobStore
from regsys.testing.contracts.case import NOW_MS, Contract, together
from tests.support.values import BYSTANDER, PAYLOAD, jobs

LEASE_MS = 1000
KINDS = ("greet", "wave")
PLACES = dict.fromkeys(KINDS, 10)


class JobStoreContract(Contract):
    """A JobStore."""

    def make(self) -> JobStore:
        """A store without any job, but for those of the kind BYSTANDER, which are never due."""
        raise NotImplementedError()

    async def claim(self, store: JobStore, now_ms: int = NOW_MS, at_most: int = 10) -> list[str]:
        """The ids of the jobs that are claimed now, at most so many of each kind."""
        places = dict.fromkeys(KINDS, at_most)
        return [job.job_id for job in await store.claim(places, now_ms, LEASE_MS)]

    async def waiting(self, store: JobStore) -> list[WaitingJob]:
        return [job for job in await store.waiting(100) if job.kind != BYSTANDER]

    async def backlog(self, store: JobStore) -> list[Backlog]:
        return [item for item in await store.backlog() if item.kind != BYSTANDER]

    async def test_claimed(self) -> None:
        """A job that is added is due at once; who claims it learns all of it."""
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
        """The same job added again, after an answer that was lost, is there once."""
        store = self.make()
        for _ in range(2):
            await store.add(jobs("one"), NOW_MS)
        self.assertEqual(await self.claim(store), ["one"])
        self.assertEqual(await self.claim(store), [])

    async def test_lease(self) -> None:
        """Nobody else gets a job while its lease lasts; after that it counts one attempt more."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await self.claim(store)
        self.assertEqual(await self.claim(store, NOW_MS + LEASE_MS - 1), [])
        (job,) = await store.claim(PLACES, NOW_MS + LEASE_MS, LEASE_MS)
        self.assertEqual((job.job_id, job.attempts), ("one", 2))

    async def test_oldestFirst(self) -> None:
        """So many are claimed as were asked for, those which have been due longest."""
        store = self.make()
        for number in (3, 1, 2):
            await store.add(jobs(f"{number}"), NOW_MS + number)
        later = NOW_MS + 10
        self.assertEqual(sorted(await self.claim(store, later, at_most=2)), ["1", "2"])
        self.assertEqual(await self.claim(store, later), ["3"])

    async def test_notDueYet(self) -> None:
        """What is added for later is not claimed before."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS + 1)
        self.assertEqual(await self.claim(store), [])

    async def test_wrongClock(self) -> None:
        """What a clock that was wrong has put off, further than anything is, is due now; and is
        claimed behind what is due rightly."""
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
        """Jobs of another kind stay for whoever asks for them, ahead in the queue or not."""
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
        """Of each kind so many are claimed as there are places for it, the oldest, however many of
        another are due, and for longer."""
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
        """What was held from birth can be had at once when it is released, by anybody, as one
        attempt more; what somebody has claimed since stays theirs."""
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
        """What is begun is held until its lease ends, and its first attempt has begun."""
        store = self.make()
        new = jobs("one", "two")
        self.assertEqual(list(await store.begin(new, NOW_MS)), new)
        self.assertEqual(await self.claim(store, NOW_MS + JOB_LEASE_MS - 1), [])
        found = await store.claim(PLACES, NOW_MS + JOB_LEASE_MS, LEASE_MS)
        self.assertEqual(
            sorted((job.job_id, job.attempts) for job in found), [("one", 2), ("two", 2)]
        )

    async def test_longWord(self) -> None:
        """A word may be as long as what people choose makes it: a device's id, an address."""
        store = self.make()
        signs = "".join(chr(0x10000 + 7919 * number % 0xFFFFF) for number in range(1200))
        first, other = (NewJob(kind="greet", dedup_key=signs + end) for end in "ab")
        self.assertEqual(list(await store.begin([first], NOW_MS)), [first])
        self.assertEqual(list(await store.begin([first, other], NOW_MS)), [other])

    async def test_anyError(self) -> None:
        """Whatever stands in an error, the job waits; what no database takes is replaced."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await store.postpone("one", NOW_MS + 5, "a\0b\ud800c\nd")
        (waiting,) = await self.waiting(store)
        self.assertEqual((waiting.due_ms, waiting.last_error), (NOW_MS + 5, "a\ufffdb\ufffdc\nd"))

    async def test_onlyOnce(self) -> None:
        """Jobs of one word are written together and never again, also when they are done; jobs
        without a word always are."""
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
        """Of several who begin the jobs of one word at once, one writes them."""
        store = self.make()
        begun = await together(
            store.begin(
                [attr.evolve(job, dedup_key="word") for job in jobs(f"job{number}")], NOW_MS
            )
            for number in range(8)
        )
        self.assertEqual(sum(len(checked(share)) for share in begun), 1)

    async def test_claimedAtOnce(self) -> None:
        """Several that claim at once get different jobs, and all of them."""
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
        """A finished job is gone; the others stay. Finishing is idempotent."""
        store = self.make()
        await store.add(jobs("one", "two"), NOW_MS)
        for _ in range(2):
            await store.finish("one")
        self.assertEqual(await self.claim(store), ["two"])

    async def test_postponed(self) -> None:
        """A postponed job is free again at the time that was said, and not before."""
        store = self.make()
        await store.add(jobs("one"), NOW_MS)
        await self.claim(store)
        await store.postpone("one", NOW_MS + 5, "no luck: '%s' 🦊")
        self.assertEqual(await self.claim(store, NOW_MS + 4), [])
        (job,) = await store.claim(PLACES, NOW_MS + 5, LEASE_MS)
        self.assertEqual((job.attempts, job.payload), (2, PAYLOAD))

    async def test_postponedTooLate(self) -> None:
        """A job that is gone is not brought back by postponing it."""
        store = self.make()
        await store.postpone("one", NOW_MS, "no luck")
        self.assertEqual(await self.claim(store), [])

    # --- What the operator sees -----------------------------------------------------------

    async def test_waiting(self) -> None:
        """Jobs that are not done are to be seen, the oldest first, with all there is to know;
        also those that somebody holds."""
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
        """Of each kind it is known how many there are, and since when the oldest is."""
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
        """Of very many it counts no more than the first."""
        store = self.make()
        await store.add(jobs(*map(str, range(MOST_COUNTED + 1))), NOW_MS)
        (counted,) = await self.backlog(store)
        self.assertEqual((counted.count, counted.oldest_ms), (MOST_COUNTED, NOW_MS))

    async def test_retry(self) -> None:
        """A job that has failed can be had at once; one that has not, or is gone, is left alone."""
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
        """So can all of them, and it is told how many those are."""
        store = self.make()
        await store.add(jobs("one", "two"), NOW_MS)
        await store.begin(jobs("begun"), NOW_MS)
        await self.claim(store)
        for name in ("one", "two"):
            await store.postpone(name, NOW_MS + 1000, "no luck")
        self.assertEqual(await store.retry(None, NOW_MS + 1), 2)
        self.assertEqual(sorted(await self.claim(store, NOW_MS + 1)), ["one", "two"])


def checked(share: object) -> Sequence[Any]:
    """What one claimer got; an exception is raised here."""
    if isinstance(share, BaseException):
        raise share
    assert isinstance(share, Sequence)
    return share
