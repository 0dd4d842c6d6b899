"""Which user has accepted which version of which policy, and when. Rows are never deleted."""

from __future__ import annotations

from typing import Mapping, Sequence

import attr

from regsys.model import UserID
from regsys.model.accounts import Consent
from regsys.model.jobs import NewJob
from regsys.storage import jobs as job_rows
from regsys.storage.database import Database, Transaction


def record(txn: Transaction, user_id: UserID, accepted: Mapping[str, str], now_ms: int) -> None:
    """Write these versions, by policy, in one statement; no statement if there are none."""
    if not accepted:
        return
    rows = [(str(user_id), policy, version, now_ms) for policy, version in sorted(accepted.items())]
    txn.run(
        "INSERT INTO consents (user_id, policy, version, accepted_ms) VALUES "
        + ", ".join(["(?, ?, ?, ?)"] * len(rows))
        + " ON CONFLICT DO NOTHING",
        [value for row in rows for value in row],
    )


@attr.frozen
class ConsentStore:
    """The policies that users have accepted. Consents given at registration are written in the
    account's transaction."""

    db: Database

    async def record(
        self,
        user_id: UserID,
        accepted: Mapping[str, str],
        now_ms: int,
        jobs: Sequence[NewJob] = (),
    ) -> None:
        """Record that the user has accepted these versions, by the name of the policy. A version
        that was accepted before keeps the time of the first acceptance. The ``jobs`` are stored in
        the same transaction; this process holds their lease, and the caller starts them."""
        await self.db.transaction("record_consents", _record, user_id, accepted, now_ms, jobs)

    async def given_by(self, user_id: UserID) -> Sequence[Consent]:
        """All versions that this user has ever accepted, the oldest first."""
        return await self.db.autocommit("consents_of", given_by, user_id)


def _record(
    txn: Transaction,
    user_id: UserID,
    accepted: Mapping[str, str],
    now_ms: int,
    jobs: Sequence[NewJob],
) -> None:
    record(txn, user_id, accepted, now_ms)
    job_rows.insert_held(txn, jobs, now_ms)


def given_by(txn: Transaction, user_id: UserID) -> Sequence[Consent]:
    rows = txn.all(
        "SELECT policy, version, accepted_ms FROM consents WHERE user_id = ?"
        " ORDER BY accepted_ms, policy, version",
        (str(user_id),),
    )
    return [Consent(*row) for row in rows]
