"""The base class of all errors, and errors of requests of any kind."""

from __future__ import annotations

from typing import Any, ClassVar, Optional


def sentence(text: str) -> str:
    """Returns the text, and marks it for translation."""
    return text


class RegistrationError(Exception):
    """An error that a client gets.

    ``extra``: further keys of the JSON body. ``retry_after_ms``, if it is not None, also becomes
    the ``Retry-After`` header. ``reason``: what the log says instead of the text, if clients must
    not learn it.
    """

    status: int = 400
    errcode: str = "M_UNKNOWN"
    sentence: ClassVar[str] = "The request was refused."
    reason: Optional[str] = None

    def __init__(self, text: Optional[str] = None, **extra: Any) -> None:
        super().__init__(text or self.sentence)
        self.text = text or self.sentence
        self.extra = extra

    @property
    def retry_after_ms(self) -> Optional[int]:
        return self.extra.get("retry_after_ms")


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
