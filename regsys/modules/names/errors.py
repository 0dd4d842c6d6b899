"""The exceptions that modules raise and catch."""
# ruff: noqa: S105  # errcodes are no passwords

from __future__ import annotations

from enum import Enum
from typing import Any, Iterable, Mapping, Optional, Union

from regsys.errors import ModuleRefusal

# Whatever a method of the API object refuses is one, too.
SynapseError = ModuleRefusal


class Codes(str, Enum):
    """The errcodes of the Matrix specification, and what homeservers have beside them."""

    BAD_ALIAS = "M_BAD_ALIAS"
    BAD_JSON = "M_BAD_JSON"
    BAD_STATE = "M_BAD_STATE"
    CANNOT_LEAVE_SERVER_NOTICE_ROOM = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
    CAPTCHA_INVALID = "M_CAPTCHA_INVALID"
    CAPTCHA_NEEDED = "M_CAPTCHA_NEEDED"
    CONSENT_NOT_GIVEN = "M_CONSENT_NOT_GIVEN"
    EXCLUSIVE = "M_EXCLUSIVE"
    EXPIRED_ACCOUNT = "ORG_MATRIX_EXPIRED_ACCOUNT"
    FORBIDDEN = "M_FORBIDDEN"
    GUEST_ACCESS_FORBIDDEN = "M_GUEST_ACCESS_FORBIDDEN"
    INCOMPATIBLE_ROOM_VERSION = "M_INCOMPATIBLE_ROOM_VERSION"
    INVALID_PARAM = "M_INVALID_PARAM"
    INVALID_SIGNATURE = "M_INVALID_SIGNATURE"
    INVALID_USERNAME = "M_INVALID_USERNAME"
    LIMIT_EXCEEDED = "M_LIMIT_EXCEEDED"
    MISSING_PARAM = "M_MISSING_PARAM"
    MISSING_TOKEN = "M_MISSING_TOKEN"
    NOT_FOUND = "M_NOT_FOUND"
    NOT_JSON = "M_NOT_JSON"
    PASSWORD_NO_DIGIT = "M_PASSWORD_NO_DIGIT"
    PASSWORD_NO_LOWERCASE = "M_PASSWORD_NO_LOWERCASE"
    PASSWORD_NO_SYMBOL = "M_PASSWORD_NO_SYMBOL"
    PASSWORD_NO_UPPERCASE = "M_PASSWORD_NO_UPPERCASE"
    PASSWORD_TOO_SHORT = "M_PASSWORD_TOO_SHORT"
    RESOURCE_LIMIT_EXCEEDED = "M_RESOURCE_LIMIT_EXCEEDED"
    ROOM_IN_USE = "M_ROOM_IN_USE"
    SERVER_NOT_TRUSTED = "M_SERVER_NOT_TRUSTED"
    THREEPID_AUTH_FAILED = "M_THREEPID_AUTH_FAILED"
    THREEPID_DENIED = "M_THREEPID_DENIED"
    THREEPID_IN_USE = "M_THREEPID_IN_USE"
    THREEPID_NOT_FOUND = "M_THREEPID_NOT_FOUND"
    TOO_LARGE = "M_TOO_LARGE"
    UNAUTHORIZED = "M_UNAUTHORIZED"
    UNKNOWN = "M_UNKNOWN"
    UNKNOWN_TOKEN = "M_UNKNOWN_TOKEN"
    UNRECOGNIZED = "M_UNRECOGNIZED"
    UNSUPPORTED_ROOM_VERSION = "M_UNSUPPORTED_ROOM_VERSION"
    USER_AWAITING_APPROVAL = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
    USER_DEACTIVATED = "M_USER_DEACTIVATED"
    USER_IN_USE = "M_USER_IN_USE"
    USER_LOCKED = "M_USER_LOCKED"
    USER_SUSPENDED = "M_USER_SUSPENDED"
    WEAK_PASSWORD = "M_WEAK_PASSWORD"
    WRONG_ROOM_KEYS_VERSION = "M_WRONG_ROOM_KEYS_VERSION"


class ConfigError(Exception):
    """What ``parse_config`` raises; ``path`` names the option."""

    def __init__(self, msg: str, path: Optional[Union[str, Iterable[str]]] = None) -> None:
        super().__init__(msg)
        self.msg, self.path = msg, path


class AuthError(ModuleRefusal):
    """The user may not do this."""

    def __init__(
        self,
        code: int,
        msg: str,
        errcode: str = Codes.FORBIDDEN,
        additional_fields: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(code, msg, errcode, additional_fields)


class LoginError(ModuleRefusal):
    """Nobody can log in like this."""


class NotFoundError(ModuleRefusal):
    def __init__(self, msg: str = "Not found", errcode: str = Codes.NOT_FOUND) -> None:
        super().__init__(404, msg, errcode)


class StoreError(ModuleRefusal):
    """Something is not stored, or cannot be."""


class InvalidClientCredentialsError(ModuleRefusal):
    """The request has no access token of a user."""

    def __init__(self, msg: str, errcode: str) -> None:
        super().__init__(401, msg, errcode)


class MissingClientTokenError(InvalidClientCredentialsError):
    def __init__(self, msg: str = "An access token is needed.") -> None:
        super().__init__(msg, Codes.MISSING_TOKEN)


class InvalidClientTokenError(InvalidClientCredentialsError):
    def __init__(
        self, msg: str = "This token is not known or has expired.", soft_logout: bool = False
    ) -> None:
        super().__init__(msg, Codes.UNKNOWN_TOKEN)
        if soft_logout:
            self.extra["soft_logout"] = True


class CodeMessageException(Exception):
    """An answer of this status, for whoever raises it in a web resource."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(f"{code}: {msg}")
        self.code, self.msg = code, msg


class RedirectException(CodeMessageException):
    """A web resource sends the browser to another address."""

    def __init__(self, location: bytes, http_code: int = 302) -> None:
        super().__init__(http_code, f"Redirect to {location!r}")
        self.location = location
        self.cookies: list[bytes] = []
