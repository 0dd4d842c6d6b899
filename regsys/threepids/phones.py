"""The validation of phone numbers, without HTTP: by our own codes, or by another server (contract
B7.8)."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import SmsRefused
from regsys.interfaces import ISmsSender
from regsys.interfaces.internal import IPhoneValidation
from regsys.model import Client, MailPurpose, UserID
from regsys.model.canonical_threepids import MSISDN
from regsys.model.identity import masked
from regsys.model.jobs import Job
from regsys.storage.validation_messages import ValidationMessages
from regsys.storage.validations import ValidationStore
from regsys.templates import Templates
from regsys.threepids.addresses import check_client_secret, international
from regsys.threepids.requests import TokenRequest
from regsys.threepids.servers import PhoneValidationServer
from regsys.threepids.validation import Validations
from regsys.threepids.validation_tokens import ValidationTokens, wrong_token

_log = Logger()


@implementer(IPhoneValidation)
@attr.frozen
class OwnPhones:
    """Validates phone numbers as email addresses are validated, with our own codes."""

    validations: Validations

    async def request_token(
        self,
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str],
        user_id: Optional[UserID] = None,
        purpose: MailPurpose = MailPurpose.REGISTRATION,
    ) -> Mapping[str, Any]:
        request_token = self.validations.request_token
        sid = await request_token(MSISDN, body, client, languages, user_id, purpose)
        request = TokenRequest.parse(MSISDN, body, self.validations.config)
        return {"sid": sid, **_number_json(request)}

    async def submit_token(self, sid: str, client_secret: str, token: str, client: Client) -> None:
        await self.validations.confirm(MSISDN, sid, client_secret, token, client)


@attr.frozen(kw_only=True)
class SmsCodeSender:
    """Runs SEND_SMS jobs. A job's row holds no code: it is computed here. ``messages`` remembers
    why one was given up."""

    store: ValidationStore
    messages: ValidationMessages
    tokens: ValidationTokens
    sender: ISmsSender
    templates: Templates
    server_name: str
    clock: IReactorTime

    async def send(self, job: Job) -> None:
        """Send the message, unless the session has expired or is validated already, or is for a
        password of nobody's."""
        sid = job.payload["sid"]
        validation = await self.store.get(sid, clock.now_ms(self.clock))
        if validation is None or validation.validated_ms is not None or validation.is_of_nobody:
            return
        text = self.templates.render(
            f"sms/{job.payload['purpose']}.txt",
            job.payload["languages"],
            code=self.tokens.digits(sid),
            server_name=self.server_name,
            registering=validation.purpose is MailPurpose.REGISTRATION,
            user_id="" if validation.user_id is None else str(validation.user_id),
        )
        try:
            await self.sender.send(validation.address, text.strip())
        except SmsRefused as refusal:
            _log.warn(
                "text message {job} for {to} is given up: {reason}",
                job=job.job_id,
                to=masked(validation.address),
                reason=refusal.text,
            )
            await self.messages.given_up(sid, refusal.text)


@implementer(IPhoneValidation)
@attr.frozen
class DelegatedPhones:
    """``validations`` checks the requests as for any medium; ``phone_server`` does the rest."""

    validations: Validations
    phone_server: PhoneValidationServer

    async def request_token(
        self,
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str],
        user_id: Optional[UserID] = None,
        purpose: MailPurpose = MailPurpose.REGISTRATION,
    ) -> Mapping[str, Any]:
        # Where it is hidden whether a number is taken, its owner gets a code all the same: no
        # account can use it, and the client sees no difference.
        admitted = await self.validations.admit(MSISDN, body, client, user_id, purpose)
        request = admitted.request
        link = {} if request.next_link is None else {"next_link": request.next_link}
        answer = await self.phone_server.request_token(
            {
                **request.number_fields,
                "client_secret": request.client_secret,
                "send_attempt": request.send_attempt,
                **link,
            }
        )
        return {**_number_json(request), **answer}

    async def submit_token(self, sid: str, client_secret: str, token: str, client: Client) -> None:
        async with self.validations.limits.attempts.counted(client):
            check_client_secret(client_secret)
            if not await self.phone_server.submit_token(sid, client_secret, token):
                raise wrong_token(texted=True)


def _number_json(request: TokenRequest) -> Mapping[str, str]:
    """The number that the code goes to, under the keys that identity servers use, so that a page
    can show it in its normal form."""
    return {"msisdn": request.address, "intl_fmt": international(request.address)}
