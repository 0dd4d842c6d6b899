"""Errors of third-party identifiers, and of the messages that validate them."""

from __future__ import annotations

from typing import Any, Optional

from regsys.errors.base import Forbidden, RegistrationError, Unavailable


class MailDeferred(Unavailable):
    """The mail server cannot be reached, is too slow or does not accept the mail now, or TLS or
    authentication has failed: a retry may work."""

    sentence = "The mail server is not accepting the mail at the moment: it will be tried again."


class MailRefused(RegistrationError):
    """This mail can never be delivered: the address is unusable, or the server has refused it for
    good."""

    errcode, sentence = "M_INVALID_PARAM", "Mails cannot be delivered to this address."


class SmsDeferred(Unavailable):
    """The text message could not be handed over: a retry may work."""

    sentence = "The text message cannot be sent at the moment: it will be tried again."


class SmsRefused(RegistrationError):
    """This text message can never be delivered."""

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
    """A module refuses a change of an account's identifiers, with its own errcode and text."""

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
    """The server that validates phone numbers for us has refused, with this errcode and text."""

    sentence = "The phone number could not be confirmed."

    def __init__(self, status: int, errcode: str, text: Optional[str], **extra: Any) -> None:
        super().__init__(text, **extra)
        self.status = status
        self.errcode = errcode


class IdentityServerRefused(RegistrationError):
    """An identity server that the client has chosen has refused, with this errcode and text."""

    sentence = "The identity server has refused this."

    def __init__(self, status: int, errcode: str, text: Optional[str], **extra: Any) -> None:
        super().__init__(text, **extra)
        self.status = status
        self.errcode = errcode


class IdentityServerForbidden(Forbidden):
    sentence = "This server does not talk to that identity server."


class ValidationRefused(RegistrationError):
    """An address was not validated. Clients look for ``success``."""

    def __init__(self) -> None:
        super().__init__(success=False)


class NoSuchValidation(ValidationRefused):
    """There is no such validation session, it has expired, or the client secret is wrong; clients
    cannot tell which."""

    errcode = "M_NO_VALID_SESSION"
    sentence = "This confirmation is unknown or has expired: ask for another message."


class WrongValidationToken(ValidationRefused):
    errcode = "M_TOKEN_INCORRECT"
    sentence = "This code or link is not valid, or no longer valid."


class WrongCode(WrongValidationToken):
    """The wrong code of a text message, which has no link."""

    sentence = "This code is not valid, or no longer valid."


class NoTriesLeft(ValidationRefused):
    errcode = "M_TOKEN_INCORRECT"
    sentence = "Too many codes were wrong: only a link in the message is valid now."


class CodeUsedUp(ValidationRefused):
    """As NoTriesLeft, for a text message, which has no link."""

    errcode = "M_TOKEN_INCORRECT"
    sentence = "Too many codes were wrong: ask for another message."
