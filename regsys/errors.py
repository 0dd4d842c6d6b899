"""Every way regsys says no: one class a refusal, with its Matrix errcode and HTTP status.

Only ``regsys.http`` turns these into answers; everything else just raises them. The
sentence (``text``) goes to the client, so it helps the person and holds no secret.
"""

from __future__ import annotations

from typing import Any, ClassVar, Optional


def sentence(text: str) -> str:
    """The same text: it is for people, and so for the catalogues of their languages."""
    return text


class RegistrationError(Exception):
    """A refusal that a client is told about.

    ``extra`` are further keys of the JSON answer. ``retry_after_ms`` (None: no hint) also
    becomes the ``Retry-After`` header.
    """

    status: int = 400
    errcode: str = "M_UNKNOWN"
    sentence: ClassVar[str] = "The request was refused."

    def __init__(self, text: Optional[str] = None, **extra: Any) -> None:
        super().__init__(text or self.sentence)
        self.text = text or self.sentence
        self.extra = extra

    @property
    def retry_after_ms(self) -> Optional[int]:
        return self.extra.get("retry_after_ms")


# --- The request itself ------------------------------------------------------------------


class NotJSON(RegistrationError):
    errcode, sentence = "M_NOT_JSON", "The body is not valid JSON."


class BadJSON(RegistrationError):
    errcode, sentence = "M_BAD_JSON", "The JSON has the wrong shape."


class MissingParam(RegistrationError):
    errcode, sentence = "M_MISSING_PARAM", "A required parameter is missing."


class InvalidParam(RegistrationError):
    errcode, sentence = "M_INVALID_PARAM", "A parameter is not valid."


class TooLarge(RegistrationError):
    status, errcode, sentence = 413, "M_TOO_LARGE", "The request is too large."


class Unrecognized(RegistrationError):
    """Something this server doesn't know: 400 for a value; the path's own kinds follow."""

    errcode, sentence = "M_UNRECOGNIZED", "Unrecognized request."


class UnknownPath(Unrecognized):
    status = 404


class WrongMethod(Unrecognized):
    status, sentence = 405, "This address does not take that method."


class Forbidden(RegistrationError):
    status, errcode, sentence = 403, "M_FORBIDDEN", "That is not allowed here."


class GuestForbidden(Forbidden):
    errcode, sentence = "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot do this: register first."


class RegistrationDisabled(Forbidden):
    sentence = "Registration is not open on this server."


class LimitExceeded(RegistrationError):
    """Too many requests, or a refusal that must look like it (BEHAVIOUR B2.2)."""

    status, errcode, sentence = 429, "M_LIMIT_EXCEEDED", "Too many requests: try again later."

    def __init__(self, retry_after_ms: int, text: Optional[str] = None) -> None:
        super().__init__(text, retry_after_ms=max(1, retry_after_ms))


class Unavailable(RegistrationError):
    """A backend of ours is down or too slow; nothing was changed, a later try may work."""

    status, sentence = 503, "The server cannot do this at the moment: try again shortly."

    def __init__(self, text: Optional[str] = None, retry_after_ms: int = 2000) -> None:
        super().__init__(text, retry_after_ms=retry_after_ms)


class MailDeferred(Unavailable):
    """The mail server could not be reached, was too slow or would not take the mail now, or we
    could not agree with it on security or login: the same mail may go out later."""

    sentence = "The mail server does not take the mail now: it will be tried again."


class MailRefused(RegistrationError):
    """This mail will never be delivered: the address is unusable, or the server said so."""

    errcode, sentence = "M_INVALID_PARAM", "Mails cannot be delivered to this address."


class SmsDeferred(Unavailable):
    """No text message could be handed over: the same may go out later."""

    sentence = "No text message can be sent now: it will be tried again."


class SmsRefused(RegistrationError):
    """This text message will never be delivered."""

    errcode, sentence = "M_INVALID_PARAM", "Text messages cannot be delivered to this number."


# --- Names and accounts ------------------------------------------------------------------


class InvalidUsername(RegistrationError):
    errcode, sentence = "M_INVALID_USERNAME", "This user name is not valid."


class UsernameReserved(RegistrationError):
    errcode, sentence = "M_EXCLUSIVE", "This user name is reserved."


class UsernameTaken(RegistrationError):
    errcode, sentence = "M_USER_IN_USE", "This user name is taken."


class UserNotFound(RegistrationError):
    status, errcode, sentence = 404, "M_NOT_FOUND", "There is no such user."


class UserDeactivated(RegistrationError):
    status, errcode, sentence = 403, "M_USER_DEACTIVATED", "This account has been deactivated."


