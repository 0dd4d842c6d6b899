"""Accounts that wait for approval, and what administrators have decided.

``users.approved`` alone tells who waits; a row of ours has what is known of the request, and the
decision. It is missing for accounts that were adopted, or that an older version has made.
"""

from __future__ import annotations

import json
from typing import Optional, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.model import NewAccount, UserID
from regsys.model.approvals import (
    MOST_COUNTED,
    Decided,
    Decision,
    Place,
    Queue,
    WaitingAccount,
)
from regsys.model.audit import AuditEntry
from regsys.model.jobs import NewJob
from regsys.storage import approval_decisions, ended_logins, jobs
from regsys.storage.approval_decisions import NewDecision
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction

# Sends a mail about who waits.
WAITING_MAIL = "approvals_waiting_mail"
DAY_MS = 24 * 3600 * 1000


def record(txn: Transaction, new: NewAccount) -> None:
    """Keep what is known of the request for an account that waits; an approved one has none."""
    request = new.approval_request
    if request is None:
        return
    txn.insert(
        "approvals",
        user_id=str(new.user_id),
        reason=request.reason,
        address=request.address,
        languages=json.dumps(request.languages),
        requested_ms=new.created_ms,
    )


@implementer(IAccountData, IExpiring)
@attr.frozen
class ApprovalStore:
    """``ended``, ``logged_out``: who is told of devices that a refusal removes, as in DeviceStore.
    ``kept_ms``: how long a decision is kept."""

    db: Database
    ended: Optional[ended_logins.EndedLogins] = None
    logged_out: ended_logins.LoggedOut = ended_logins.nobody_told
    kept_ms: int = 30 * DAY_MS

    async def waiting(self, at_most: int, after: Optional[Place]) -> Sequence[WaitingAccount]:
        """Up to ``at_most`` accounts that wait, the oldest first, that follow this place; from the
        beginning if it is None."""
        return await self.db.transaction("accounts_waiting", _waiting, at_most, after)

    async def queue(self) -> Queue:
        return await self.db.autocommit("approval_queue", _queue)

    async def decided(self, user_id: UserID) -> Optional[Decided]:
        """What was decided about this account; None if nothing is known."""
        return await self.db.autocommit("approval_decision", approval_decisions.decided, user_id)

    async def decide(self, new: NewDecision) -> tuple[Decided, Sequence[NewJob]]:
        """Decide about an account that waits. The first of several decisions wins; the others get
        that one. A refused account is deactivated in the same transaction.

        Also returns the jobs that were written, with a lease of this process. Raises UserNotFound,
        and UserDeactivated for an account that has ended in another way.
        """
        decided, written, removed = await self.db.transaction(
            "decide_approval", approval_decisions.decide, new, self.ended
        )
        if removed is not None:
            await ended_logins.tell(removed, self.ended, self.logged_out)
        return decided, written

    async def withdraw(self, user_id: UserID, entries: Sequence[AuditEntry]) -> bool:
        """Have an account wait that was approved, or never waited, as if nothing had been decided;
        False if it waits already. Raises UserNotFound, UserDeactivated, InvalidParam for a guest.
        """
        return await self.db.transaction(
            "withdraw_approval", approval_decisions.withdraw, user_id, entries
        )

    async def plan_notices(
        self, addresses: Sequence[str], interval_ms: int, now_ms: int
    ) -> Sequence[NewJob]:
        """Write the mails that tell administrators of accounts of which they have not been told,
        with a lease of this process; none within ``interval_ms`` after the last. Of several
        processes one writes them."""
        return await self.db.transaction(
            "plan_approval_notices", _plan_notices, addresses, interval_ms, now_ms
        )

    async def forget(self, user_id: UserID) -> None:
        """Delete what is known of this account, also after a refusal."""
        await self.db.autocommit("forget_approval", _forget, user_id)

    async def delete_for(self, user_id: UserID) -> None:
        # A refusal is kept for a while: it is the reason of this deactivation.
        await self.db.autocommit("end_approval", _forget, user_id, Decision.REFUSED)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction(
            "expire_approvals", _delete_expired, now_ms - self.kept_ms, at_most
        )


