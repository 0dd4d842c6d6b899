"""Refusals of the master: on the wire, and as the errors that they were (contract B11.1)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from regsys import errors
from regsys.errors import RegistrationError

# Under this key our own master names the class of the error: some have the same errcode.
KIND = "regsys_error"
_NOT_EXTRA = frozenset({"errcode", "error", KIND, "_INT_STREAM_POS"})
# By errcode what a foreign master refuses with, as far as the callers of a writer tell it apart.
_BY_ERRCODE: Mapping[str, type[RegistrationError]] = {
    kind.errcode: kind
    for kind in (
        errors.UsernameTaken,
        errors.UsernameReserved,
        errors.InvalidUsername,
        errors.ThreepidInUse,
        errors.ThreepidDenied,
        errors.UnknownToken,
        errors.UserNotFound,
        errors.UserDeactivated,
        errors.AwaitingApproval,
        errors.LimitExceeded,
        errors.ResourceLimitExceeded,
        errors.InvalidParam,
        errors.BadJSON,
        errors.TooLarge,
    )
}


def refusal_body(error: RegistrationError) -> dict[str, Any]:
    return {**error.body, KIND: type(error).__name__}


def refusal_of(status: int, body: Any) -> Optional[RegistrationError]:
    """The error that this answer is; None if it is no refusal: it has no errcode."""
    if not isinstance(body, Mapping) or not isinstance(body.get("errcode"), str):
        return None
    kind = getattr(errors, str(body.get(KIND)), None)
    if not (isinstance(kind, type) and issubclass(kind, RegistrationError)):
        kind = _BY_ERRCODE.get(body["errcode"], RegistrationError)
    text = body.get("error")
    # Their constructors differ. What the error was made of is in the answer.
    error = kind.__new__(kind)
    RegistrationError.__init__(
        error,
        text if isinstance(text, str) else None,
        **{name: value for name, value in body.items() if name not in _NOT_EXTRA},
    )
    error.status, error.errcode = status, body["errcode"]
    return error
