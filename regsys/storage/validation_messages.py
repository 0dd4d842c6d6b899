"""The messages of validation sessions: that one was given up, and that one is to go out again."""

from __future__ import annotations

import attr

from regsys.model.jobs import NewJob
from regsys.storage import jobs
from regsys.storage.database import Database, Transaction

# Characters of a reason.
_MOST = 500


@attr.frozen
class ValidationMessages:
    db: Database

    async def given_up(self, sid: str, reason: str) -> None:
        """Remember why the session's last message can never be delivered, for the operator."""
        text = jobs.storable(reason)[:_MOST]
        await self.db.autocommit("message_given_up", _given_up, sid, text)

    async def send_again(self, sid: str, job: NewJob, now_ms: int, until_ms: int) -> bool:
        """Store a job that sends the session's last message again, for whichever process runs such
        jobs, and let its token be valid until ``until_ms``. False if the session is validated, or
        gone."""
        return await self.db.transaction("send_again", _send_again, sid, job, now_ms, until_ms)


def _given_up(txn: Transaction, sid: str, reason: str) -> None:
    txn.run("UPDATE validations SET refusal = ? WHERE sid = ?", (reason, sid))


def _send_again(txn: Transaction, sid: str, job: NewJob, now_ms: int, until_ms: int) -> bool:
    changed = txn.run(
        "UPDATE validations SET expires_ms = ?, refusal = NULL"
        " WHERE sid = ? AND validated_ms IS NULL AND expires_ms > ?",
        (until_ms, sid, now_ms),
    )
    if not changed:
        return False
    txn.run(
        "UPDATE validation_tokens SET made_ms = ? WHERE sid = ? AND send_attempt ="
        " (SELECT send_attempt FROM validations WHERE sid = ?)",
        (now_ms, sid, sid),
    )
    jobs.insert_due(txn, (job,), now_ms)
    return True
