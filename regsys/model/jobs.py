"""Durable jobs: work that follows a commit."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr


@attr.frozen(kw_only=True)
class NewJob:
    """Work that must follow a commit immediately. ``payload`` is JSON.

    ``dedup_key``: jobs with a deduplication key are written only by the first transaction that has
    this key, however long ago that was, since they must not run for an account a second time. If it
    is None, the job is always written.
    """

    kind: str
    payload: Mapping[str, Any] = attr.field(factory=dict)
    job_id: str = attr.field(factory=lambda: secrets.token_hex(12))
    dedup_key: Optional[str] = None


# The fields of a payload that may be shown; others may contain personal data.
_PUBLIC_FIELDS = ("user_id", "room")


@attr.frozen(kw_only=True)
class WaitingJob:
    """A stored job, for the operator. ``due_ms``: when it may be claimed; while it is under way,
    the end of its lease. ``last_error`` is None if it has not failed yet."""

    job_id: str
    kind: str
    payload: Mapping[str, Any] = attr.field(repr=False)
    attempts: int
    due_ms: int
    created_ms: int
    last_error: Optional[str]

    @property
    def about(self) -> Mapping[str, str]:
        """The ``user_id`` and ``room`` that the job is about, as far as it has these."""
        return {name: self.payload[name] for name in _PUBLIC_FIELDS if self.payload.get(name)}


@attr.frozen(kw_only=True)
class Backlog:
    """The number of jobs of a kind that wait or are under way, and the time of the oldest. At most
    MOST_COUNTED jobs are looked at."""

    kind: str
    count: int
    oldest_ms: int


MOST_COUNTED = 1000

# How long a process has a job for itself before others may claim it.
JOB_LEASE_MS = 60_000
# The longest delay between two attempts.
JOB_LONGEST_WAIT_MS = 3600 * 1000


@attr.frozen(kw_only=True)
class Job:
    """A job under a lease of this process until ``claimed_until_ms``. ``attempts`` includes the
    current one."""

    job_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    claimed_until_ms: int

    @property
    def is_late(self) -> bool:
        """Whether the job may have been written long ago: only the first attempt is immediate."""
        return self.attempts > 1
