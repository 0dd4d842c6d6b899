"""Registrations that are not finished: what each waits for, and what an operator may do about it
(``regsys signups``)."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.audit.audit_log import AuditLog
from regsys.errors import RegistrationError, ThreepidInUse
from regsys.model import MailPurpose
from regsys.model.administration import CLI
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.identity import masked
from regsys.model.signups import HalfFinished, SentMessage
from regsys.model.threepids import CODE_TRIES
from regsys.storage.jobs import JobStore
from regsys.storage.signups import SignupStore
from regsys.storage.validation_messages import ValidationMessages
from regsys.threepids.validation import Validations, message_job
from regsys.uia.sessions import Flow
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE

# The shortest time between two messages of a validation session that an operator has sent.
BETWEEN_MS = 60_000
STAGES = {EMAIL: EMAIL_IDENTITY, MSISDN: MSISDN_STAGE}
MEDIA = {stage: medium for medium, stage in STAGES.items()}

log = Logger()


@attr.frozen(kw_only=True)
class SignupDesk:
    """``flows``: those of registration. What an operator does is logged, also in the audit log,
    with the short id. Refusals are RegistrationErrors whose text is for the operator."""

    store: SignupStore
    messages: ValidationMessages
    validations: Validations
    jobs: JobStore
    flows: Sequence[Flow]
    audit: AuditLog
    clock: IReactorTime

    def now_ms(self) -> int:
        return clock.now_ms(self.clock)

    def next_stage(self, found: HalfFinished) -> Optional[str]:
        """The stage that comes next, in the flow of which most is done; None if a flow is done, and
        it is up to the client to complete the registration."""
        if found.session is None:
            return STAGES[found.messages[0].medium]
        passed = found.session.passed.keys()
        # A step that was tried, or for which a message is out, shows the way that was chosen.
        chosen = {*passed, *found.session.failures, *(STAGES[m.medium] for m in found.messages)}
        flow = max(
            self.flows, key=lambda flow: (passed >= set(flow), len(chosen & set(flow)), -len(flow))
        )
        return next((stage for stage in flow if stage not in passed), None)

    async def find(self, name: str) -> HalfFinished:
        """The one of this id, or whose id begins so."""
        if len(name) >= 4:
            pages = self.store.pages(self.now_ms())
            found = [item async for page in pages for item in page if item.id.startswith(name)]
            if len(found) == 1:
                return found[0]
            if found:
                raise RegistrationError(f"the ids of several begin with {name}: write more of it")
        raise RegistrationError(
            f"there is no unfinished registration {name}: it is finished or ended, or has expired"
        )

    def message(self, found: HalfFinished, medium: Optional[str]) -> SentMessage:
        """The message that is meant: the latest of this medium, or the only one."""
        media = {message.medium for message in found.messages}
        if medium is None and len(media) > 1:
            raise RegistrationError("it has a mail and a text message: say --email or --phone")
        message = found.message_of(medium or next(iter(media), ""))
        if message is None:
            raise RegistrationError(
                "no message of it is known: none was asked for, or its app has not shown it yet;"
                " then it is in the list by itself"
            )
        if message.validated_ms is not None:
            raise RegistrationError(f"{message.address} is confirmed already")
        return message

    async def resend(
        self, found: HalfFinished, medium: Optional[str], languages: Sequence[str]
    ) -> SentMessage:
        """Have the message sent again, by a running service, with the same link and code. It counts
        against the limits of messages."""
        message, now_ms = self.message(found, medium), self.now_ms()
        if message.delivery is not None and message.delivery.error is not None:
            await self.jobs.retry(message.delivery.job_id, now_ms)
        elif message.delivery is not None or now_ms - message.asked_ms < BETWEEN_MS:
            raise RegistrationError("its last message is less than a minute old, or under way")
        else:
            await self._send_again(message, languages, now_ms)
        log.info(
            "a message to {to} of the unfinished registration {id} is sent again by the operator",
            to=masked(message.address),
            id=found.id,
        )
        await self._tell("signup-message-sent", found)
        return message

    async def _send_again(
        self, message: SentMessage, languages: Sequence[str], now_ms: int
    ) -> None:
        medium, address = message.medium, message.address
        if medium == MSISDN and message.tries >= CODE_TRIES:
            raise RegistrationError(
                "its code was tried too often, and is not valid any more: confirm the number by"
                " hand, or let the person ask for another code"
            )
        config, purpose = self.validations.config, MailPurpose.REGISTRATION
        if await self.validations.newcomers.is_taken(medium, address):
            if not config.hide_taken:
                raise ThreepidInUse(f"an account has {address} already")
            purpose = MailPurpose.IN_USE
        await self.validations.limits.take_message(medium, address)
        job = message_job(medium, message.send_attempt, purpose, languages, sid=message.sid)
        until_ms = now_ms + config.token_lifetime_ms
        if not await self.messages.send_again(message.sid, job, now_ms, until_ms):
            raise RegistrationError(f"{address} was confirmed just now, or its message has expired")

    async def confirm(self, found: HalfFinished, medium: Optional[str]) -> SentMessage:
        """Take the operator's word for it that the address is the person's: its validation session
        counts as validated."""
        message = self.message(found, medium)
        if not await self.validations.store.confirm(message.sid, self.now_ms()):
            raise RegistrationError("its message has expired: let the person ask for another one")
        log.info(
            "{to} of the unfinished registration {id} is confirmed by the operator",
            to=masked(message.address),
            id=found.id,
        )
        await self._tell("signup-confirmed", found)
        return message

    async def end(self, found: HalfFinished) -> None:
        """Delete the session, with what it has reserved and validated."""
        if not await self.store.end(found):
            raise RegistrationError("its account is made already, or is just being made")
        log.info("the unfinished registration {id} is ended by the operator", id=found.id)
        await self._tell("signup-ended", found)

    async def _tell(self, what: str, found: HalfFinished) -> None:
        await self.audit.changed(by=CLI, what=what, details={"id": found.id})
