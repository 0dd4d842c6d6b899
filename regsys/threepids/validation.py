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
    LimitExceeded,
    MediumNotSupported,
    MissingToken,
    RegistrationDisabled,
    ThreepidInUse,
    ThreepidNotFound,
)
from regsys.interfaces.internal import ILimiter
from regsys.model import Client, MailPurpose, UserID, token_text
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.jobs import NewJob
from regsys.model.threepids import NewValidation, Validation
from regsys.storage.validations import ValidationStore
from regsys.threepids.addresses import (
    LIMIT_KEYS,
    AddressOwners,
    NewcomersThreepids,
    redirect_url,
)
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.requests import TokenRequest
from regsys.threepids.validation_tokens import (
    ValidationTokens,
    as_code,
    no_such_validation,
    no_tries_left,
    wrong_token,
)
from regsys.uia.prerequisites import Prerequisites
from regsys.uia.stage_types import EMAIL_IDENTITY

_log = Logger()

SEND_MAIL, SEND_SMS = "validation_mail", "validation_sms"
SUBMIT_PATHS: Mapping[MailPurpose, str] = {
    MailPurpose.REGISTRATION: "_matrix/client/unstable/registration/{medium}/submit_token",
    MailPurpose.ADD_THREEPID: "_matrix/client/unstable/add_threepid/{medium}/submit_token",
    MailPurpose.PASSWORD_RESET: "_matrix/client/unstable/password_reset/{medium}/submit_token",
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
        await self.client.take(client_key)
        await self.take_message(medium, address, client_key)

    async def take_message(
        self, medium: str, address: str, client_key: Optional[str] = None
    ) -> None:
        """The same for a message that no client asks for; ``client_key``: that of one who does, and
        was counted already."""
        mailbox = f"{medium} {LIMIT_KEYS[medium](address)}"
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
            if client_key is not None:
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
class AdmittedRequest:
    """A request for a token that is to be sent, in a message for ``message``; ``user_id`` is the
    account that it is about, if it is known."""

    request: TokenRequest
    message: MailPurpose
    user_id: Optional[UserID]


@attr.frozen(kw_only=True)
class Validations:
    """``registration_open``: whether registration is open. ``start_jobs`` starts the jobs that were
    written. ``prerequisites``: the stages that must be passed before a mail is sent; None if there
    are none. ``owners`` finds whose password an address resets; None if none can be reset."""

    store: ValidationStore
    newcomers: NewcomersThreepids
    tokens: ValidationTokens
    limits: ValidationLimits
    config: ThreepidsConfig
    registration_open: bool
    clock: IReactorTime
    start_jobs: Callable[[Sequence[NewJob]], None]
    prerequisites: Optional[Prerequisites] = None
    owners: Optional[AddressOwners] = None

    async def request_token(
        self,
        medium: str,
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str] = (),
        user_id: Optional[UserID] = None,
        purpose: MailPurpose = MailPurpose.REGISTRATION,
    ) -> str:
        """Have a token sent, for a registration, to add the address to an account, or to reset the
        password of the account that has it; returns the sid of its validation session.
        ``user_id``: the account that is to get the address. If it is None, the first account that
        presents the session gets it.

        Where it is hidden that an address is taken, its owner gets a message that says so, and
        nothing else differs: the same rows, one message, the same answer. Where it is hidden that
        nobody has it, the job sends nothing, so that nobody gets mail from a server that they do
        not know.
        """
        admitted = await self.admit(medium, body, client, user_id, purpose)
        request = admitted.request
        asked_from = client.address if purpose is MailPurpose.PASSWORD_RESET else None
        now_ms = clock.now_ms(self.clock)
        begun = await self.store.begin(
            NewValidation(
                sid=token_text.random_letters(SID_LETTERS),
                medium=medium,
                address=request.address,
                client_secret=request.client_secret,
                send_attempt=request.send_attempt,
                next_link=request.next_link,
                job=message_job(
                    medium,
                    request.send_attempt,
                    admitted.message,
                    languages,
                    requested_from=asked_from,
                ),
                now_ms=now_ms,
                until_ms=now_ms + self.config.token_lifetime_ms,
                user_id=admitted.user_id,
                purpose=purpose,
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
        purpose: MailPurpose = MailPurpose.REGISTRATION,
    ) -> AdmittedRequest:
        """Check a request in the order of contract B7.2. Raises ThreepidInUse for an address that
        is taken, ThreepidNotFound if nobody's password can be reset by it, each unless that is
        hidden. Arguments as for ``request_token``."""
        registering = purpose is MailPurpose.REGISTRATION
        if medium not in (self.config.offered if registering else self.config.addable):
            raise MediumNotSupported()
        if registering and not self.registration_open:
            raise RegistrationDisabled()
        request = TokenRequest.parse(medium, body, self.config)
        if purpose is MailPurpose.PASSWORD_RESET:
            return await self._admit_reset(medium, request, client)
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
        message = MailPurpose.IN_USE if is_taken else purpose
        return AdmittedRequest(request=request, message=message, user_id=user_id)

    async def _admit_reset(
        self, medium: str, request: TokenRequest, client: Client
    ) -> AdmittedRequest:
        # An address that may no longer be added (allowed_local_3pids) still resets.
        await self.limits.take(medium, request.address, client)
        owner = None
        if self.owners is not None:
            owner = await self.owners.active_owner(medium, request.address)
        if owner is None and not self.config.hide_taken:
            raise ThreepidNotFound()
        return AdmittedRequest(request=request, message=MailPurpose.PASSWORD_RESET, user_id=owner)

    async def confirm(
        self, medium: str, sid: str, client_secret: str, token: str, client: Client
    ) -> ValidatedAddress:
        """Validate the address with the token of a link, or with the code. Idempotent.

        Raises ValidationRefused, which counts against the client's IP address: that may lead to
        LimitExceeded.
        """
        async with self.limits.attempts.counted(client):
            validation = await self.find(medium, sid, client_secret)
            await self._check(validation, token)
            if not await self.store.confirm(sid, clock.now_ms(self.clock)):
                raise no_such_validation()
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
        """The session with this medium and client secret; ValidationRefused if there is none."""
        validation = await self.store.get(sid, clock.now_ms(self.clock))
        if validation is None or validation.medium != medium:
            raise no_such_validation()
        if not validation.is_known_to(client_secret):
            raise no_such_validation()
        return validation

    async def _check(self, validation: Validation, token: str) -> None:
        """Raise unless this is one of the session's tokens, or its code."""
        code = as_code(token)
        if code is None:
            self._check_link(validation, token)
            return
        texted = validation.medium == MSISDN
        if not await self.store.count_try(validation.sid):
            raise no_tries_left(texted)
        code_of = self.tokens.digits if texted else self.tokens.code
        if not _is_one_of(code, [code_of(validation.sid)]):
            raise wrong_token(texted)

    def _check_link(self, validation: Validation, token: str) -> None:
        if not _is_one_of(token, self._tokens(validation)):
            raise wrong_token(texted=validation.medium == MSISDN)

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


def message_job(
    medium: str,
    send_attempt: int,
    purpose: MailPurpose,
    languages: Sequence[str],
    **more: Optional[str],
) -> NewJob:
    """The job that sends a message. ``more``: the ``sid``, unless it is added later, and where a
    reset was ``requested_from``; None is left out."""
    payload: dict[str, Any] = {
        "send_attempt": send_attempt,
        "purpose": purpose.value,
        "languages": [tag[:MAX_LANGUAGE] for tag in languages[:MAX_LANGUAGES]],
        **{name: value for name, value in more.items() if value is not None},
    }
    return NewJob(kind=SEND_SMS if medium == MSISDN else SEND_MAIL, payload=payload)
