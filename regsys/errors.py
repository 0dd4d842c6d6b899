"""Errors: the status, errcode and sentence that a client gets, and a few that only the operator
sees."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional, TypeVar

# What homeservers raise and catch. The others reach clients, and may change.
__all__ = [
    "AwaitingApproval",
    "BadJSON",
    "Forbidden",
    "InvalidParam",
    "InvalidUsername",
    "LimitExceeded",
    "LoginFailed",
    "MissingParam",
    "MissingToken",
    "PasswordRefused",
    "RegistrationError",
    "ResourceLimitExceeded",
    "RoomRefused",
    "RoomTaken",
    "SmsRefused",
    "StageFailed",
    "ThreepidDenied",
    "ThreepidInUse",
    "Unavailable",
    "UnknownToken",
    "UserDeactivated",
    "UserNotFound",
    "UsernameReserved",
    "UsernameTaken",
    "ValidationRefused",
]


def sentence(text: str) -> str:
    """Returns the text, and marks it for translation."""
    return text


E = TypeVar("E", bound="RegistrationError")


class RegistrationError(Exception):
    """An error that a client gets.

    ``extra``: further keys of the JSON body. ``retry_after_ms``, if it is not None, also becomes
    the ``Retry-After`` header. ``reason``: what the log says instead of the text, if clients must
    not learn it. ``rule``: what the audit log calls that which has refused; if it is None, the
    class says it (``regsys.audit.rules``).
    """

    status: int = 400
    errcode: str = "M_UNKNOWN"
    sentence: ClassVar[str] = "The request was refused."
    reason: Optional[str] = None
    rule: Optional[str] = None

    def __init__(self, text: Optional[str] = None, **extra: Any) -> None:
        super().__init__(text or self.sentence)
        self.text = text or self.sentence
        self.extra = extra

    def by_rule(self: E, rule: str) -> E:
        """The same error, of this rule."""
        self.rule = rule
        return self

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body that the client gets: ``errcode``, ``error``, and the ``extra`` keys."""
        return {"errcode": self.errcode, "error": self.text, **self.extra}

    @property
    def retry_after_ms(self) -> Optional[int]:
        return self.extra.get("retry_after_ms")


