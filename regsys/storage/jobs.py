"""Jobs and their leases. ``due_ms`` is when a job may be claimed: while one is claimed, the end of
its lease."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from typing import Collection, Mapping, Optional, Sequence

import attr

from regsys import clock
from regsys.model import JOB_LEASE_MS, UserID
from regsys.model.accounts import CLOCKS_APART_MS
from regsys.model.jobs import JOB_LONGEST_WAIT_MS, MOST_COUNTED, Backlog, Job, NewJob, WaitingJob
from regsys.storage.batches import chosen
from regsys.storage.database import Database, Row, Transaction

# How many jobs one transaction looks at when all are to be retried.
RETRIED_AT_ONCE = 1000
# Characters that not every database stores.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def insert_held(
    txn: Transaction, new: Sequence[NewJob], now_ms: int, lease_ms: int = JOB_LEASE_MS
) -> tuple[NewJob, ...]:
    """Write jobs with a lease of the committing process: their first attempt has begun. Returns
    the jobs that were written, without those whose deduplication key exists already."""
    first = _first_with_key(txn, new)
    written = tuple(job for job in new if job.dedup_key is None or job.dedup_key in first)
    for job in written:
        _insert(txn, job, now_ms, attempts=1, due_ms=now_ms + lease_ms)
    return written


def insert_due(txn: Transaction, new: Sequence[NewJob], now_ms: int) -> None:
    """Write jobs without a lease: whichever process runs their kind takes them within seconds."""
    for job in new:
        _insert(txn, job, now_ms, attempts=0, due_ms=now_ms)


def storable(text: str) -> str:
    """The text without the characters that not every database stores."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def hold_again(txn: Transaction, job_id: str, now_ms: int) -> None:
    """Begin the lease of this job anew, for the committing process."""
    txn.run(
        "UPDATE jobs SET due_ms = ? WHERE job_id = ? AND due_ms < ?",
        (now_ms + JOB_LEASE_MS, job_id, now_ms + JOB_LEASE_MS),
    )


def _first_with_key(txn: Transaction, new: Sequence[NewJob]) -> frozenset[str]:
    """The deduplication keys that did not exist yet; they are written."""
    keys = {job.dedup_key for job in new if job.dedup_key is not None}
    return frozenset(key for key in sorted(keys) if _add_key(txn, key))


def _add_key(txn: Transaction, key: str) -> bool:
    """True if the key did not exist yet."""
    return txn.insert("first_times", word=_row(key))


def _has_key(txn: Transaction, key: str) -> bool:
    return txn.one("SELECT 1 FROM first_times WHERE word = ?", (_row(key),)) is not None


def _row(key: str) -> str:
    """The digest of a deduplication key, which the table holds. Keys may have any length, and they
    name the address or user that they are about."""
    return hashlib.sha256(key.encode("utf-8")).hexdigest()


def _insert(txn: Transaction, job: NewJob, now_ms: int, attempts: int, due_ms: int) -> None:
    txn.insert(
        "jobs",
        job_id=job.job_id,
        kind=job.kind,
        payload=json.dumps(dict(job.payload)),
        attempts=attempts,
        due_ms=due_ms,
        created_ms=now_ms,
    )


