"""Newcomers whom we have suspended at the homeserver whose auth service this is."""

from __future__ import annotations

from typing import Sequence

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IAccountData
from regsys.model import NewAccount, UserID
from regsys.model.audit import AuditEntry
from regsys.model.jobs import NewJob
from regsys.model.newcomers import SuspendedNewcomer
from regsys.storage import audit, jobs
from regsys.storage.database import Database, Transaction

RELEASE_NEWCOMER = "release_newcomer"
# One for each newcomer, however often somebody asks for it.
_JOB_ID = "release-newcomer-"


def release_job(user_id: UserID) -> NewJob:
    """The job that lets this newcomer speak."""
    return NewJob(
        kind=RELEASE_NEWCOMER,
        payload={"user_id": str(user_id)},
        job_id=f"{_JOB_ID}{user_id}",
    )


def add(txn: Transaction, new: NewAccount) -> None:
    """The account is suspended, if it is to be."""
    if new.suspended:
        txn.insert("newcomers", user_id=str(new.user_id), suspended_ms=new.created_ms)


@implementer(IAccountData)
@attr.frozen
class NewcomerStore:
    db: Database

    async def is_suspended(self, user_id: UserID) -> bool:
        """Whether we have suspended this user, and not released them."""
        return await self.db.autocommit("is_suspended", _is_suspended, user_id)

    async def suspended(self, at_most: int) -> Sequence[SuspendedNewcomer]:
        """The suspended newcomers, the oldest first."""
        return await self.db.autocommit("suspended_newcomers", _suspended, at_most)

    async def begin_release(
        self, user_id: UserID, now_ms: int, entries: Sequence[AuditEntry] = ()
    ) -> Sequence[NewJob]:
        """Write the job that releases the user, under a lease of this process, and these entries of
        the audit log; nothing if they are not suspended by us."""
        return await self.db.transaction("begin_release", _begin_release, user_id, now_ms, entries)

    async def release_older(self, before_ms: int, at_most: int, now_ms: int) -> int:
        """Write the jobs, due now, that release those who were suspended before; returns how many
        were written. Those who have one are left out."""
        return await self.db.transaction(
            "release_newcomers", _release_older, before_ms, at_most, now_ms
        )

    async def released(
        self, user_id: UserID, held: Sequence[NewJob], now_ms: int
    ) -> Sequence[NewJob]:
        """The user may speak: forget that they are suspended, and write these jobs, under a lease
        of this process. Returns them; none if somebody has done this before."""
        return await self.db.transaction("released_newcomer", _released, user_id, held, now_ms)

    async def delete_for(self, user_id: UserID) -> None:
        await self.released(user_id, (), 0)


def _is_suspended(txn: Transaction, user_id: UserID) -> bool:
    return txn.one("SELECT 1 FROM newcomers WHERE user_id = ?", (str(user_id),)) is not None


def _suspended(txn: Transaction, at_most: int) -> Sequence[SuspendedNewcomer]:
    rows = txn.all(
        "SELECT user_id, suspended_ms FROM newcomers ORDER BY suspended_ms, user_id LIMIT ?",
        (at_most,),
    )
    return [SuspendedNewcomer(UserID.parse(row[0]), row[1]) for row in rows]


def _begin_release(
    txn: Transaction, user_id: UserID, now_ms: int, entries: Sequence[AuditEntry]
) -> Sequence[NewJob]:
    if not _is_suspended(txn, user_id):
        return ()
    audit.record(txn, entries)
    return jobs.insert_held(txn, (release_job(user_id),), now_ms)


def _release_older(txn: Transaction, before_ms: int, at_most: int, now_ms: int) -> int:
    rows = txn.all(
        "SELECT user_id FROM newcomers WHERE suspended_ms <= ? AND NOT EXISTS"
        " (SELECT 1 FROM jobs WHERE job_id = ? || newcomers.user_id)"
        " ORDER BY suspended_ms LIMIT ?",
        (before_ms, _JOB_ID, at_most),
    )
    # Due at once, and with no lease: many at a time would use theirs up before their turn.
    jobs.insert_due(txn, [release_job(UserID.parse(row[0])) for row in rows], now_ms)
    return len(rows)


def _released(
    txn: Transaction, user_id: UserID, held: Sequence[NewJob], now_ms: int
) -> Sequence[NewJob]:
    if not txn.run("DELETE FROM newcomers WHERE user_id = ?", (str(user_id),)):
        return ()
    return jobs.insert_held(txn, held, now_ms)