_IS_WAITING = "NOT u.approved AND NOT u.deactivated"


def _waiting(txn: Transaction, at_most: int, after: Optional[Place]) -> Sequence[WaitingAccount]:
    rows = txn.all(
        "SELECT u.user_id, u.created_ms, COALESCE(a.requested_ms, u.upgraded_ms, u.created_ms),"
        " p.display_name, a.reason, a.address FROM users u"
        " LEFT JOIN approvals a ON a.user_id = u.user_id"
        " LEFT JOIN profiles p ON p.user_id = u.user_id"
        f" WHERE {_IS_WAITING} AND (u.created_ms, u.user_id) > (?, ?)"
        " ORDER BY u.created_ms, u.user_id LIMIT ?",
        (*((-1, "") if after is None else after), at_most),
    )
    held = approval_decisions.addresses(txn, [row[0] for row in rows])
    return [
        WaitingAccount(
            user_id=UserID.parse(row[0]),
            created_ms=row[1],
            requested_ms=row[2],
            display_name=row[3],
            reason=row[4],
            address=row[5],
            emails=tuple(it for user, medium, it in held if (user, medium) == (row[0], "email")),
            phones=tuple(it for user, medium, it in held if (user, medium) == (row[0], "msisdn")),
        )
        for row in rows
    ]


def _queue(txn: Transaction) -> Queue:
    row = txn.one(
        "SELECT COUNT(*), MIN(requested_ms) FROM (SELECT"
        " COALESCE(a.requested_ms, u.upgraded_ms, u.created_ms) AS requested_ms FROM users u"
        " LEFT JOIN approvals a ON a.user_id = u.user_id"
        f" WHERE {_IS_WAITING} ORDER BY u.created_ms, u.user_id LIMIT ?) AS first",
        (MOST_COUNTED,),
    )
    assert row is not None
    return Queue(count=row[0], oldest_ms=row[1])


def _plan_notices(
    txn: Transaction, addresses: Sequence[str], interval_ms: int, now_ms: int
) -> Sequence[NewJob]:
    # A time in the future was written by a wrong clock.
    last = "SELECT 1 FROM approvals WHERE told_ms > ? AND told_ms <= ? LIMIT 1"
    if txn.one(last, (now_ms - interval_ms, now_ms)) is not None:
        return ()
    untold = (
        "told_ms IS NULL AND decided_ms IS NULL AND user_id IN"
        f" (SELECT u.user_id FROM users u WHERE u.user_id = approvals.user_id AND {_IS_WAITING})"
    )
    if txn.one(f"SELECT 1 FROM approvals WHERE {untold} LIMIT 1") is None:
        return ()
    # Of several processes that have come this far the first to insert the key writes the mails.
    key = f"{WAITING_MAIL} {now_ms // interval_ms}"
    written = jobs.insert_held(
        txn,
        [
            NewJob(kind=WAITING_MAIL, payload={"address": it}, dedup_key=f"{key} {it}")
            for it in addresses
        ],
        now_ms,
    )
    if written:
        txn.run(f"UPDATE approvals SET told_ms = ? WHERE {untold}", (now_ms,))
    return written


def _forget(txn: Transaction, user_id: UserID, but: Optional[Decision] = None) -> None:
    kept = "none" if but is None else but.value
    txn.run(
        "DELETE FROM approvals WHERE user_id = ? AND COALESCE(decision, '') <> ?",
        (str(user_id), kept),
    )


def _delete_expired(txn: Transaction, before_ms: int, at_most: int) -> int:
    return delete_some(txn, "approvals", "user_id", "decided_ms < ?", (before_ms,), at_most)
