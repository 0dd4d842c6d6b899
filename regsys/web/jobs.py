"""The waiting jobs, for administrators."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog
from regsys.clock import now_ms
from regsys.errors import InvalidParam, JobNotFound
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model.jobs import WaitingJob
from regsys.storage.jobs import JobStore
from regsys.web.login import administrator

PATH = "/_regsys/v1/jobs"
MOST = 1000
DEFAULT = 100


def endpoints(
    jobs: JobStore, auth: IAuth, clock: IReactorTime, audit: AuditLog = NO_AUDIT_LOG
) -> list[Endpoint]:
    async def get(call: Call) -> Reply:
        await administrator(call, auth)
        found = await jobs.waiting(_limit(call.query("limit")))
        counted = {
            item.kind: {"count": item.count, "oldest_ts": item.oldest_ms}
            for item in await jobs.backlog()
        }
        return Reply({"jobs": [job_json(job) for job in found], "waiting": counted})

    async def retry_all(call: Call) -> Reply:
        admin = await administrator(call, auth)
        count = await jobs.retry(None, now_ms(clock))
        if count:
            details = {"count": count}
            await audit.changed(by=str(admin.user_id), what="jobs-retried", details=details)
        return Reply({"retried": count})

    async def retry(call: Call) -> Reply:
        admin, job_id = await administrator(call, auth), call.path_args["job_id"]
        if not await jobs.retry(job_id, now_ms(clock)):
            raise JobNotFound()
        details = {"job_id": job_id}
        await audit.changed(by=str(admin.user_id), what="jobs-retried", details=details)
        return Reply({"retried": 1})

    return [
        Endpoint("jobs", (PATH,), {"GET": get}),
        Endpoint("jobs_retry", (f"{PATH}/retry",), {"POST": retry_all}),
        Endpoint("job_retry", (PATH + "/{job_id}/retry",), {"POST": retry}),
    ]


def job_json(job: WaitingJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        **job.about,
        "attempts": job.attempts,
        "next_try_ts": job.due_ms,
        "created_ts": job.created_ms,
        "last_error": job.last_error,
    }


def _limit(text: object) -> int:
    if text is None:
        return DEFAULT
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 4:
        limit = int(text)
        if 1 <= limit <= MOST:
            return limit
    raise InvalidParam(f"'limit' must be a number from 1 to {MOST}.")
