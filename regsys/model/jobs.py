"""Work that follows a commit."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr


@attr.frozen(kw_only=True)
class NewJob:
    """Work that must follow a commit, at once. ``payload`` is JSON.

    Jobs that bear the same word in ``once`` are written together, and the first time only, however
    long ago that was: what they do must not happen to an account a second time. None: always.
    """

    kind: str
    payload: Mapping[str, Any] = attr.field(factory=dict)
    job_id: str = attr.field(factory=lambda: secrets.token_hex(12))
    once: Optional[str] = None


# How long a process may sit on a job before others take it over.
JOB_LEASE_MS = 60_000


@attr.frozen(kw_only=True)
class Job:
    """A job whose lease is ours until ``claimed_until_ms``. ``attempts`` counts this one."""

    job_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    claimed_until_ms: int
