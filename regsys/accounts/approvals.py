"""The queue of accounts that wait for an administrator's approval (contract B2.8)."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.accounts.deactivation import OwnDeactivation
from regsys.accounts.newcomers import Newcomers
from regsys.audit.audit_log import AuditLog
from regsys.errors import AlreadyDecided, InvalidParam, UserNotFound
from regsys.model import User, UserID
from regsys.model.approvals import (
    MAX_REASON,
    Decided,
    Decision,
    Queue,
    WaitingAccount,
    plain_text,
)
from regsys.model.jobs import NewJob
from regsys.storage.approval_decisions import NewDecision
from regsys.storage.approvals import ApprovalStore

# What the audit log calls the decisions. There "refused" is a registration that was not let in.
ACTS = {Decision.APPROVED: "approved", Decision.REFUSED: "rejected"}
# Accounts of one page.
MOST, DEFAULT = 1000, 100

log = Logger()


@attr.frozen
class WaitingPage:
    """Accounts that wait, the oldest first. ``next_token`` is the ``from_`` of the next page; None
    if this is the last one."""

    accounts: Sequence[WaitingAccount]
    next_token: Optional[str]


@attr.frozen(kw_only=True)
class Approvals:
    """For accounts in our own tables. ``by`` is the administrator's user ID, or CLI.

    ``find`` looks an account up by its localpart. ``mails``: people are told by mail what was
    decided, if they have validated an address. ``newcomers``: who may be suspended; None if nobody.
    """

    store: ApprovalStore
    find: Callable[[str], Awaitable[Optional[User]]]
    deactivation: OwnDeactivation
    newcomers: Optional[Newcomers]
    audit: AuditLog
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime
    mails: bool

    async def waiting(self, limit: int = DEFAULT, from_: Optional[str] = None) -> WaitingPage:
        """Up to ``limit`` accounts that wait. ``from_``: the ``next_token`` of the page before;
        None for the first. InvalidParam if it is none."""
        found = await self.store.waiting(limit + 1, None if from_ is None else _place(from_))
        accounts, token = found[:limit], None
        if len(found) > limit:
            created_ms, user_id = accounts[-1].place
            token = f"{created_ms}_{user_id}"
        return WaitingPage(accounts, token)

    async def queue(self) -> Queue:
        """How many wait, and since when."""
        return await self.store.queue()

    async def decided(self, user_id: UserID) -> Optional[Decided]:
        """What was decided about this account; None if nothing is known."""
        return await self.store.decided(user_id)

    async def approve(self, user_id: UserID, by: str) -> Decided:
        """Let the account log in, and tell its person. A suspended newcomer is released.

        Idempotent: an account that was approved before stays so, and ``is_new`` is False. Raises
        UserNotFound, AlreadyDecided if it was refused, UserDeactivated if it has ended otherwise.
        """
        decided = await self._decide(user_id, by, Decision.APPROVED, None)
        if self.newcomers is not None and await self.newcomers.release(decided.user_id, by):
            return attr.evolve(decided, released=True)
        return decided

    async def withdraw(self, user_id: UserID, by: str) -> bool:
        """Have an account wait that need not, as if nothing had been decided; False if it waits
        already. Raises UserNotFound, UserDeactivated, and InvalidParam for a guest."""
        entries = self.audit.entries(by=by, what="approval-withdrawn", user_id=user_id)
        if not await self.store.withdraw(user_id, entries):
            return False
        log.info("{by} has {user_id} wait for approval", by=by, user_id=str(user_id))
        return True

    async def refuse(self, user_id: UserID, reason: Optional[str], by: str) -> Decided:
        """Deactivate the account, and tell its person why. Its addresses are free again at once,
        its name stays taken.

        ``reason``: what the person is told; None or empty if nothing. Idempotent. Raises as
        ``approve``, AlreadyDecided if the account was approved or never waited, and InvalidParam
        for a reason that is too long or contains control characters.
        """
        text = plain_text(reason or "")
        if text is None or len(text) > MAX_REASON:
            raise InvalidParam(
                f"The reason must have at most {MAX_REASON} characters, and no control characters."
            )
        return await self._decide(user_id, by, Decision.REFUSED, text or None)

    async def _decide(
        self, user_id: UserID, by: str, decision: Decision, reason: Optional[str]
    ) -> Decided:
        user = await self.find(user_id.localpart)
        if user is None or user.user_id.server != user_id.server:
            raise UserNotFound()
        finish = self.deactivation.finishing(user.user_id)
        new = NewDecision(
            user_id=user.user_id,
            decision=decision,
            by=by,
            decided_ms=clock.now_ms(self.clock),
            reason=reason,
            finish=finish if decision is Decision.REFUSED else None,
            mails=self.mails,
            entries=self.audit.entries(by=by, what=ACTS[decision], user_id=user.user_id),
        )
        decided, jobs = await self.store.decide(new)
        if jobs:
            self.start_jobs(jobs)
        if decided.decision is not decision:
            raise AlreadyDecided(decided)
        if decided.is_new:
            log.info(
                "{decision} the account {user_id} (by {by})",
                decision=decision.value,
                user_id=str(user.user_id),
                by=by,
            )
            if decision is Decision.REFUSED:
                await self.deactivation.finish(finish)
        return decided


def _place(token: str) -> tuple[int, str]:
    created, _, user_id = token.partition("_")
    if created.isascii() and created.isdigit() and len(created) <= 15 and user_id:
        return int(created), user_id
    raise InvalidParam("'from' must be the 'next_token' of an earlier answer.")
