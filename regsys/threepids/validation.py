"""The validation of an address, without HTTP: a token is requested, sent and submitted (contract
B7.2-7)."""

from __future__ import annotations

import hmac
from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.config import ThreepidsConfig
from regsys.errors import (
    CodeUsedUp,
    LimitExceeded,
    MediumNotSupported,
    MissingToken,
    NoSuchValidation,
    NoTriesLeft,
    RegistrationDisabled,
    ThreepidInUse,
    WrongCode,
    WrongValidationToken,
)
from regsys.interfaces.internal import ILimiter
from regsys.model import Client, MailPurpose, UserID, token_text
from regsys.model.jobs import NewJob
from regsys.model.threepids import NewValidation, Validation
from regsys.storage.validations import ValidationStore
from regsys.threepids.addresses import EMAIL, LIMIT_KEYS, MSISDN, NewcomersThreepids, redirect_url
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.requests import TokenRequest
from regsys.threepids.validation_tokens import ValidationTokens, as_code
from regsys.uia.prerequisites import Prerequisites
from regsys.uia.stage_types import EMAIL_IDENTITY

_log = Logger()

SEND_MAIL, SEND_SMS = "validation_mail", "validation_sms"
SUBMIT_PATHS: Mapping[MailPurpose, str] = {
    MailPurpose.REGISTRATION: "_matrix/client/unstable/registration/{medium}/submit_token",
    MailPurpose.ADD_THREEPID: "_matrix/client/unstable/add_threepid/{medium}/submit_token",
}

SID_LETTERS = 16
# How many of the reader's languages go into a job, and how many characters of each.
MAX_LANGUAGES, MAX_LANGUAGE = 5, 35


@attr.frozen(kw_only=True)
class ValidationLimits:
    """The limits of requested tokens. ``client`` and ``mailbox`` are ``rc_3pid_validation``;
    ``attempts`` limits the wrong tokens that are submitted. ``total``, by medium, counts the
    requests of all clients together. ``key_of`` returns the limit's key for a client's IP
    address."""

    client: ILimiter
    mailbox: ILimiter
    attempts: ValidationAttempts
    total: Mapping[str, ILimiter]
    key_of: Callable[[str], str]

    async def take(self, medium: str, address: str, client: Client) -> None:
        """Raises LimitExceeded. A request that only the total refuses does not count."""
        client_key = f"{medium} {self.key_of(client.address)}"
        mailbox = f"{medium} {LIMIT_KEYS[medium](address)}"
        await self.client.take(client_key)
        await self.mailbox.take(mailbox)
        try:
            # Taken last, so that a client over its own limit does not count against the total.
            await self.total[medium].take(medium)
        except LimitExceeded:
            _log.warn(
                "no message is sent for now: regsys.rc_validation_total is reached ({medium})",
                medium=medium,
            )
            await self.mailbox.give_back(mailbox)
            await self.client.give_back(client_key)
            raise


@attr.frozen(kw_only=True)
class ValidatedAddress:
    """An address that was validated for ``purpose``. ``next_link``: where the browser is sent; None
    if nowhere."""

    medium: str
    address: str
    purpose: MailPurpose
    next_link: Optional[str] = None