class ModuleRefusal(RegistrationError):
    """What a module raises to refuse a request, with a status, errcode and text of its own, and
    ``additional_fields`` of the JSON body. Arguments and attributes have the names that modules
    know."""

    def __init__(
        self,
        code: int,
        msg: str,
        errcode: str = "M_UNKNOWN",
        additional_fields: Optional[Mapping[str, Any]] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> None:
        super().__init__(msg)
        self.status = self.code = code
        self.msg = msg
        self.errcode = errcode
        self.extra = dict(additional_fields or {})
        self.headers = headers


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
    """A value that this server does not know (400). For a path or method see the subclasses."""

    errcode, sentence = "M_UNRECOGNIZED", "Unrecognized request."


class UnknownPath(Unrecognized):
    status = 404


class WrongMethod(Unrecognized):
    status, sentence = 405, "This address does not support that method."


class Forbidden(RegistrationError):
    status, errcode, sentence = 403, "M_FORBIDDEN", "That is not allowed here."


class GuestForbidden(Forbidden):
    errcode, sentence = "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot do this: register first."


class LimitExceeded(RegistrationError):
    """Too many requests, or an error that must look like it (contract B2.2)."""

    status, errcode, sentence = 429, "M_LIMIT_EXCEEDED", "Too many requests: try again later."

    def __init__(
        self, retry_after_ms: int, text: Optional[str] = None, reason: Optional[str] = None
    ) -> None:
        super().__init__(text, retry_after_ms=max(1, retry_after_ms))
        self.reason = reason


class ClientLeft(RegistrationError):
    """The client has closed its connection while its request was waiting: nothing was done. No
    client gets this error."""

    sentence = "The client has left."


class Unavailable(RegistrationError):
    """A service that regsys needs is down or slow: nothing was changed, a retry may work."""

    status, sentence = 503, "The server cannot do this at the moment: try again shortly."

    def __init__(self, text: Optional[str] = None, retry_after_ms: int = 2000) -> None:
        super().__init__(text, retry_after_ms=retry_after_ms)


class HomeserverUnavailable(Unavailable):
    """The homeserver whose auth service this is did not answer, or not as it should. ``reason``
    says how; as the text of the exception it is what the log says of a job."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or self.text


class HomeserverDidNothing(HomeserverUnavailable):
    """It was not reached, or says that it may not be asked this: it has not done what it was asked,
    and never will."""


class HomeserverRefusal(RegistrationError):
    """The homeserver whose auth service this is has refused a request that was passed on to it,
    with this status, errcode and text."""

    def __init__(self, status: int, errcode: str, text: Optional[str]) -> None:
        super().__init__(text)
        self.status = status
        self.errcode = errcode


# --- Tokens, logins and user-interactive authentication ---------------------------------------


class MissingToken(RegistrationError):
    status, errcode, sentence = 401, "M_MISSING_TOKEN", "An access token is needed."


class UnknownToken(RegistrationError):
    """There is no such token, or it is spent or has expired. ``soft_logout``: its device still
    exists."""

    status, errcode, sentence = 401, "M_UNKNOWN_TOKEN", "This token is not known or has expired."

    def __init__(self, soft_logout: bool = False, text: Optional[str] = None) -> None:
        super().__init__(text, **({"soft_logout": True} if soft_logout else {}))


class AppserviceLoginUnsupported(RegistrationError):
    """The users of this application service get no devices or tokens (contract B3.4)."""

    errcode = "M_APPSERVICE_LOGIN_UNSUPPORTED"
    sentence = "Application services cannot log users in here: register with inhibit_login."


class UnknownDevice(RegistrationError):
    """An application service names a device that its user does not have."""

    errcode, sentence = "M_UNKNOWN_DEVICE", "This user has no such device."


class DeviceNotFound(RegistrationError):
    status, errcode, sentence = 404, "M_NOT_FOUND", "You have no such device."


class UnknownLoginType(RegistrationError):
    sentence = "This way of logging in is not on offer here."


class LoginFailed(Forbidden):
    """One error for an unknown user and a wrong password, so that clients cannot tell which it
    is."""

    sentence = "The user name or the password is wrong."


class LoginRefused(Forbidden):
    """A module refuses a login, with its own errcode and further keys of the body."""

    sentence = "This login was refused."

    def __init__(self, errcode: str, extra: Mapping[str, Any]) -> None:
        super().__init__()
        self.errcode = errcode
        self.extra = dict(extra)


class AccountExpired(RegistrationError):
    """A module says that the account has expired."""

    status, errcode = 403, "ORG_MATRIX_EXPIRED_ACCOUNT"
    sentence = "This account has expired."


class UnknownSession(RegistrationError):
    sentence = "This session is unknown or has expired: start again."


class SessionFinished(RegistrationError):
    sentence = "This session has already registered another user name."


class NoPassword(Forbidden):
    """The user would have to confirm a request by a password that the account does not have."""

    sentence = (
        "This account has no password to confirm this with. Set one first: ask your app for a new"
        " password, as if you had forgotten it."
    )


class PasswordChangeDisabled(Forbidden):
    sentence = "Passwords cannot be changed on this server."


class WrongSession(Forbidden):
    sentence = "This session belongs to another request."


class UnknownStage(RegistrationError):
    """A stage type that does not exist, or is switched off on this server (contract B16.2)."""

    errcode, sentence = "M_UNRECOGNIZED", "This authentication stage is not on offer here."


class StageFailed(Exception):
    """A stage was tried and failed: becomes a 401 with the flows (contract B16.2).

    ``undoes``: an earlier result of the stage is no longer valid either. ``sid``: the validation
    session that it waits for, if it is one of ours; only the operator sees it.
    """

    def __init__(
        self, errcode: str, text: str, undoes: bool = False, sid: Optional[str] = None
    ) -> None:
        super().__init__(text)
        self.errcode = errcode
        self.text = text
        self.undoes = undoes
        self.sid = sid


# --- User names, accounts, registration tokens and passwords ----------------------------------


class RegistrationDisabled(Forbidden):
    sentence = "Registration is not open on this server."


class GuestsNotWelcome(Forbidden):
    sentence = "Guests are not welcome on this server."


class InvalidUsername(RegistrationError):
    errcode, sentence = "M_INVALID_USERNAME", "This user name is not valid."


class UsernameReserved(RegistrationError):
    errcode, sentence = "M_EXCLUSIVE", "This user name is reserved."


class UsernameTaken(RegistrationError):
    errcode, sentence = "M_USER_IN_USE", "This user name is taken."


class UsernameHeld(UsernameTaken):
    """Another UIA session holds the name (``regsys.hold_names``)."""

    sentence = (
        "Somebody is registering with this user name just now: choose another one, or try again in"
        " ten minutes."
    )


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


class AlreadyDecided(RegistrationError):
    """An administrator has decided the opposite about this account before. ``decided`` is a
    ``regsys.model.approvals.Decided``. For administrators."""

    status, errcode = 409, "ORG.REGSYS_ALREADY_DECIDED"

    def __init__(self, decided: Any) -> None:
        by = "" if decided.by is None else f" by {decided.by}"
        super().__init__(
            f"The account {decided.user_id} is {decided.decision.value} already{by}.",
            decision=decided.decision.value,
            by=decided.by,
            decided_ts=decided.decided_ms,
        )
        self.decided = decided


class AccountElsewhere(RegistrationError):
    """The account's name is somebody else's at the homeserver whose auth service this is, or cannot
    be had there."""

    status, errcode = 403, "M_FORBIDDEN"
    sentence = "This account cannot be used on this server: ask its administrator."


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


class WrongMac(Forbidden):
    sentence = "The mac does not fit: is it made with this server's shared secret?"


class WrongReplicationSecret(RegistrationError):
    """For a worker: no other refusal has this status and errcode."""

    status, errcode = 401, "M_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__("This needs the worker_replication_secret of this server.")


class WrongCall(InvalidParam):
    """For a worker: its call makes no sense."""


class CallReused(RegistrationError):
    """For a worker: another call had this id (threat B2)."""

    status, errcode = 409, "M_INVALID_PARAM"

    def __init__(self) -> None:
        super().__init__("Another call had this id, for another user or with another body.")


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


class PasswordRefused(RegistrationError):
    """The password does not fulfil the policy; ``errcode`` says which part of it (contract
    B14.3)."""

    def __init__(self, errcode: str, text: str) -> None:
        super().__init__(text)
        self.errcode = errcode


# --- Third-party identifiers, and the messages that validate them -----------------------------


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


class ExternalIdInUse(RegistrationError):
    status, sentence = 409, "Another account belongs to this user of the other system."


class ThreepidNotFound(RegistrationError):
    errcode, sentence = "M_THREEPID_NOT_FOUND", "No account here has this address."


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
    """An address was not validated. Clients look for ``success``.

    ``errcode``: M_NO_VALID_SESSION if there is no such validation session, it has expired, or the
    client secret is wrong (clients cannot tell which); M_TOKEN_INCORRECT for a wrong code or link.
    ``may_try_again``: another code may be the right one.
    """

    def __init__(self, errcode: str, text: str, may_try_again: bool = False) -> None:
        super().__init__(text, success=False)
        self.errcode = errcode
        self.may_try_again = may_try_again


# --- Between processes: for the operator, no client gets it ------------------------------------


class NoAnswer(Exception):
    """Another server gave no answer to work with; the text says why, for an operator."""


class ShadowServerRefused(Exception):
    """The shadow server has refused an account, and would again; the text says how, for an
    operator."""


class NoMaster(Exception):
    """The master has not answered, or not in full; the text says why. It may have done what it was
    asked for."""


# --- Rooms: for the operator, no client gets them ---------------------------------------------


class RoomRefused(Exception):
    """Something about a room could not be done; the text says what and why. A retry may work."""


class RoomTaken(RoomRefused):
    """The alias of a room to be created already belongs to a room."""
