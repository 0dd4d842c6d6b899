"""Finds the literal prefixes of the texts that a regular expression matches, to index many of them.

Where a prefix is not certain, the result says that a match may begin with anything.
"""

from __future__ import annotations

import itertools
import operator
import re
from typing import Collection, Optional, Sequence

# One element of a regex: an escape, a character class, or a single character. A "]" that comes
# first in a class is one of its members.
_SIGN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_ANYTHING = frozenset({""})
# Matches any extension but groups and look-arounds: "(?i:", "(?#", "(?(1)", … may change the
# meaning of the rest.
_READABLE = re.compile(r"\(\?(?!:|P<|=|!|<=|<!)")
_OPENING = re.compile(r"\((?:\?:|\?P<\w+>)?")
# After an element these make it optional.
_OPTIONAL = frozenset("*?{")
_SPECIAL = frozenset(".^$*+?{}[]()|\\")
# More prefixes than this are replaced by their common prefix.
_MOST = 64


def prefixes(regex: re.Pattern[str]) -> frozenset[str]:
    """Prefixes: every text that ``regex`` matches at its start begins with one of them.

    The empty prefix among them means that a match may begin with anything.
    """
    if regex.flags & (re.IGNORECASE | re.VERBOSE) or _READABLE.search(regex.pattern):
        return _ANYTHING
    texts = _of_alternatives(_SIGN.findall(regex.pattern))
    return texts if "" not in texts and len(texts) <= _MOST else frozenset({_common(texts)})


def _of_alternatives(signs: Sequence[str]) -> frozenset[str]:
    """The prefixes of the alternatives between top-level bars."""
    texts: set[str] = set()
    start = depth = 0
    for place, sign in enumerate([*signs, "|"]):
        depth += (sign == "(") - (sign == ")")
        if place == len(signs) or (sign == "|" and depth == 0):
            texts |= _of_sequence(signs[start:place])
            start = place + 1
    return frozenset(texts)


def _of_sequence(signs: Sequence[str]) -> frozenset[str]:
    """The prefixes of one alternative: its leading characters, then those of a group."""
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
    """The prefixes of the group that opens here; the empty one if the group is optional."""
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
    """The one character that the element matches; None if it matches several, or a position."""
    if len(sign) == 2 and sign[0] == "\\":
        # A letter or digit after a backslash has a special meaning.
        return None if sign[1].isalnum() else sign[1]
    return sign if len(sign) == 1 and sign not in _SPECIAL else None
