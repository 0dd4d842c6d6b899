"""Namespaces of application services that match no user here, or that hide one another.

Only a regular expression of a simple form is judged; there is no warning of any other.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Iterator, Optional, Sequence

import attr

from regsys.model import Appservice, UserNamespace

# More exclusive namespaces are not compared with each other.
MOST_COMPARED = 500
# Possible ends of names. A namespace that matches several of these matches most names.
_ENDINGS = ("", "a", "z9", "0", "17", "4711", "_", "bot", "a.b-c=d/e+f", "_bot_x")
_ENOUGH = 3


@attr.frozen
class _Piece:
    """A character of a regular expression, or a whole group or class. ``literal``: it matches only
    itself."""

    text: str
    start: int
    end: int
    literal: bool

    @property
    def is_repeat(self) -> bool:
        """Whether it makes the piece before it optional."""
        return not self.literal and self.text in ("*", "?", "{")


def why_no_user_matches(namespace: UserNamespace, server_name: str) -> Optional[str]:
    """Why no user ID of this server can match; None if some may."""
    regex = namespace.regex
    pieces = _plain(regex)
    for piece, after in zip_longest(pieces, pieces[1:]):
        if after is not None and after.is_repeat:
            continue
        if piece is pieces[0] and piece.literal and piece.text != "@":
            return "it does not begin with @, as every user ID does"
        if piece.literal and piece.text == ":":
            return _other_domain(regex, regex.pattern[piece.end :], server_name)
    return None


def _other_domain(regex: re.Pattern[str], tail: str, server_name: str) -> Optional[str]:
    # The rest is the server's name: no localpart has a colon in it.
    try:
        found = re.compile(tail, regex.flags).match(server_name)
    except re.error:
        return None
    return None if found else f"its user IDs are another server's than {server_name}"


def _plain(regex: re.Pattern[str]) -> list[_Piece]:
    """The pieces in the order in which they match; none if the regex has alternatives."""
    pieces = _pieces(regex.pattern)
    if regex.flags & re.VERBOSE or any(_is(piece, "|") for piece in pieces):
        return []
    anchored = bool(pieces) and (_is(pieces[0], "^") or _is(pieces[0], "\\A"))
    return pieces[1:] if anchored else pieces


def _is(piece: _Piece, sign: str) -> bool:
    return not piece.literal and piece.text == sign


def shadowed(
    services: Sequence[Appservice], server_name: str
) -> Iterator[tuple[Appservice, int, Appservice]]:
    """Each exclusive namespace (its service and its index there) all of whose names another service
    has for itself, too; of two equal ones the later one."""
    exclusive = [
        (service, place, item)
        for service in services
        for place, item in enumerate(service.users)
        if item.exclusive
    ]
    if len(exclusive) > MOST_COMPARED:
        return
    reported: set[frozenset[str]] = set()
    for service, place, item in reversed(exclusive):
        samples = _samples(item, server_name)
        for other in services if samples else ():
            pair = frozenset((service.id, other.id))
            if other is not service and pair not in reported and _keeps(other, samples):
                reported.add(pair)
                yield service, place, other


def is_kept(service: Appservice, user_id: str) -> bool:
    """Whether the service has this name for itself."""
    deciding = (item.exclusive for item in service.users if item.regex.match(user_id))
    return next(deciding, False)


def _keeps(service: Appservice, samples: Sequence[str]) -> bool:
    return all(is_kept(service, sample) for sample in samples)


def _samples(namespace: UserNamespace, server_name: str) -> Sequence[str]:
    """User IDs that stand for all that match; none if that cannot be told."""
    regex = namespace.regex
    pieces, start = _plain(regex), ""
    for piece, after in zip_longest(pieces, pieces[1:]):
        if not piece.literal or (after is not None and after.is_repeat):
            break
        start += piece.text
    if not start:
        return ()
    if ":" in start:
        found = [start if start.endswith(server_name) else ""]
        return [user_id for user_id in found if regex.match(user_id)]
    wanted = [f"{start}{ending}:{server_name}" for ending in _ENDINGS]
    matching = [user_id for user_id in wanted if regex.match(user_id)]
    return matching if len(matching) >= _ENOUGH else ()


def _pieces(pattern: str) -> list[_Piece]:
    """The pieces of a valid pattern."""
    found = []
    at = 0
    while at < len(pattern):
        end = _end(pattern, at)
        text = pattern[at:end]
        literal = len(text) == 1 and text not in ".^$*+?{}|"
        if len(text) == 2 and text[0] == "\\" and not text[1].isalnum():
            text, literal = text[1], True
        found.append(_Piece(text, at, end, literal))
        at = end
    return found


def _end(pattern: str, at: int) -> int:
    """Where the piece that begins at ``at`` ends."""
    if pattern[at] == "\\":
        return at + 2
    if pattern[at] == "[":
        at += 2 if pattern[at + 1] == "^" else 1
        at += 1 if pattern[at] == "]" else 0
        while pattern[at] != "]":
            at += 2 if pattern[at] == "\\" else 1
        return at + 1
    if pattern[at] == "(":
        at += 1
        while pattern[at] != ")":
            at = _end(pattern, at)
        return at + 1
    return at + 1