@attr.frozen
class JobStore:
    """Jobs. A lease lets at most one process run a job at a time."""

    db: Database

    async def claim(self, places: Mapping[str, int], now_ms: int, lease_ms: int) -> Sequence[Job]:
        """Claim jobs that are due, of each kind at most as many as ``places`` says, those that have
        been due longest first. Last come those whose ``due_ms`` is further away than
        JOB_LONGEST_WAIT_MS allows, since a wrong clock has postponed them."""
        return await self.db.transaction("claim_jobs", _claim, places, now_ms, lease_ms)

    async def is_due(self, kinds: Collection[str], now_ms: int) -> bool:
        """Whether any job of these kinds is due: it costs less than ``claim`` if none is."""
        return await self.db.autocommit("is_due", _is_due, sorted(kinds), now_ms)

    async def release(self, job_ids: Sequence[str], now_ms: int) -> None:
        """Release the first lease of these jobs, which were not started: any process may claim
        them. A job that has been claimed since is left alone."""
        await self.db.autocommit("release_jobs", _release, job_ids, now_ms)

    async def finish(self, job_id: str) -> None:
        """Delete a job that is done."""
        await self.db.autocommit("finish_job", _finish, job_id)

    async def postpone(self, job_id: str, due_ms: int, error: str) -> None:
        """Release a job that failed, to be retried at ``due_ms``."""
        await self.db.autocommit("postpone_job", _postpone, job_id, due_ms, storable(error))

    async def put_off(self, job_id: str, due_ms: int) -> None:
        """Release a job for which it is too early, until ``due_ms``: it has not failed."""
        await self.db.autocommit("put_off_job", _put_off, job_id, due_ms)

    async def add(self, jobs: Sequence[NewJob], now_ms: int) -> None:
        """Store jobs that are not part of an account's transaction, without a lease."""
        await self.db.transaction("add_jobs", insert_due, jobs, now_ms)

    async def begin(self, jobs: Sequence[NewJob], now_ms: int) -> Sequence[NewJob]:
        """Store jobs that are not part of an account's transaction, with a lease of this process,
        except those whose deduplication key exists already. Returns the jobs that were written, for
        ``start_jobs``."""
        return await self.db.transaction("begin_jobs", insert_held, jobs, now_ms)

    async def waiting(self, at_most: int) -> Sequence[WaitingJob]:
        """The jobs that are not done yet, including those under way, the oldest first."""
        return await self.db.autocommit("waiting_jobs", _waiting, at_most)

    async def about(self, user_id: UserID) -> Sequence[WaitingJob]:
        """As ``waiting``, those that name this user. All jobs are read for it."""
        return await self.db.autocommit("jobs_about", _about, user_id)

    async def backlog(self) -> Sequence[Backlog]:
        """How many jobs of each kind there are, ordered by kind; the cost is bounded."""
        return await self.db.autocommit("backlog", _backlog)

    async def retry(self, job_id: Optional[str], now_ms: int) -> int:
        """Make this failed job, or all failed jobs if ``job_id`` is None, due now; returns how many
        were waiting. Jobs that have not failed yet are left alone."""
        if job_id is not None:
            return await self.db.transaction("retry_job", _retry, "job_id = ?", (job_id,), now_ms)
        count, after, began_s = 0, "", 0.0
        while last := await self.db.autocommit("next_jobs", _last_of, after, RETRIED_AT_ONCE):
            if after:
                await clock.rest(self.db.clock, began_s)
            began_s = self.db.clock.seconds()
            values = (after, last)
            count += await self.db.transaction(
                "retry_jobs", _retry, "job_id > ? AND job_id <= ?", values, now_ms
            )
            after = last
        return count

    async def has_key(self, key: str) -> bool:
        """Whether the deduplication key exists. Keys never expire."""
        return await self.db.autocommit("has_dedup_key", _has_key, key)

    async def add_key(self, key: str) -> None:
        """Add a deduplication key. Idempotent."""
        await self.db.autocommit("add_dedup_key", _add_key, key)


def _claim(
    txn: Transaction, places: Mapping[str, int], now_ms: int, lease_ms: int
) -> Sequence[Job]:
    due = _claim_where(txn, places, "<= ?", now_ms, now_ms + lease_ms)
    # A job that is postponed further than any job ever is was postponed by a wrong clock: it must
    # not wait until then.
    latest_ms = now_ms + JOB_LONGEST_WAIT_MS + CLOCKS_APART_MS
    left = Counter(places)
    left.subtract(job.kind for job in due)
    return [*due, *_claim_where(txn, left, "> ?", latest_ms, now_ms + lease_ms)]


def _claim_where(
    txn: Transaction, places: Mapping[str, int], due: str, bound_ms: int, until_ms: int
) -> Sequence[Job]:
    """``due``: how ``due_ms`` compares to ``bound_ms``, in SQL."""
    wanted = [(kind, bound_ms, count) for kind, count in sorted(places.items()) if count > 0]
    if not wanted:
        return []
    # One select for each kind: the index (kind, due_ms) yields its first jobs in order, and no
    # backlog is sorted.
    of_a_kind = f"SELECT job_id FROM jobs WHERE kind = ? AND due_ms {due} ORDER BY due_ms LIMIT ?"
    rows = txn.all(
        chosen(txn, *(of_a_kind for _ in wanted))
        + "UPDATE jobs SET due_ms = ?, attempts = attempts + 1"
        " WHERE job_id IN (SELECT job_id FROM chosen)"
        " RETURNING job_id, kind, payload, attempts, due_ms",
        (*itertools.chain.from_iterable(wanted), until_ms),
    )
    return [
        Job(
            job_id=job_id,
            kind=kind,
            payload=json.loads(payload),
            attempts=attempts,
            claimed_until_ms=due_ms,
        )
        for job_id, kind, payload, attempts, due_ms in rows
    ]


