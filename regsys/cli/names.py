"""The users whom arguments name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator, Optional, Sequence

from regsys.accounts.usernames import ascii_lower
from regsys.errors import RegistrationError
from regsys.model import UserID


def user_id_of(text: str, server_name: str) -> UserID:
    """Of a whole user ID, or of the part before the colon. RegistrationError."""
    if not text.startswith("@"):
        return UserID(ascii_lower(text), server_name)
    try:
        user_id = UserID.parse(text)
    except ValueError:
        raise RegistrationError(f"{text!r} is no user ID: write @name:{server_name}") from None
    if user_id.server != server_name:
        raise RegistrationError(f"{user_id} is not of this server, {server_name}")
    return user_id


def names_in(path: Optional[str]) -> Sequence[str]:
    """The names in a file (``-``: standard input), one a line; empty lines and those that begin
    with # do not count. RegistrationError if it cannot be read."""
    if path is None:
        return ()
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RegistrationError(f"{path} cannot be read: {error}") from None
    return list(_names(text))


def _names(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield name
