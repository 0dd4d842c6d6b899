"""How the texts begin that a regular expression matches: what makes an index of many of them.

Nothing here is guessed: where the beginning is not plain, the answer is that it may be anything.
"""

from __future__ import annotations

import itertools
import operator
import re
from typing import Collection, Optional, Sequence

# A regex as it is read: an escape, a character class, or any one character. A "]" that comes first
# in a class is one of its members.
_SIGN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_ANYTHING = frozenset({""})
# Groups that only group, and those that only look: all others ("(?i:", "(?#", "(?(1)", …) may
# change how what follows is read.
_READABLE = re.compile(r"\(\?(?!:|P<|=|!|<=|<!)")
_OPENING = re.compile(r"\((?:\?:|\?P<\w+>)?")
# Behind something: it may be missing.
_OPTIONAL = frozenset("*?{")
_SPECIAL = frozenset(".^$*+?{}[]()|\\")
# More beginnings than this are told by what they have in common.
_MOST = 64


def prefixes(regex: re.Pattern[str]) -> frozenset[str]:
    """Texts of which every text that ``regex`` matches at its start begins with one.

    The empty one among them: it may begin with anything.
    """
    if regex.flags & (re.IGNORECASE | re.VERBOSE) or _READABLE.search(regex.pattern):
        return _ANYTHING
    found = _of_alternatives(_SIGN.findall(regex.pattern))
    return found if "" not in found and len(found) <= _MOST else frozenset({_common(found)})


def _of_alternatives(signs: Sequence[str]) -> frozenset[str]:
    """The beginnings of what stands between top-level bars."""
    found: set[str] = set()
    start = depth = 0
    for place, sign in enumerate([*signs, "|"]):
        depth += (sign == "(") - (sign == ")")
        if place == len(signs) or (sign == "|" and depth == 0):
            found |= _of_sequence(signs[start:place])
            start = place + 1
    return frozenset(found)


def _of_sequence(signs: Sequence[str]) -> frozenset[str]:
    """The beginnings of one alternative: its leading characters, then those of a group."""
    literal = ""
    for place, sign in enumerate(signs):
        if place == 0 and sign == "^":
            continue
        follower = signs[place + 1] if place + 1 < len(signs) else ""
        if sign == "(":
            return frozenset(literal + more for more in _of_group(signs[place:]))
        character = _character(sign)
        if character is None or follower in _OPTIONAL:
            break
        literal += character
        if follower == "+":
            break
    return frozenset({literal})


def _of_group(signs: Sequence[str]) -> frozenset[str]:
    """The beginnings of the group that opens here; anything if it may be missing."""
    depth = 0
    end = 0
    while depth or not end:
        depth += (signs[end] == "(") - (signs[end] == ")")
        end += 1
    follower = signs[end] if end < len(signs) else ""
    inside = _OPENING.sub("", "".join(signs[: end - 1]), count=1)
    if follower in _OPTIONAL or inside.startswith("?"):
        return _ANYTHING
    return _of_alternatives(_SIGN.findall(inside))


def _common(texts: Collection[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: sum(1 for _ in itertools.takewhile(bool, map(operator.eq, first, last)))]


def _character(sign: str) -> Optional[str]:
    """The one character that the sign stands for; None if it stands for several, or a place."""
    if len(sign) == 2 and sign[0] == "\\":
        # A letter or digit behind a backslash has a meaning of its own.
        return None if sign[1].isalnum() else sign[1]
    return sign if len(sign) == 1 and sign not in _SPECIAL else None
