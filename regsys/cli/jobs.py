"""``regsys jobs list | retry``: each returns what to print."""

from __future__ import annotations

from argparse import Namespace
from typing import Awaitable, Callable, Mapping

from regsys.audit.audit_log import AuditLog
from regsys.cli.tables import json_text, printable
from regsys.cli.times import utc
from regsys.errors import JobNotFound
from regsys.model.administration import CLI
from regsys.model.jobs import WaitingJob
from regsys.storage.jobs import JobStore
from regsys.web.jobs import job_json


async def _list(jobs: JobStore, arguments: Namespace, now_ms: int, audit: AuditLog) -> str:
    found = await jobs.waiting(arguments.most)
    if arguments.json:
        return json_text([job_json(job) for job in found])
    lines = [_line(job, now_ms) for job in found]
    if len(found) == arguments.most:
        lines.append(f"These are the oldest {arguments.most}; --most N shows more.")
    return "\n".join(lines) or "There are no jobs: everything is done."


async def _retry(jobs: JobStore, arguments: Namespace, now_ms: int, audit: AuditLog) -> str:
    count = await jobs.retry(None if arguments.all else arguments.job_id, now_ms)
    if not (count or arguments.all):
        raise JobNotFound()
    if not count:
        return "Nothing to retry: no failed job is waiting for a later attempt."
    details = {"count": count} if arguments.all else {"job_id": arguments.job_id}
    await audit.changed(by=CLI, what="jobs-retried", details=details)
    return f"{count} to be tried again, within seconds, by regsys serve."


ACTIONS: Mapping[str, Callable[[JobStore, Namespace, int, AuditLog], Awaitable[str]]] = {
    "list": _list,
    "retry": _retry,
}


# A running process looks for due jobs every few seconds.
_OVERDUE_MS = 60_000


def _line(job: WaitingJob, now_ms: int) -> str:
    about = " ".join(job.about.values())
    if job.last_error is None:
        state = f"waiting since {utc(job.created_ms)}"
    else:
        state = f"failed, attempt {job.attempts}, again {utc(job.due_ms)}"
    if job.due_ms + _OVERDUE_MS < now_ms:
        state += " (no running process takes this kind)"
    parts = filter(None, [job.job_id, job.kind, about, state, job.last_error])
    # Another server may have written the error.
    return printable("  ".join(parts))
