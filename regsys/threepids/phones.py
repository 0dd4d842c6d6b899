"""Proving a phone number, without HTTP: by codes of our own, or by another server (B7.8)."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import SmsRefused, WrongCode
from regsys.interfaces import IPhoneValidation, ISmsSender
from regsys.model import Client, Job, UserID, masked
from regsys.storage.validations import ValidationStore
from regsys.templates import Templates
from regsys.threepids.addresses import MSISDN, check_client_secret, international
from regsys.threepids.requests import TokenRequest
from regsys.threepids.servers import PhoneValidationServer
from regsys.threepids.validation import Validations
from regsys.threepids.validation_tokens import ValidationTokens

_log = Logger()


@implementer(IPhoneValidation)
@attr.frozen
class OwnPhones:
    """As email addresses are proven, but for the medium."""

    validations: Validations

    async def request_token(
        self,
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str],
        user_id: Optional[UserID] = None,
        registering: bool = True,
    ) -> Mapping[str, Any]:
        ask = self.validations.request_token
        sid = await ask(MSISDN, body, client, languages, user_id, registering)
        return {"sid": sid, **_told(TokenRequest.of(MSISDN, body, self.validations.config))}

    async def submit_token(self, sid: str, client_secret: str, token: str, client: Client) -> None:
        await self.validations.confirm(MSISDN, sid, client_secret, token, client)


@attr.frozen(kw_only=True)
class CodeTexter:
    """Carries SEND_SMS jobs out: their rows hold no code, it is computed here."""

    store: ValidationStore
    tokens: ValidationTokens
    sender: ISmsSender
    templates: Templates
    server_name: str
    clock: IReactorTime

    async def send(self, job: Job) -> None:
        """Send the message, unless it has come to be of no use: expired, or proven by another."""
        sid = job.payload["sid"]
        validation = await self.store.get(sid, clock.now_ms(self.clock))
        if validation is None or validation.validated_ms is not None:
            return
        text = self.templates.render(
            f"sms/{job.payload['purpose']}.txt",
            job.payload["languages"],
            code=self.tokens.digits(sid),
            server_name=self.server_name,
            registering=not validation.for_account,
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


@implementer(IPhoneValidation)
@attr.frozen
class DelegatedPhones:
    """``validations`` checks requests as those of any proof; ``prover`` does all the rest."""

    validations: Validations
    prover: PhoneValidationServer

    async def request_token(
        self,
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str],
        user_id: Optional[UserID] = None,
        registering: bool = True,
    ) -> Mapping[str, Any]:
        # Where it is hidden that a number is taken, its owner gets a code like anybody: it is
        # good for no account, and nothing is different for who asked.
        request, _ = await self.validations.admit(MSISDN, body, client, user_id, registering)
        link = {} if request.next_link is None else {"next_link": request.next_link}
        answer = await self.prover.request_token(
            {
                **request.written,
                "client_secret": request.client_secret,
                "send_attempt": request.send_attempt,
                **link,
            }
        )
        return {**_told(request), **answer}

    async def submit_token(self, sid: str, client_secret: str, token: str, client: Client) -> None:
        async with self.validations.limits.attempts.counted(client):
            check_client_secret(client_secret)
            if not await self.prover.submit_token(sid, client_secret, token):
                raise WrongCode()


def _told(request: TokenRequest) -> Mapping[str, str]:
    """Where the code goes, under the names that identity servers have for it: so a page need not
    repeat what was typed."""
    return {"msisdn": request.address, "intl_fmt": international(request.address)}
