"""Rules of an operator about the user names that people may choose."""

from __future__ import annotations

import re
from typing import Iterable, Optional

import attr

from regsys.config.values import Reader
from regsys.model.identity import MAX_USER_ID_BYTES

EXACT, PREFIX, SUFFIX, CONTAINS, REGEX = "exact", "prefix", "suffix", "contains", "regex"
# Names are in lower case; a pattern with capitals must not silently match nothing.
FLAGS = re.IGNORECASE | re.ASCII

_LITERAL = re.compile(r"(\*?)([a-z0-9._=/+-]+)(\*?)")
_KINDS = {
    ("", ""): EXACT,
    ("", "*"): PREFIX,
    ("*", ""): SUFFIX,
    ("*", "*"): CONTAINS,
}
_MEND = "write name, name*, *name, *name* or /pattern/"

# Names that look official, and those that RFC 2142 gives to the people who run a service.
_STARTERS = """
abuse account accounts admin administrator administration admins bot billing bugs contact daemon
everyone feedback ftp guest help helpdesk here homeserver hostmaster imprint info legal localhost
mail mailer-daemon marketing matrix mod moderation moderator moderators mods mxid news nobody
no-reply noc noreply notifications null official operator operators owner postmaster privacy
registration regsys robot room root sales secure security server service smtp staff status
superuser support sysadmin system team test trust undefined usenet user users uucp verification
verify webmaster www
"""
STARTER_NAMES = frozenset(_STARTERS.split())


@attr.frozen
class NameRule:
    """``text`` is what a name is compared with: whole, its begin, its end, a part, or a pattern
    that must match all of it, as ``kind`` says."""

    kind: str
    text: str


@attr.frozen(kw_only=True)
class NamesConfig:
    """``deny`` and ``allow``, each with the rules of a file besides if its path is given. A name
    that is allowed passes whatever denies it. If ``only`` is not empty, one of its rules must match
    as well. ``look_alikes``: names that look like one that is denied whole are denied, too. The
    lengths are in characters; None for no bound of ours."""

    deny: frozenset[NameRule] = frozenset()
    allow: frozenset[NameRule] = frozenset()
    only: frozenset[NameRule] = frozenset()
    deny_file: Optional[str] = None
    allow_file: Optional[str] = None
    look_alikes: bool = True
    min_length: Optional[int] = None
    max_length: Optional[int] = None


def read_names(section: Reader) -> NamesConfig:
    starters = STARTER_NAMES if section.flag("starter_list") else frozenset()
    config = NamesConfig(
        deny=_read_rules(section, "deny") | {NameRule(EXACT, name) for name in starters},
        allow=_read_rules(section, "allow"),
        only=_read_rules(section, "only"),
        deny_file=_read_file(section, "deny_file"),
        allow_file=_read_file(section, "allow_file"),
        look_alikes=section.flag("look_alikes", default=True),
        min_length=section.whole("min_length", 1, MAX_USER_ID_BYTES),
        max_length=section.whole("max_length", 1, MAX_USER_ID_BYTES),
    )
    if (config.max_length or MAX_USER_ID_BYTES) < (config.min_length or 1):
        mend = "raise it, or lower min_length"
        section.problem("max_length", "below min_length", mend, config.max_length)
    return config


def rules_in(path: str) -> frozenset[NameRule]:
    """The rules in a file, one a line. A ``#`` at the begin of a line or after white space begins a
    comment. Raises OSError, or ValueError for a line that is no rule."""
    with open(path, encoding="utf-8") as file:
        lines = [re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in file]
    return frozenset(_numbered(lines))


def _numbered(lines: Iterable[str]) -> Iterable[NameRule]:
    for number, line in enumerate(lines, 1):
        if line:
            try:
                yield parse_rule(line)
            except ValueError as error:
                raise ValueError(f"line {number} {error}") from None


def parse_rule(text: str) -> NameRule:
    """The rule that is written ``name``, ``name*``, ``*name``, ``*name*`` or ``/pattern/``.
    Raises ValueError, whose text says what the rule is instead."""
    if len(text) > 2 and text[0] == text[-1] == "/":
        _check_pattern(text[1:-1])
        return NameRule(REGEX, text[1:-1])
    match = _LITERAL.fullmatch(text.lower()) if text.isascii() else None
    if match is None:
        raise ValueError("is no rule: a name has only the characters a-z 0-9 . _ = - / +")
    return NameRule(_KINDS[match[1], match[3]], match[2])


def _check_pattern(pattern: str) -> None:
    """Raise ValueError unless the pattern may be an alternative of a larger one."""
    try:
        compiled = re.compile(pattern, FLAGS)
        # Flags for a whole pattern are an error here.
        re.compile(f"(?:{pattern})", FLAGS)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if compiled.groups:
        raise ValueError("has a group that captures: write (?:…) in place of (…)")


def _read_rules(section: Reader, name: str) -> frozenset[NameRule]:
    rules = set()
    for index, text in enumerate(section.texts(name)):
        try:
            rules.add(parse_rule(text.strip()))
        except ValueError as error:
            section.problem(f"{name}[{index}]", str(error), _MEND, text)
    return frozenset(rules)


def _read_file(section: Reader, name: str) -> Optional[str]:
    path = section.text(name)
    try:
        if path is not None:
            rules_in(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        section.problem(name, f"cannot be used: {reason}", "mend the path or the file", path)
    return path
