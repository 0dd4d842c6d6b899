"""Refusals around third-party identifiers, and the messages that carry their codes."""

from __future__ import annotations

from typing import Any, Optional

from regsys.errors.base import Forbidden, RegistrationError, Unavailable


class MailDeferred(Unavailable):
    """The mail server could not be reached, was too slow or would not take the mail now, or we
    could not agree with it on security or login: the same mail may go out later."""

    sentence = "The mail server is not accepting the mail at the moment: it will be tried again."


class MailRefused(RegistrationError):
    """This mail will never be delivered: the address is unusable, or the server said so."""

    errcode, sentence = "M_INVALID_PARAM", "Mails cannot be delivered to this address."


class SmsDeferred(Unavailable):
    """No text message could be handed over: the same may go out later."""

    sentence = "The text message cannot be sent at the moment: it will be tried again."


class SmsRefused(RegistrationError):
    """This text message will never be delivered."""

    errcode, sentence = "M_INVALID_PARAM", "Text messages cannot be delivered to this number."


class StagesMissing(RegistrationError):
    """No message is sent yet (``regsys.mail_needs_stages``)."""

    status, errcode = 401, "M_UNAUTHORIZED"
    sentence = "Nothing is sent yet: first complete the earlier steps of this registration."


class ThreepidInUse(RegistrationError):
    errcode, sentence = "M_THREEPID_IN_USE", "This address already belongs to an account."


class ThreepidDenied(RegistrationError):
    status, errcode = 403, "M_THREEPID_DENIED"
    sentence = "This address may not be used on this server."


class ThreepidChangeRefused(Forbidden):
    """A module objects to a change of an account's identifiers, in its own words."""

    def __init__(self, errcode: str, text: str) -> None:
        super().__init__(text)
        self.errcode = errcode


class ThreepidNotValidated(RegistrationError):
    errcode = "M_THREEPID_AUTH_FAILED"
    sentence = "This address has not been confirmed yet, or not for this account."


class ThreepidChangesDisabled(RegistrationError):
    errcode, sentence = "M_FORBIDDEN", "The addresses of an account cannot be changed here."


class MediumNotSupported(RegistrationError):
    errcode = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
    sentence = "Addresses of this kind cannot be confirmed on this server."


class DelegateRefused(RegistrationError):
    """The server that proves phone numbers for us said no, in these words of its own."""

    sentence = "The phone number could not be confirmed."

    def __init__(self, status: int, errcode: str, text: Optional[str], **extra: Any) -> None:
        super().__init__(text, **extra)
        self.status = status
        self.errcode = errcode


class IdentityServerRefused(RegistrationError):
    """An identity server that a person has chosen said no, in these words of its own."""

    sentence = "The identity server has refused this."

    def __init__(self, status: int, errcode: str, text: Optional[str], **extra: Any) -> None:
        super().__init__(text, **extra)
        self.status = status
        self.errcode = errcode


class IdentityServerForbidden(Forbidden):
    sentence = "This server does not talk to that identity server."


class ValidationRefused(RegistrationError):
    """An address was not confirmed. Clients look for ``success``."""

    def __init__(self) -> None:
        super().__init__(success=False)


class NoSuchValidation(ValidationRefused):
    """There is no such session, its time is over, or the client secret is another's: which of
    these is not told."""

    errcode = "M_NO_VALID_SESSION"
    sentence = "This confirmation is unknown or has expired: ask for another message."


class WrongValidationToken(ValidationRefused):
    errcode = "M_TOKEN_INCORRECT"
    sentence = "This code or link is not valid, or no longer valid."


class WrongCode(WrongValidationToken):
    """That of a text message, which has no link."""

    sentence = "This code is not valid, or no longer valid."


class NoTriesLeft(ValidationRefused):
    errcode = "M_TOKEN_INCORRECT"
    sentence = "Too many codes were wrong: only a link in the message is valid now."


class CodeUsedUp(ValidationRefused):
    """The same for a text message."""

    errcode = "M_TOKEN_INCORRECT"
    sentence = "Too many codes were wrong: ask for another message."
