"""Typed values from a YAML mapping; all problems are collected for one report (contract B15)."""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence
from urllib.parse import urlsplit

import attr

from regsys.config.hosts import ascii_host
from regsys.config.secret_files import secret_in_file
from regsys.model import Secret

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
YEAR_MS = 365 * DAY_MS

_UNITS_MS = {
    "": 1,
    "s": 1000,
    "m": MINUTE_MS,
    "h": 60 * MINUTE_MS,
    "d": DAY_MS,
    "w": 7 * DAY_MS,
    "y": YEAR_MS,
}
_DURATION = re.compile(r"([0-9]{1,15})([smhdwy]?)")
# Later times would not fit the database's integers.
_LONGEST_MS = 1000 * YEAR_MS

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0"), False),
}
_KINDS = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
_HIDDEN = object()


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` has one line for each thing to mend.

    ``hints``: warnings of the same files that may be the cause, such as a misspelt name; they are
    printed first.
    """

    def __init__(self, problems: Sequence[str], hints: Sequence[str] = ()) -> None:
        self.problems, self.hints = list(problems), list(hints)
        lines = ["The configuration cannot be used:", *self.hints, *self.problems]
        super().__init__("\n  ".join(lines))


def duration_ms(value: object) -> Optional[int]:
    """The milliseconds of ``90s``, ``5m``, ``1h``, ``2d``, ``1w``, ``1y`` or of a bare number; None
    if it is not a duration."""
    match = _DURATION.fullmatch(str(value))
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def is_on(value: object) -> bool:
    """Whether an option is switched on: true, a word for it, or anything else that is not empty."""
    return _WORDS.get(str(value).lower(), bool(value))


def is_given(value: object) -> bool:
    """Whether an option has a value, other than null and blank text."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def is_url(text: str) -> bool:
    """Whether it is an absolute http or https URL, with a host, in printable ASCII."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.port != 0
        good = good and ascii_host(parts.hostname or "") is not None
    except ValueError:
        return False
    return good and text.isascii() and text.isprintable() and " " not in text


def fits_a_header(token: str) -> bool:
    """Whether a token can be sent in the header Authorization."""
    return token.isascii() and token.isprintable() and " " not in token


def knows_only(text: str, *names: str) -> bool:
    """Whether the text is a valid ``%`` template with no other names than these."""
    return re.fullmatch(rf"(?:[^%]|%%|%\((?:{'|'.join(names)})\)s)*", text) is not None


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _quoted(value: object) -> str:
    """The value for a problem's line; of a list or mapping, which may hold a secret, its kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "…")
    return str(value) if isinstance(value, (int, float)) else _kind(value)


@attr.define(eq=False)
class Reader:
    """One mapping of the file: returns typed values by name, and records problems.

    An option that is absent or null is None (or the given default). One that is wrong is recorded
    in ``problems`` and then treated as absent, so that one report has all problems. ``path`` is
    where the mapping stands in the file; ``problems`` and ``warnings`` are shared by all readers of
    one file. ``asked``: the names that this reader was asked for; ``skipped``: those that are not
    used after all. ``makes_files``: whether a missing secret file may be created.
    """

    data: Mapping[Any, Any]
    path: str = ""
    problems: list[str] = attr.field(factory=list)
    warnings: list[str] = attr.field(factory=list)
    asked: set[str] = attr.field(factory=set)
    skipped: list[str] = attr.field(factory=list)
    children: dict[str, Reader] = attr.field(factory=dict)
    makes_files: bool = True

    def name_of(self, name: str) -> str:
        """The full, dotted name of an option of this mapping."""
        return f"{self.path}.{name}" if self.path else str(name)

    def problem(self, name: str, wrong: str, mend: str, value: object = _HIDDEN) -> None:
        """Record a problem. Leave ``value`` out if it is, or may hold, a secret."""
        quoted = "" if value is _HIDDEN else f" ({_quoted(value)})"
        self.problems.append(f"{self.name_of(name)}: {wrong}{quoted} — {mend}")

    def take(self, name: str) -> Any:
        """The raw value, which counts as read; None if absent."""
        self.asked.add(name)
        return self.data.get(name)

    def peek(self, dotted: str) -> Any:
        """The raw value at a dotted name below, without counting it as read; None if absent."""
        value: Any = self.data
        for name in dotted.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def skip(self, name: str) -> None:
        """Record that this option, with all below it, is not used after all."""
        self.children.pop(name, None)
        self.skipped.append(name)

    def unread(self) -> Iterator[tuple[Reader, str]]:
        """Every option that is in the file but not used, with its mapping's reader."""
        for name in [*self.skipped, *(key for key in self.data if key not in self.asked)]:
            yield self, name
        for child in self.children.values():
            yield from child.unread()

    # --- Mappings within -----------------------------------------------------------------

    def section(self, name: str) -> Reader:
        """The mapping of this name; an empty one if absent."""
        return self._child(name, self.take(name))

    def items(self, name: str) -> list[Reader]:
        """The mappings of a list."""
        found = self._list(name)
        return [self._child(f"{name}[{index}]", item) for index, item in enumerate(found)]

    def _child(self, name: str, value: object) -> Reader:
        if name not in self.children:
            if value is not None and not isinstance(value, Mapping):
                self.problem(name, f"{_kind(value)}, not a mapping", "write options below it")
            data = value if isinstance(value, Mapping) else {}
            path = self.name_of(name)
            self.children[name] = Reader(
                data, path, self.problems, self.warnings, makes_files=self.makes_files
            )
        return self.children[name]

    def _list(self, name: str) -> list[Any]:
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            self.problem(name, f"{_kind(value)}, not a list", "write its items as [a, b]")
        return value if isinstance(value, list) else []

    # --- Values --------------------------------------------------------------------------

    def _expect(
        self, name: str, fits: Callable[[Any], bool], wanted: str, mend: str = ""
    ) -> Optional[Any]:
        value = self.take(name)
        if value is None or fits(value):
            return value
        self.problem(name, f"not {wanted}", mend or "write one, or leave the option out", value)
        return None

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false; not a word for it."""
        value = self._expect(
            name, lambda found: isinstance(found, bool), "a boolean", "write true or false"
        )
        return default if value is None else bool(value)

    def word_flag(self, name: str) -> Optional[bool]:
        """true or false, or a word for it such as ``"yes"``."""
        value = self._expect(
            name, lambda found: str(found).lower() in _WORDS, "a boolean", "write true or false"
        )
        return None if value is None else is_on(value)

    def text(self, name: str) -> Optional[str]:
        """Text; None if empty."""
        value = self._expect(name, lambda found: isinstance(found, str), "text", "put it in quotes")
        return value or None

    def file(self, name: str) -> Optional[str]:
        """The path of a file that can be read."""
        path = self.text(name)
        if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            self.problem(name, "not a file that can be read", "mend the path or the file", path)
        return path

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self._list(name)
        for index, item in enumerate(found):
            if not isinstance(item, str):
                self.problem(f"{name}[{index}]", "not text", "put it in quotes", item)
        return tuple(item for item in found if isinstance(item, str))

    def choice(self, name: str, choices: Sequence[str]) -> Optional[str]:
        """One of a few words."""
        mend = "write one of " + ", ".join(choices)
        return self._expect(name, lambda found: found in choices, "known here", mend)

    def whole(self, name: str, least: int, most: int) -> Optional[int]:
        """A whole number within bounds, both included."""
        return self._expect(
            name,
            lambda found: type(found) is int and least <= found <= most,
            f"a whole number from {least} to {most}",
        )

    def number(self, name: str, least: float, most: float) -> Optional[float]:
        """A number within bounds, both included."""
        value = self._expect(
            name,
            lambda found: type(found) in (int, float) and least <= found <= most,
            f"a number from {least:g} to {most:g}",
        )
        return None if value is None else float(value)

    def duration(self, name: str) -> Optional[int]:
        """A duration in milliseconds, from 1."""
        value = self._expect(
            name,
            lambda found: 1 <= (duration_ms(found) or 0) <= _LONGEST_MS,
            "a duration",
            "write a number with one of s m h d w y, such as 10m, at most 1000y",
        )
        return duration_ms(value)

    def secret(self, name: str, *, makes_file: bool = False) -> Optional[Secret]:
        """A secret, inline or from the file that ``<name>_path`` names, white space stripped.

        The empty string counts as not set, with a warning: packages of distributions write it.
        ``makes_file``: create a missing file.
        """
        inline, path = self.take(name), self.text(f"{name}_path")
        if inline is not None and not is_given(inline):
            self.warnings.append(
                f"{self.name_of(name)} is empty and counts as not set: leave it out, or give it"
                " its value."
            )
            inline = None
        if inline is not None and path is not None:
            self.problem(name, f"given twice, here and by {name}_path", "keep one of the two")
        elif path is not None:
            return secret_in_file(self, f"{name}_path", path, makes_file)
        elif inline is not None and not isinstance(inline, str):
            self.problem(name, f"{_kind(inline)}, not text", "put it in quotes")
        else:
            return None if inline is None else Secret(inline)
        return None
