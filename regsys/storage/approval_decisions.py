"""What is decided about an account that waits for approval, in one transaction."""

from __future__ import annotations

import json
from typing import Any, Optional, Sequence

import attr

from regsys.errors import InvalidParam, UserDeactivated, UserNotFound
from regsys.model import UserID
from regsys.model.approvals import Decided, Decision
from regsys.model.audit import AuditEntry
from regsys.model.jobs import NewJob
from regsys.storage import audit, deactivation, ended_logins, jobs
from regsys.storage.database import Row, Transaction

# Sends a mail about a decision.
DECISION_MAIL = "approval_decision_mail"


@attr.frozen(kw_only=True)
class NewDecision:
    """What ``by``, a user ID or "cli", decides about ``user_id``. ``reason``: why it is refused;
    None if that is not said. ``finish``: the job that finishes the deactivation of a refused
    account. ``mails``: the person is told by mail. ``entries`` of the audit log are written, too.
    """

    user_id: UserID
    decision: Decision
    by: str
    decided_ms: int
    reason: Optional[str] = attr.field(default=None, repr=False)
    finish: Optional[NewJob] = None
    mails: bool = False
    entries: Sequence[AuditEntry] = ()


def decided(txn: Transaction, user_id: UserID) -> Optional[Decided]:
    """What was decided about this account; None if nothing is known."""
    row = txn.one(
        "SELECT decision, decided_by, decided_ms, refusal_reason FROM approvals"
        " WHERE user_id = ? AND decided_ms IS NOT NULL",
        (str(user_id),),
    )
    if row is None:
        return None
    return Decided(
        user_id=user_id,
        decision=Decision(row[0]),
        by=row[1],
        decided_ms=row[2],
        reason=row[3],
    )


def decide(
    txn: Transaction, new: NewDecision, ended: Optional[ended_logins.EndedLogins]
) -> tuple[Decided, Sequence[NewJob], Optional[ended_logins.Removed]]:
    """As ApprovalStore.decide, with the devices that a refusal removes."""
    # The lock decides which of several administrators is the first.
    row = txn.one(
        "SELECT approved, deactivated, created_ms FROM users WHERE user_id = ?"
        + txn.dialect.for_update,
        (str(new.user_id),),
    )
    if row is None:
        raise UserNotFound()
    if row[0] or row[1]:
        earlier = _earlier(txn, new.user_id, deactivated=row[1])
        # The very same one was written by an earlier try of this call, whose reply was lost.
        is_ours = (earlier.by, earlier.decided_ms) == (new.by, new.decided_ms)
        is_ours = is_ours and earlier.decision is new.decision
        return attr.evolve(earlier, is_new=is_ours), (), None
    mails = _mails(txn, new) if new.mails else ()
    _keep(txn, new, row[2])
    written = jobs.insert_held(txn, mails, new.decided_ms)
    removed = None
    if new.decision is Decision.APPROVED:
        txn.run("UPDATE users SET approved = TRUE WHERE user_id = ?", (str(new.user_id),))
    else:
        after = () if new.finish is None else (new.finish,)
        removed = deactivation.deactivate(txn, new.user_id, False, after, new.decided_ms, ended)
    audit.record(txn, new.entries)
    made = Decided(
        user_id=new.user_id,
        decision=new.decision,
        by=new.by,
        decided_ms=new.decided_ms,
        reason=new.reason,
        is_new=True,
    )
    return made, written, removed


def withdraw(txn: Transaction, user_id: UserID, entries: Sequence[AuditEntry]) -> bool:
    """As ApprovalStore.withdraw."""
    row = txn.one(
        "SELECT approved, deactivated, is_guest FROM users WHERE user_id = ?"
        + txn.dialect.for_update,
        (str(user_id),),
    )
    if row is None:
        raise UserNotFound()
    if not row[0]:
        return False
    if row[1]:
        raise UserDeactivated()
    if row[2]:
        raise InvalidParam("This account is a guest's, which needs no approval.")
    txn.run("UPDATE users SET approved = FALSE WHERE user_id = ?", (str(user_id),))
    txn.run(
        "UPDATE approvals SET decision = NULL, decided_ms = NULL, decided_by = NULL,"
        " refusal_reason = NULL WHERE user_id = ?",
        (str(user_id),),
    )
    audit.record(txn, entries)
    return True


def _earlier(txn: Transaction, user_id: UserID, deactivated: bool) -> Decided:
    """What was decided before about an account that does not wait."""
    found = decided(txn, user_id)
    state = Decision.REFUSED if deactivated else Decision.APPROVED
    if found is not None and found.decision is state:
        return found
    if deactivated:
        raise UserDeactivated()
    return Decided(user_id=user_id, decision=state)


def _keep(txn: Transaction, new: NewDecision, created_ms: int) -> None:
    txn.run(
        "INSERT INTO approvals (user_id, languages, requested_ms, decision, decided_ms, decided_by,"
        " refusal_reason) VALUES (?, '[]', ?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET"
        " decision = excluded.decision, decided_ms = excluded.decided_ms,"
        " decided_by = excluded.decided_by, refusal_reason = excluded.refusal_reason",
        (
            str(new.user_id),
            created_ms,
            new.decision.value,
            new.decided_ms,
            new.by,
            new.reason,
        ),
    )


def _mails(txn: Transaction, new: NewDecision) -> Sequence[NewJob]:
    """One for each email address that the account has now: a refusal frees them."""
    row = txn.one("SELECT languages FROM approvals WHERE user_id = ?", (str(new.user_id),))
    about: dict[str, Any] = {
        "user_id": str(new.user_id),
        "decision": new.decision.value,
        "reason": new.reason,
        "languages": [] if row is None else json.loads(row[0]),
    }
    return [
        NewJob(kind=DECISION_MAIL, payload={**about, "address": address})
        for _, medium, address in addresses(txn, [str(new.user_id)])
        if medium == "email"
    ]


def addresses(txn: Transaction, user_ids: Sequence[str]) -> Sequence[Row]:
    """The user ID, medium and address of all that these accounts have, the oldest first."""
    if not user_ids:
        return ()
    marks = ", ".join("?" for _ in user_ids)
    return txn.all(
        f"SELECT user_id, medium, address FROM threepids WHERE user_id IN ({marks})"
        " ORDER BY added_ms, address",
        user_ids,
    )
