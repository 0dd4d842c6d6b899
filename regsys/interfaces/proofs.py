"""Proofs of third-party identifiers, and the messages that carry their codes."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Sequence

from zope.interface import Interface

from regsys.model import (
    Client,
    Mail,
    NewValidation,
    Threepid,
    UserID,
    Validation,
    ValidationBegun,
    ValidationMail,
)


class IValidationStore(Interface):
    """The sessions that prove addresses. They survive a restart (contract B16.19)."""

    def begin(new: NewValidation) -> Awaitable[ValidationBegun]:
        """The session of this medium, address, client secret and asker that is not validated yet,
        begun if there is none (contract B7.5).

        A ``send_attempt`` above its last one adds a token, and the job that sends it, in the
        same transaction; what was there stays good. Another changes nothing. A session of a
        phone number whose code has had its CODE_TRIES ends with a higher attempt: that begins
        another, with another code.
        """

    def get(sid: str, now_ms: int) -> Awaitable[Optional[Validation]]:
        """The session, if it exists and has not expired."""

    def count_try(sid: str) -> Awaitable[bool]:
        """Count one more try of its code; False if it has had CODE_TRIES."""

    def confirm(sid: str, now_ms: int) -> Awaitable[bool]:
        """Its address is proven, unless it had been before, and it lives on for VALIDATED_MS;
        False if it has expired."""

    def claim(sid: str, session_id: str, until_ms: int) -> Awaitable[bool]:
        """It belongs to this UIA session from now on, and lives as long; False if it belongs to
        another or to an account (``user_id``), or is not validated."""

    def claim_for(user_id: UserID, sid: str) -> Awaitable[bool]:
        """It belongs to this account from now on; False if it belongs to another, is to register
        with, or is not validated."""

    def use(sid: str) -> Awaitable[bool]:
        """What it proves has been added to the account that it is for: it is used up; False if
        it had been, or is for no account."""

    def adopt(proof: Threepid, session_id: str, until_ms: int) -> Awaitable[bool]:
        """Another server has proven this: the proof belongs to this UIA session, and that is
        remembered until then; False if it belongs to another."""

    def adopt_for(
        user_id: UserID, proof: Threepid, until_ms: int
    ) -> Awaitable[Optional[Validation]]:
        """Another server has proven this: the proof belongs to this account, as if it had been
        begun for it, and that is remembered until then; None if it belongs to another."""


class IPhoneValidation(Interface):
    """The dialogue by which somebody proves a phone number, whoever sends the codes."""

    def request_token(
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str],
        user_id: Optional[UserID] = None,
        registering: bool = True,
    ) -> Awaitable[Mapping[str, Any]]:
        """Have a code sent, in the first of these languages that there is; what the client is to
        know, its ``sid`` above all. ``user_id``: whose account the number is for; None: for one
        yet to be made or, where this is not about ``registering``, the one that brings the proof
        first. Raises what a requestToken is refused with (contract B7.2-3).
        """

    def submit_token(sid: str, client_secret: str, token: str, client: Client) -> Awaitable[None]:
        """The code has come back, and was right; else ValidationRefused or DelegateRefused."""


class IPhoneValidationServer(Interface):
    """Another server that proves phone numbers (contract B7.8). Each of its methods raises
    Unavailable if it cannot be asked, or its answer says nothing."""

    def request_token(fields: Mapping[str, Any]) -> Awaitable[Mapping[str, Any]]:
        """Have a code sent. ``fields`` are the specification's, and so are those of the answer,
        which has a ``sid``. Raises DelegateRefused."""

    def submit_token(sid: str, client_secret: str, token: str) -> Awaitable[bool]:
        """Whether the code was right. Raises DelegateRefused."""

    def proven(sid: str, client_secret: str) -> Awaitable[Optional[Threepid]]:
        """What this session has proven, in its canonical form; None: nothing."""


class IValidationMails(Interface):
    """Tells people what their address is asked to confirm."""

    def send(mail: ValidationMail) -> Awaitable[None]:
        """Compose the mail and hand it to a server that takes responsibility for it.

        Ends within JOB_LEASE_MS. Returns also if the mail can never be delivered; raises if
        it should be tried again.
        """


class ISmsSender(Interface):
    """The way text messages take."""

    def send(number: str, text: str) -> Awaitable[None]:
        """Hand the message to somebody who takes responsibility for it.

        ``number``: the digits of E.164, without a ``+``. Ends within JOB_LEASE_MS. Raises
        SmsRefused if it can never be delivered, else whatever: it is tried again.
        """


class IMailer(Interface):
    """The way mails take."""

    def send(mail: Mail) -> Awaitable[None]:
        """Hand the mail over to a server that takes responsibility for it.

        Ends within ``regsys.model.JOB_LEASE_MS``, so that a job can wait for it. Raises
        MailDeferred if it should be tried again, MailRefused if that would be useless.
        After MailDeferred the mail may have gone out all the same: the answer was lost.
        """
