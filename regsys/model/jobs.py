"""Work that follows a commit."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr


@attr.frozen(kw_only=True)
class NewJob:
    """Work that must follow a commit, at once. ``payload`` is JSON.

    Jobs with the same deduplication key are written together, and the first time only, however
    long ago that was: what they do must not happen to an account a second time. None: always.
    """

    kind: str
    payload: Mapping[str, Any] = attr.field(factory=dict)
    job_id: str = attr.field(factory=lambda: secrets.token_hex(12))
    dedup_key: Optional[str] = None


# What may be shown of a payload: the rest may hold what is not for everybody's eyes.
_SHOWN = ("user_id", "room")


@attr.frozen(kw_only=True)
class WaitingJob:
    """A job as it stands in the store, for the operator. ``due_ms``: when it may be taken next;
    while it is under way, when that would be if its process died. If ``last_error`` is None, it has
    not failed yet."""

    job_id: str
    kind: str
    payload: Mapping[str, Any] = attr.field(repr=False)
    attempts: int
    due_ms: int
    created_ms: int
    last_error: Optional[str]

    @property
    def about(self) -> Mapping[str, str]:
        """Whom and what it is about, by ``user_id`` and ``room``, as far as it has these."""
        return {name: self.payload[name] for name in _SHOWN if self.payload.get(name)}


@attr.frozen(kw_only=True)
class Backlog:
    """How many jobs of a kind are waiting or under way, and since when the oldest is. Of very
    many only the first MOST_COUNTED are looked at."""

    kind: str
    count: int
    oldest_ms: int


MOST_COUNTED = 1000

# How long a process may sit on a job before others take it over.
JOB_LEASE_MS = 60_000
# The longest that a job is put off between two attempts.
JOB_LONGEST_WAIT_MS = 3600 * 1000


@attr.frozen(kw_only=True)
class Job:
    """A job whose lease is ours until ``claimed_until_ms``. ``attempts`` counts this one."""

    job_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    claimed_until_ms: int

    @property
    def is_late(self) -> bool:
        """Whether it may be long since it was written: the first attempt follows at once."""
        return self.attempts > 1