class AwaitingApproval(RegistrationError):
    """The account exists but may not log in yet (MSC3866, BEHAVIOUR B2.8)."""

    status, errcode = 403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
    sentence = "This account waits for an administrator's approval."

    def __init__(self) -> None:
        super().__init__(approval_notice_medium="org.matrix.msc3866.none")


class NoFreeName(RegistrationError):
    """Every generated name was lost to somebody else, ten times in a row (BEHAVIOUR B2.5)."""

    status, sentence = 500, "No free user name could be generated: try again."


class StagesMissing(RegistrationError):
    """No message is sent yet (``regsys.mail_needs_stages``)."""

    status, errcode = 401, "M_UNAUTHORIZED"
    sentence = "Nothing is sent yet: first complete the steps of this registration before this one."


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


class ThreepidNotProven(RegistrationError):
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
    errcode = "M_UNAUTHORIZED"
    sentence = "This code or link is not valid, or not any more."


class NoTriesLeft(ValidationRefused):
    errcode = "M_UNAUTHORIZED"
    sentence = "Too many codes were wrong: only a link in the message is valid now."


class InvalidRegistrationToken(RegistrationError):
    """The registration token is unknown, expired or used up (BEHAVIOUR B8.8)."""

    status, errcode = 401, "M_UNAUTHORIZED"
    sentence = "This registration token is not valid any more."


class NoSharedSecret(RegistrationError):
    sentence = "This server has no shared secret for registration."


class InvalidNonce(RegistrationError):
    sentence = "This nonce is unknown, too old or used: ask for another."


class PolicyNotFound(RegistrationError):
    status, errcode = 404, "M_NOT_FOUND"
    sentence = "There is no such policy here, or not in this version."


class TokenNotFound(RegistrationError):
    status, errcode, sentence = 404, "M_NOT_FOUND", "There is no such registration token."


class JobNotFound(RegistrationError):
    status, errcode = 404, "M_NOT_FOUND"
    sentence = "There is no such job that has failed and waits: it may be done by now."


# --- Tokens, logins, authentication ------------------------------------------------------


class MissingToken(RegistrationError):
    status, errcode, sentence = 401, "M_MISSING_TOKEN", "An access token is needed."


class UnknownToken(RegistrationError):
    """No such token, or it is spent or expired. ``soft_logout``: its device still lives."""

    status, errcode, sentence = 401, "M_UNKNOWN_TOKEN", "This token is not known or has expired."

    def __init__(self, soft_logout: bool = False, text: Optional[str] = None) -> None:
        super().__init__(text, **({"soft_logout": True} if soft_logout else {}))


class UnknownLoginType(RegistrationError):
    sentence = "This way of logging in is not on offer here."


class LoginFailed(Forbidden):
    """One sentence for an unknown user and a wrong password, so that neither is given away."""

    sentence = "The user name or the password is wrong."


class UnknownSession(RegistrationError):
    sentence = "This registration session is unknown or has expired: start again."


class SessionFinished(RegistrationError):
    sentence = "This session has already registered another user name."


class WrongSession(Forbidden):
    sentence = "This session belongs to another request."


class UnknownStage(RegistrationError):
    """A stage type that does not exist, or that this server has switched off (BEHAVIOUR B16.2)."""

    errcode, sentence = "M_UNRECOGNIZED", "This authentication stage is not on offer here."


class StageFailed(Exception):
    """A stage was tried and not passed: becomes a 401 with the flows (BEHAVIOUR B16.2).

    ``undoes``: what the stage had been passed with before does not hold any more either.
    """

    def __init__(self, errcode: str, text: str, undoes: bool = False) -> None:
        super().__init__(text)
        self.errcode = errcode
        self.text = text
        self.undoes = undoes


# --- Passwords (BEHAVIOUR B14.3) ---------------------------------------------------------


class PasswordTooShort(RegistrationError):
    errcode = "M_PASSWORD_TOO_SHORT"


class PasswordNoDigit(RegistrationError):
    errcode, sentence = "M_PASSWORD_NO_DIGIT", "The password must contain a digit."


class PasswordNoSymbol(RegistrationError):
    errcode, sentence = "M_PASSWORD_NO_SYMBOL", "The password must contain a symbol."


class PasswordNoUppercase(RegistrationError):
    errcode = "M_PASSWORD_NO_UPPERCASE"
    sentence = "The password must contain an upper-case letter."


class PasswordNoLowercase(RegistrationError):
    errcode = "M_PASSWORD_NO_LOWERCASE"
    sentence = "The password must contain a lower-case letter."


# --- Rooms: told to the operator, never to a client --------------------------------------


class RoomRefused(Exception):
    """Something about a room could not be done, now; the text says what and why."""


class RoomTaken(RoomRefused):
    """The alias of a room about to be made names one by now."""
