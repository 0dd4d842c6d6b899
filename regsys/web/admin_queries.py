"""What the administrators' endpoints read from paths and queries."""

from __future__ import annotations

from typing import Optional, Sequence

from regsys.errors import InvalidParam
from regsys.http import Call
from regsys.model import UserID

# Larger numbers than any list has, and any database's OFFSET takes.
MOST = 2**53


def local_user(call: Call, server_name: str) -> UserID:
    """The user ID in the path, which is of this server; InvalidParam."""
    return _whole_id(call.path_args["user_id"], server_name)


def user_id_of(text: str, server_name: str) -> UserID:
    """Of a whole user ID, or of the part before the colon. InvalidParam for another server's."""
    return _whole_id(text, server_name) if text.startswith("@") else UserID(text, server_name)


def _whole_id(text: str, server_name: str) -> UserID:
    try:
        user_id = UserID.parse(text)
    except ValueError:
        raise InvalidParam("A user ID looks like @name:server.") from None
    if user_id.server != server_name:
        raise InvalidParam(f"That user is not of this server, {server_name}.")
    return user_id


def flag(call: Call, name: str) -> Optional[bool]:
    """True, False, or None if there is none; InvalidParam."""
    value = call.query(name)
    if value not in (None, "true", "false"):
        raise InvalidParam(f"'{name}' must be true or false.")
    return None if value is None else value == "true"


def number(call: Call, name: str, otherwise: int) -> int:
    """A number that is not negative; InvalidParam."""
    text = call.query(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= MOST):
        raise InvalidParam(f"'{name}' must be a number from 0.")
    return int(text)


def one_of(call: Call, name: str, known: Sequence[str], otherwise: str) -> str:
    """One of the known words; InvalidParam."""
    value = call.query(name)
    if value is None:
        return otherwise
    if value not in known:
        raise InvalidParam(f"'{name}' must be one of: {', '.join(known)}.")
    return value
