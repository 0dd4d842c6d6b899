"""The mails about approval: to administrators that accounts wait, to people what was decided."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.config import ApprovalConfig
from regsys.errors import MailRefused, RegistrationError
from regsys.model import NewAccount
from regsys.model.approvals import Queue
from regsys.model.identity import masked
from regsys.model.jobs import Job, NewJob
from regsys.model.threepids import Mail
from regsys.storage.approvals import ApprovalStore
from regsys.threepids.validation_mail import APPROVED, REFUSED, WAITING, Deliver, Mails

log = Logger()


@attr.frozen(kw_only=True)
class ApprovalWatch:
    """Looks at the queue whenever an account begins to wait, and once a minute (Housekeeping):
    has the administrators told, and the metrics brought up to date by ``report``, which gets the
    time, too."""

    store: ApprovalStore
    config: ApprovalConfig
    start_jobs: Callable[[Sequence[NewJob]], None]
    report: Callable[[Queue, int], None]
    clock: IReactorTime

    async def look(self) -> None:
        now_ms = clock.now_ms(self.clock)
        self.report(await self.store.queue(), now_ms)
        if not self.config.notify:
            return
        interval_ms = self.config.notify_interval_ms
        jobs = await self.store.plan_notices(self.config.notify, interval_ms, now_ms)
        if jobs:
            self.start_jobs(jobs)

    def created(self, new: NewAccount) -> None:
        """An OnCreated. No request waits for this; what it leaves undone the next minute does."""
        if new.approval_request is not None:
            looking = Deferred.fromCoroutine(self._look_now())
            looking.addErrback(lambda failure: log.failure("looking who waits", failure))

    async def _look_now(self) -> None:
        try:
            await self.look()
        except RegistrationError as error:
            log.warn("the queue of approvals could not be looked at: {e}", e=error.text)


@attr.frozen(kw_only=True)
class ApprovalMailer:
    """Runs the jobs that send the mails. ``page``: the address of the administrators' page."""

    mails: Mails
    deliver: Deliver
    queue: Callable[[], Awaitable[Queue]]
    language: Optional[str]
    page: str

    async def tell_decision(self, job: Job) -> None:
        """The handler of DECISION_MAIL jobs."""
        payload = job.payload
        mail = self.mails.compose_about(
            APPROVED if payload["decision"] == "approved" else REFUSED,
            payload["address"],
            payload["languages"],
            message_id=job.job_id,
            user_id=payload["user_id"],
            reason=payload["reason"] or "",
        )
        await self._send(mail)

    async def tell_administrator(self, job: Job) -> None:
        """The handler of WAITING_MAIL jobs. It does nothing if nobody waits any more."""
        count = (await self.queue()).count
        if not count:
            return
        mail = self.mails.compose_about(
            WAITING,
            job.payload["address"],
            () if self.language is None else (self.language.lower(),),
            message_id=job.job_id,
            link=self.page,
            count=count,
        )
        await self._send(mail)

    async def _send(self, mail: Mail) -> None:
        try:
            await self.deliver(mail)
        except MailRefused as refusal:
            log.warn(
                "mail {message_id} for {to} is given up: {reason}",
                message_id=mail.message_id,
                to=masked(mail.to),
                reason=refusal.text,
            )
