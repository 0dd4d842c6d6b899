"""What every refusal is, and what is wrong with requests of any kind."""

from __future__ import annotations

from typing import Any, ClassVar, Optional


def sentence(text: str) -> str:
    """The same text: it is for people, and so for the catalogues of their languages."""
    return text


class RegistrationError(Exception):
    """A refusal that a client is told about.

    ``extra`` are further keys of the JSON answer. ``retry_after_ms`` (None: no hint) also
    becomes the ``Retry-After`` header. ``reason``: what the log says instead of the text, where
    clients must not learn it; None: the text.
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
    """Something this server doesn't know: 400 for a value; the path's own kinds follow."""

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
    """Too many requests, or a refusal that must look like it (contract B2.2)."""

    status, errcode, sentence = 429, "M_LIMIT_EXCEEDED", "Too many requests: try again later."

    def __init__(
        self, retry_after_ms: int, text: Optional[str] = None, reason: Optional[str] = None
    ) -> None:
        super().__init__(text, retry_after_ms=max(1, retry_after_ms))
        self.reason = reason


class ClientLeft(RegistrationError):
    """The client has closed its connection before its request's turn came: nothing was done, and
    nobody reads this."""

    sentence = "The client has left."


class Unavailable(RegistrationError):
    """A service that regsys needs is down or slow; nothing was changed, a later try may work."""

    status, sentence = 503, "The server cannot do this at the moment: try again shortly."

    def __init__(self, text: Optional[str] = None, retry_after_ms: int = 2000) -> None:
        super().__init__(text, retry_after_ms=retry_after_ms)
