"""Errors of user names, accounts, registration tokens and passwords."""

from __future__ import annotations

from typing import ClassVar, Optional

from regsys.errors.base import Forbidden, MissingParam, RegistrationError


class RegistrationDisabled(Forbidden):
    sentence = "Registration is not open on this server."


class InvalidUsername(RegistrationError):
    errcode, sentence = "M_INVALID_USERNAME", "This user name is not valid."


class UsernameReserved(RegistrationError):
    errcode, sentence = "M_EXCLUSIVE", "This user name is reserved."


class UsernameTaken(RegistrationError):
    errcode, sentence = "M_USER_IN_USE", "This user name is taken."


class ResourceLimitExceeded(RegistrationError):
    """The server is blocked, or full (contract B9). ``admin_contact``: how a user can contact the
    administrator, if known. If ``text`` is None, the class's sentence is used."""

    status, errcode = 403, "M_RESOURCE_LIMIT_EXCEEDED"
    limit_type: ClassVar[str]

    def __init__(self, admin_contact: Optional[str], text: Optional[str] = None) -> None:
        super().__init__(text, limit_type=self.limit_type, admin_contact=admin_contact)


class ServerDisabled(ResourceLimitExceeded):
    limit_type, sentence = "hs_disabled", "This server is closed at the moment."


class ServerFull(ResourceLimitExceeded):
    limit_type = "monthly_active_user"
    sentence = (
        "This server has as many active users as it allows: nobody else can join at the moment."
    )


class UserNotFound(RegistrationError):
    status, errcode, sentence = 404, "M_NOT_FOUND", "There is no such user."


class UserDeactivated(RegistrationError):
    status, errcode, sentence = 403, "M_USER_DEACTIVATED", "This account has been deactivated."


class AwaitingApproval(RegistrationError):
    """The account exists but may not log in yet (MSC3866, contract B2.8)."""

    status, errcode = 403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
    sentence = "This account waits for an administrator's approval."

    def __init__(self) -> None:
        super().__init__(approval_notice_medium="org.matrix.msc3866.none")


class NoFreeName(RegistrationError):
    """Ten generated names in a row were taken by concurrent registrations (contract B2.5)."""

    status, sentence = 500, "No free user name could be generated: try again."


class AllNamesReserved(Forbidden):
    """No name can be generated: all are reserved by application services, or taken."""

    sentence = "This server has no user name to give out: all of them are reserved."


class InvalidRegistrationToken(RegistrationError):
    """The registration token is unknown, expired or used up (contract B8.8)."""

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
    sentence = "No failed job with this id is waiting: it may be done by now."


class PasswordNeededAgain(MissingParam):
    """The session's password was sent, but its hash was not made or not stored (contract B8.3)."""

    sentence = "Please send your password again: the server no longer has it."


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