def _is_due(txn: Transaction, kinds: Sequence[str], now_ms: int) -> bool:
    marks = ", ".join("?" for _ in kinds)
    sql = f"SELECT 1 FROM jobs WHERE kind IN ({marks}) AND due_ms <= ? LIMIT 1"
    return txn.one(sql, (*kinds, now_ms)) is not None


def _release(txn: Transaction, job_ids: Sequence[str], now_ms: int) -> None:
    if not job_ids:
        return
    # A job with more attempts was claimed by another process after its first lease had ended.
    marks = ", ".join("?" for _ in job_ids)
    txn.run(
        f"UPDATE jobs SET due_ms = ? WHERE attempts = 1 AND job_id IN ({marks})",
        (now_ms, *job_ids),
    )


def _finish(txn: Transaction, job_id: str) -> None:
    txn.run("DELETE FROM jobs WHERE job_id = ?", (job_id,))


def _postpone(txn: Transaction, job_id: str, due_ms: int, error: str) -> None:
    txn.run("UPDATE jobs SET due_ms = ?, last_error = ? WHERE job_id = ?", (due_ms, error, job_id))


def _put_off(txn: Transaction, job_id: str, due_ms: int) -> None:
    # One attempt: if a later one fails, it is retried soon.
    sql = "UPDATE jobs SET due_ms = ?, attempts = 1, last_error = NULL WHERE job_id = ?"
    txn.run(sql, (due_ms, job_id))


_WAITING = "SELECT job_id, kind, payload, attempts, due_ms, created_ms, last_error FROM jobs"


def _waiting(txn: Transaction, at_most: int) -> Sequence[WaitingJob]:
    rows = txn.all(f"{_WAITING} ORDER BY created_ms, job_id LIMIT ?", (at_most,))
    return _waiting_jobs(rows)


def _about(txn: Transaction, user_id: UserID) -> Sequence[WaitingJob]:
    # A part of the payload decides which are read, its parsed value which of these are meant.
    escaped = json.dumps(str(user_id)).replace("!", "!!").replace("%", "!%").replace("_", "!_")
    rows = txn.all(
        f"{_WAITING} WHERE payload LIKE ? ESCAPE '!' ORDER BY created_ms, job_id",
        (f"%{escaped}%",),
    )
    return [job for job in _waiting_jobs(rows) if job.payload.get("user_id") == str(user_id)]


def _waiting_jobs(rows: Sequence[Row]) -> Sequence[WaitingJob]:
    return [
        WaitingJob(
            job_id=job_id,
            kind=kind,
            payload=json.loads(payload),
            attempts=attempts,
            due_ms=due_ms,
            created_ms=created_ms,
            last_error=last_error,
        )
        for job_id, kind, payload, attempts, due_ms, created_ms, last_error in rows
    ]


def _backlog(txn: Transaction) -> Sequence[Backlog]:
    """Steps through the index by kind and reads at most MOST_COUNTED rows of each."""
    backlogs: list[Backlog] = []
    kind = ""
    while True:
        row = txn.one("SELECT kind FROM jobs WHERE kind > ? ORDER BY kind LIMIT 1", (kind,))
        if row is None:
            return backlogs
        kind = row[0]
        counted = txn.one(
            "SELECT COUNT(*), MIN(created_ms) FROM"
            " (SELECT created_ms FROM jobs WHERE kind = ? ORDER BY due_ms LIMIT ?) AS first",
            (kind, MOST_COUNTED),
        )
        if counted is not None and counted[0]:
            backlogs.append(Backlog(kind=kind, count=counted[0], oldest_ms=counted[1]))


def _last_of(txn: Transaction, after: str, at_most: int) -> str:
    """The id of the last of the next ``at_most`` jobs; empty if there are no more."""
    row = txn.one(
        "SELECT MAX(job_id) FROM"
        " (SELECT job_id FROM jobs WHERE job_id > ? ORDER BY job_id LIMIT ?) AS following",
        (after, at_most),
    )
    return "" if row is None else row[0] or ""


def _retry(txn: Transaction, which: str, values: Sequence[str], now_ms: int) -> int:
    """``which``: a condition in SQL."""
    # A retry under way looks like a job that waits; a second attempt beside it is harmless.
    return txn.run(
        f"UPDATE jobs SET due_ms = ? WHERE {which} AND due_ms > ? AND last_error IS NOT NULL",
        (now_ms, *values, now_ms),
    )