@attr.frozen(kw_only=True)
class Validations:
    """``registration_open``: whether registration is open. ``start_jobs`` starts the jobs that were
    written. ``prerequisites``: the stages that must be passed before a mail is sent; None if there
    are none."""

    store: ValidationStore
    newcomers: NewcomersThreepids
    tokens: ValidationTokens
    limits: ValidationLimits
    config: ThreepidsConfig
    registration_open: bool
    clock: IReactorTime
    start_jobs: Callable[[Sequence[NewJob]], None]
    prerequisites: Optional[Prerequisites] = None

    async def request_token(
        self,
        medium: str,
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str] = (),
        user_id: Optional[UserID] = None,
        registering: bool = True,
    ) -> str:
        """Have a token sent, for a registration or to add the address to an account; returns the
        sid of its validation session. ``user_id``: the account. If it is None and this is not for
        ``registering``, the first account that presents the session gets it.

        Where it is hidden that an address is taken, its owner gets a message that says so, and
        nothing else differs: the same rows, one message, the same answer.
        """
        request, is_taken = await self.admit(medium, body, client, user_id, registering)
        wanted = MailPurpose.REGISTRATION if registering else MailPurpose.ADD_THREEPID
        purpose = MailPurpose.IN_USE if is_taken else wanted
        now_ms = clock.now_ms(self.clock)
        begun = await self.store.begin(
            NewValidation(
                sid=token_text.random_letters(SID_LETTERS),
                medium=medium,
                address=request.address,
                client_secret=request.client_secret,
                send_attempt=request.send_attempt,
                next_link=request.next_link,
                job=_job(medium, request.send_attempt, purpose, languages),
                now_ms=now_ms,
                until_ms=now_ms + self.config.token_lifetime_ms,
                user_id=user_id,
                for_account=not registering,
            )
        )
        if begun.job is not None:
            self.start_jobs((begun.job,))
        return begun.sid

    async def admit(
        self,
        medium: str,
        body: Mapping[str, Any],
        client: Client,
        user_id: Optional[UserID] = None,
        registering: bool = True,
    ) -> tuple[TokenRequest, bool]:
        """Check a request in the order of contract B7.2; returns it, and whether the address is
        taken, which raises ThreepidInUse unless it is hidden. Arguments as for
        ``request_token``."""
        if medium not in (self.config.offered if registering else self.config.addable):
            raise MediumNotSupported()
        if registering and not self.registration_open:
            raise RegistrationDisabled()
        request = TokenRequest.parse(medium, body, self.config)
        if self.prerequisites is not None and medium == EMAIL:
            if registering:
                await self.prerequisites.check(EMAIL_IDENTITY, body)
            elif user_id is None:
                raise MissingToken()  # else this would be a way around those stages
        await self.newcomers.check_allowed(medium, request.address, registering=registering)
        await self.limits.take(medium, request.address, client)
        is_taken = await self.newcomers.is_taken(medium, request.address)
        if is_taken and not self.config.hide_taken:
            raise ThreepidInUse()
        return request, is_taken

    async def confirm(
        self, medium: str, sid: str, client_secret: str, token: str, client: Client
    ) -> ValidatedAddress:
        """Validate the address with the token of a link, or with the code. Idempotent.

        Raises NoSuchValidation, WrongValidationToken, NoTriesLeft or CodeUsedUp; each of them
        counts against the client's IP address, which may lead to LimitExceeded.
        """
        async with self.limits.attempts.counted(client):
            validation = await self.find(medium, sid, client_secret)
            await self._check(validation, token)
            if not await self.store.confirm(sid, clock.now_ms(self.clock)):
                raise NoSuchValidation()
        return ValidatedAddress(
            medium=validation.medium,
            address=validation.address,
            purpose=validation.purpose,
            next_link=self.redirect_url(validation),
        )

    async def find_for_link(
        self, medium: str, sid: str, client_secret: str, token: str, client: Client
    ) -> Validation:
        """The session that a person who opens the link is about to confirm. Changes nothing.

        A wrong token of a link raises as in ``confirm``, and counts. A code is not checked before
        it is submitted. ``token`` may be empty.
        """
        async with self.limits.attempts.counted(client):
            validation = await self.find(medium, sid, client_secret)
            if token and as_code(token) is None:
                self._check_link(validation, token)
        return validation

    def redirect_url(self, validation: Validation) -> Optional[str]:
        """Where the browser is sent after the confirmation; None if nowhere."""
        return redirect_url(validation.next_link, validation.sid, self.config.next_link_domains)

    async def find(self, medium: str, sid: str, client_secret: str) -> Validation:
        """The session with this medium and client secret; NoSuchValidation if there is none."""
        validation = await self.store.get(sid, clock.now_ms(self.clock))
        if validation is None or validation.medium != medium:
            raise NoSuchValidation()
        if not validation.is_known_to(client_secret):
            raise NoSuchValidation()
        return validation

    async def _check(self, validation: Validation, token: str) -> None:
        """Raise unless this is one of the session's tokens, or its code."""
        code = as_code(token)
        if code is None:
            self._check_link(validation, token)
            return
        texted = validation.medium == MSISDN
        if not await self.store.count_try(validation.sid):
            raise CodeUsedUp() if texted else NoTriesLeft()
        code_of = self.tokens.digits if texted else self.tokens.code
        if not _is_one_of(code, [code_of(validation.sid)]):
            raise WrongCode() if texted else WrongValidationToken()

    def _check_link(self, validation: Validation, token: str) -> None:
        if not _is_one_of(token, self._tokens(validation)):
            raise WrongCode() if validation.medium == MSISDN else WrongValidationToken()

    def _tokens(self, validation: Validation) -> list[str]:
        """The session's tokens that have not expired; all of them if it is validated already."""
        oldest_ms = clock.now_ms(self.clock) - self.config.token_lifetime_ms
        return [
            self.tokens.token(validation.sid, attempt)
            for attempt, made_ms in validation.tokens.items()
            if made_ms > oldest_ms or validation.validated_ms is not None
        ]


def _is_one_of(given: str, good: Sequence[str]) -> bool:
    return any(hmac.compare_digest(given.encode(), item.encode()) for item in good)


def _job(medium: str, send_attempt: int, purpose: MailPurpose, languages: Sequence[str]) -> NewJob:
    payload = {
        "send_attempt": send_attempt,
        "purpose": purpose.value,
        "languages": [tag[:MAX_LANGUAGE] for tag in languages[:MAX_LANGUAGES]],
    }
    return NewJob(kind=SEND_SMS if medium == MSISDN else SEND_MAIL, payload=payload)
