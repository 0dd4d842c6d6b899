"""Sends the mails by which addresses are validated."""

from __future__ import annotations

from urllib.parse import urlencode

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.interfaces import IValidationMails
from regsys.model import MailPurpose, ValidationMail
from regsys.model.jobs import Job
from regsys.model.threepids import Validation
from regsys.storage.validation_messages import ValidationMessages
from regsys.storage.validations import ValidationStore
from regsys.threepids.validation import SUBMIT_PATHS
from regsys.threepids.validation_tokens import ValidationTokens


@attr.frozen(kw_only=True)
class ValidationMailer:
    """Runs SEND_MAIL jobs. A job's row holds no token: it is computed here. ``messages`` remembers
    why one was given up."""

    store: ValidationStore
    messages: ValidationMessages
    tokens: ValidationTokens
    mails: IValidationMails
    public_baseurl: str
    clock: IReactorTime

    async def send(self, job: Job) -> None:
        """Send the mail, unless the session has expired or is validated already, or is for a
        password of nobody's."""
        sid, purpose = job.payload["sid"], MailPurpose(job.payload["purpose"])
        validation = await self.store.get(sid, clock.now_ms(self.clock))
        if validation is None or validation.validated_ms is not None or validation.is_of_nobody:
            return
        mail = ValidationMail(
            purpose=purpose,
            address=validation.address,
            languages=tuple(job.payload["languages"]),
            message_id=job.job_id,
            registering=validation.purpose is MailPurpose.REGISTRATION,
        )
        if purpose is MailPurpose.PASSWORD_RESET:
            asked_from = job.payload.get("requested_from")
            mail = attr.evolve(mail, user_id=validation.user_id, requested_from=asked_from)
        if purpose is not MailPurpose.IN_USE:
            token = self.tokens.token(sid, job.payload["send_attempt"])
            link = self._link(validation, token)
            mail = attr.evolve(mail, link=link, code=self.tokens.code(sid))
        reason = await self.mails.send(mail)
        if isinstance(reason, str):
            await self.messages.given_up(sid, reason)

    def _link(self, validation: Validation, token: str) -> str:
        query = {
            "token": token,
            "client_secret": validation.client_secret,
            "sid": validation.sid,
        }
        path = SUBMIT_PATHS[validation.purpose].format(medium=validation.medium)
        return f"{self.public_baseurl}{path}?{urlencode(query)}"
