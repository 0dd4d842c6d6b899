"""The operator's rules about user names: denied, allowed, look-alikes, lengths."""

from __future__ import annotations

import re
from typing import Iterable, Mapping, Optional, Sequence

import attr
from twisted.logger import Logger

from regsys.config import ConfigError, NamesConfig
from regsys.config.names import CONTAINS, EXACT, FLAGS, PREFIX, REGEX, SUFFIX, NameRule, rules_in
from regsys.errors import InvalidUsername, UsernameReserved, sentence

log = Logger()

KEPT = sentence("This server does not give out this user name: choose another one.")

_ALIKE = str.maketrans("0134578i", "oleastbl", "._=-/+")

ByLength = Mapping[int, frozenset[str]]


def skeleton(name: str) -> str:
    """The same for names that look alike: ``adm1n``, ``a.d.m.i.n`` and ``adrnin`` have that of
    ``admin``."""
    return name.translate(_ALIKE).replace("rn", "m").replace("vv", "w")


@attr.frozen
class NameMatcher:
    """Rules, compiled: the cost of a look-up depends on the lengths of the rules' texts, not on
    their number, but for patterns, which are one regular expression."""

    exact: frozenset[str]
    prefixes: ByLength
    suffixes: ByLength
    parts: ByLength
    pattern: Optional[re.Pattern[str]]

    @classmethod
    def of(cls, rules: Iterable[NameRule]) -> NameMatcher:
        texts: dict[str, set[str]] = {}
        for rule in rules:
            texts.setdefault(rule.kind, set()).add(rule.text)
        patterns = sorted(texts.get(REGEX, ()))
        whole = "|".join(f"(?:{pattern})" for pattern in patterns)
        return cls(
            exact=frozenset(texts.get(EXACT, ())),
            prefixes=_by_length(texts.get(PREFIX, ())),
            suffixes=_by_length(texts.get(SUFFIX, ())),
            parts=_by_length(texts.get(CONTAINS, ())),
            pattern=re.compile(whole, FLAGS) if patterns else None,
        )

    def matches(self, name: str) -> bool:
        return (
            name in self.exact
            or any(name[:size] in texts for size, texts in self.prefixes.items())
            or any(name[-size:] in texts for size, texts in self.suffixes.items())
            or any(
                name[start : start + size] in texts
                for size, texts in self.parts.items()
                for start in range(len(name) - size + 1)
            )
            or (self.pattern is not None and self.pattern.fullmatch(name) is not None)
        )


def _by_length(texts: Iterable[str]) -> ByLength:
    found: dict[int, set[str]] = {}
    for text in texts:
        found.setdefault(len(text), set()).add(text)
    return {size: frozenset(of_size) for size, of_size in found.items()}


@attr.define(eq=False)
class NameRules:
    """The rules of the configuration and of its files, which ``reload`` reads again."""

    config: NamesConfig
    _in_files: dict[str, frozenset[NameRule]]
    _deny: NameMatcher = attr.field(init=False)
    _allow: NameMatcher = attr.field(init=False)
    _only: NameMatcher = attr.field(init=False)
    # What the names look like that are denied whole.
    _protected: frozenset[str] = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._compile()

    @classmethod
    def load(cls, config: NamesConfig) -> NameRules:
        """Read the files. Raises ConfigError if one is missing or broken."""
        in_files = {}
        for path in filter(None, (config.deny_file, config.allow_file)):
            try:
                in_files[path] = rules_in(path)
            except (OSError, ValueError) as error:
                raise ConfigError([f"{path}: cannot be used: {error} — mend it"]) from None
        return cls(config, in_files)

    def check(self, localpart: str) -> None:
        """Raise the refusal of a name that keeps the grammar, if any."""
        config = self.config
        if config.min_length is not None and len(localpart) < config.min_length:
            refusal = InvalidUsername("This user name is too short here: choose a longer one.")
            raise refusal.by_rule("name-rule min_length")
        if config.max_length is not None and len(localpart) > config.max_length:
            refusal = InvalidUsername("This user name is too long here: choose a shorter one.")
            raise refusal.by_rule("name-rule max_length")
        if config.only and not self._only.matches(localpart):
            refusal = InvalidUsername("This server does not give out user names of this form.")
            raise refusal.by_rule("name-rule only")
        denied = self._denied_by(localpart)
        if denied is not None and not self._allow.matches(localpart):
            raise UsernameReserved(KEPT).by_rule(f"name-rule {denied}")

    def _denied_by(self, localpart: str) -> Optional[str]:
        """The option that denies it; None if none does."""
        if self._deny.matches(localpart):
            return "deny"
        if self._protected and skeleton(localpart) in self._protected:
            return "look_alikes"
        return None

    def reload(self) -> Sequence[str]:
        """Read the files now, and return what has changed, in words for the log. A file that cannot
        be used is logged, and its last good rules stay."""
        changes = []
        for path, before in self._in_files.items():
            try:
                now = rules_in(path)
            except (OSError, ValueError) as error:
                log.error(
                    "{path} cannot be used, the earlier rules stay in use: {reason}",
                    path=path,
                    reason=str(error),
                )
                continue
            if now != before:
                self._in_files[path] = now
                more, fewer = len(now - before), len(before - now)
                changes.append(f"{path} ({more} rules more, {fewer} fewer)")
        if changes:
            self._compile()
        return changes

    def _compile(self) -> None:
        config, none = self.config, frozenset[NameRule]()
        deny = config.deny | self._in_files.get(config.deny_file or "", none)
        self._deny = NameMatcher.of(deny)
        self._allow = NameMatcher.of(
            config.allow | self._in_files.get(config.allow_file or "", none)
        )
        self._only = NameMatcher.of(config.only)
        alike = self._deny.exact if config.look_alikes else ()
        # Of a name made of separators alone nothing is left, and nothing looks like it.
        self._protected = frozenset(map(skeleton, alike)) - {""}
