"""Proofs of third-party identifiers, and the messages that carry their codes."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Sequence

from zope.interface import Interface

from regsys.model import (
    Client,
    Mail,
    Threepid,
    UserID,
    ValidationMail,
)


class IPhoneValidation(Interface):
    """The validation of a phone number, whichever server sends the codes."""

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

    def validated_threepid(sid: str, client_secret: str) -> Awaitable[Optional[Threepid]]:
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
        """Hand the message to a server that takes responsibility for it.

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
