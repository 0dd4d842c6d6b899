"""The dialogue by which an address is proven, without HTTP: a token is asked for, sent, and comes
back (contract B7.2-7)."""

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
from regsys.interfaces import ILimiter
from regsys.model import (
    Client,
    MailPurpose,
    NewJob,
    NewValidation,
    UserID,
    Validation,
    token_text,
)
from regsys.storage.validations import ValidationStore
from regsys.threepids.addresses import EMAIL, LIMIT_KEYS, MSISDN, NewcomersThreepids, followed
from regsys.threepids.attempts import ProofAttempts
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
# Of a reader's languages, and of the name of one, so much goes into a job.
MAX_LANGUAGES, MAX_LANGUAGE = 5, 35


@attr.frozen(kw_only=True)
class ValidationLimits:
    """``rc_3pid_validation``: tokens asked for, by client and by mailbox; wrong ones submitted
    (``attempts``).
    ``total``, by medium: those asked for by all clients together. ``key_of`` tells which addresses
    of clients count as one."""

    client: ILimiter
    mailbox: ILimiter
    attempts: ProofAttempts
    total: Mapping[str, ILimiter]
    key_of: Callable[[str], str]

    async def take(self, medium: str, address: str, client: Client) -> None:
        asker = f"{medium} {self.key_of(client.address)}"
        mailbox = f"{medium} {LIMIT_KEYS[medium](address)}"
        await self.client.take(asker)
        await self.mailbox.take(mailbox)
        try:
            # Last, so that a client over its own limit uses up nothing of the common one.
            await self.total[medium].take(medium)
        except LimitExceeded:
            _log.warn(
                "no message is sent for now: regsys.rc_validation_total is reached ({medium})",
                medium=medium,
            )
            await self.mailbox.give_back(mailbox)
            await self.client.give_back(asker)
            raise


@attr.frozen(kw_only=True)
class ValidatedAddress:
    """An address is proven, for what ``purpose`` says. ``next_link``: where the person goes on,
    None: nowhere."""

    medium: str
    address: str
    purpose: MailPurpose
    next_link: Optional[str] = None


@attr.frozen(kw_only=True)
class Validations:
    """``registration_open``: people may register. ``start_jobs``: begins what was written. If
    ``prerequisites`` is None, what comes before the mail does not matter."""

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
        """Have a token sent to somebody who wants to register, or to have the address on an
        account; the sid of its session. ``user_id``: that account; None: the one to be made or,
        where this is not about ``registering``, the one that brings the proof first.

        Where it is hidden that an address is taken, its owner is told instead, and nothing else
        is different: the same rows, a mail, the same answer.
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
        """What is asked for, checked in the order of B7.2, and whether the address is taken:
        that is refused unless it is hidden. The rest as of ``request_token``."""
        if medium not in (self.config.offered if registering else self.config.addable):
            raise MediumNotSupported()
        if registering and not self.registration_open:
            raise RegistrationDisabled()
        request = TokenRequest.of(medium, body, self.config)
        if self.prerequisites is not None and medium == EMAIL:
            if registering:
                await self.prerequisites.check(EMAIL_IDENTITY, body)
            elif user_id is None:
                raise MissingToken()  # or this would be the way around those stages
        await self.newcomers.check_allowed(medium, request.address, registering=registering)
        await self.limits.take(medium, request.address, client)
        is_taken = await self.newcomers.is_taken(medium, request.address)
        if is_taken and not self.config.hide_taken:
            raise ThreepidInUse()
        return request, is_taken

    async def confirm(
        self, medium: str, sid: str, client_secret: str, token: str, client: Client
    ) -> ValidatedAddress:
        """The token of a link, or the code, has come back: the address is proven.

        Idempotent. Raises NoSuchValidation, WrongValidationToken, NoTriesLeft, CodeUsedUp;
        each of these is counted against the client's address, which may lead to LimitExceeded.
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
            next_link=self.leads_to(validation),
        )

    async def opened(
        self, medium: str, sid: str, client_secret: str, token: str, client: Client
    ) -> Validation:
        """What a person who opens the link is about to confirm. Nothing is changed by asking.

        A wrong token of a link raises as in ``confirm``, and counts; whether a code is right is
        not told before it is submitted. ``token`` may be empty.
        """
        async with self.limits.attempts.counted(client):
            validation = await self.find(medium, sid, client_secret)
            if token and as_code(token) is None:
                self._check_link(validation, token)
        return validation

    def leads_to(self, validation: Validation) -> Optional[str]:
        """Where who confirms it goes on; None: nowhere."""
        return followed(validation.next_link, validation.sid, self.config.next_link_domains)

    async def find(self, medium: str, sid: str, client_secret: str) -> Validation:
        """The session, for who knows its client secret and medium; else NoSuchValidation."""
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
        """Those that are still good; all that ever were, once they have done their work."""
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
