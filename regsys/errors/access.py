"""Errors of tokens, logins and user-interactive authentication."""

from __future__ import annotations

from typing import Optional

from regsys.errors.base import Forbidden, RegistrationError


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


class UnknownLoginType(RegistrationError):
    sentence = "This way of logging in is not on offer here."


class LoginFailed(Forbidden):
    """One error for an unknown user and a wrong password, so that clients cannot tell which it
    is."""

    sentence = "The user name or the password is wrong."


class UnknownSession(RegistrationError):
    sentence = "This registration session is unknown or has expired: start again."


class SessionFinished(RegistrationError):
    sentence = "This session has already registered another user name."


class WrongSession(Forbidden):
    sentence = "This session belongs to another request."


class UnknownStage(RegistrationError):
    """A stage type that does not exist, or is switched off on this server (contract B16.2)."""

    errcode, sentence = "M_UNRECOGNIZED", "This authentication stage is not on offer here."


class StageFailed(Exception):
    """A stage was tried and failed: becomes a 401 with the flows (contract B16.2).

    ``undoes``: an earlier result of the stage is no longer valid either.
    """

    def __init__(self, errcode: str, text: str, undoes: bool = False) -> None:
        super().__init__(text)
        self.errcode = errcode
        self.text = text
        self.undoes = undoes
