"""``regsys: {names}``: how rules are written, and what is refused at the start."""

from __future__ import annotations

from typing import Any

from regsys.config import NamesConfig
from regsys.config.names import (
    CONTAINS,
    EXACT,
    PREFIX,
    REGEX,
    STARTER_NAMES,
    SUFFIX,
    NameRule,
    rules_in,
)
from tests.config.case import ConfigCase


class NamesTests(ConfigCase):
    def names(self, **options: Any) -> NamesConfig:
        return self.parse({"regsys": {"names": options}}).names

    def assertRefused(self, name: str, value: Any, *parts: str) -> None:
        self.assertProblem({"regsys": {"names": {name: value}}}, "regsys.names.", *parts)

    def test_forms(self) -> None:
        """Each form of a rule is one kind; capitals are those that a name has in lower case."""
        found = self.names(deny=["Admin", "mod*", "*bot", "*spam*", "/[a-z]{1,2}/"]).deny
        expected = {
            NameRule(EXACT, "admin"),
            NameRule(PREFIX, "mod"),
            NameRule(SUFFIX, "bot"),
            NameRule(CONTAINS, "spam"),
            NameRule(REGEX, "[a-z]{1,2}"),
        }
        self.assertEqual(found, expected)

    def test_noRules(self) -> None:
        """What could never match a name, or breaks the patterns beside it, is refused."""
        for text in ("a b", "é", "a*b", "*", "**", "@a:b", "", "\u212a"):
            self.assertRefused("deny", [text], "deny[0]", "is no rule")
        for text, reason in (
            ("/(/", "is no regular expression"),
            ("/a)|(?:b/", "is no regular expression"),
            ("/(?s)a/", "is no regular expression"),
            ("/(a)b/", "write (?:…)"),
            ("/(?P<x>a)/", "write (?:…)"),
        ):
            self.assertRefused("only", [text], "only[0]", reason)
        self.assertRefused("allow", [7], "allow[0]", "not text")

    def test_files(self) -> None:
        """A file has a rule a line, and comments; an error is reported with its line."""
        path = self.file("# ours\nadmin  # the boss\n\n*spam*\n/a#b/\n")
        expected = {NameRule(EXACT, "admin"), NameRule(CONTAINS, "spam"), NameRule(REGEX, "a#b")}
        self.assertEqual(rules_in(path), expected)
        self.assertEqual(self.names(deny_file=path).deny_file, path)
        for text, reason in (("a\nb c\n", "line 2 is no rule"), ("/(a)/", "line 1 has a group")):
            self.assertRefused("allow_file", self.file(text), "allow_file", reason)
        self.assertRefused("deny_file", "/nowhere/names", "deny_file", "No such file")

    def test_lengths(self) -> None:
        """Bounds are those of a user ID at most, and leave some names."""
        self.assertEqual(self.names(min_length=3, max_length=3).min_length, 3)
        self.assertRefused("min_length", 0, "from 1 to 255")
        self.assertRefused("max_length", 256, "from 1 to 255")
        self.assertProblem(
            {"regsys": {"names": {"min_length": 4, "max_length": 3}}}, "max_length", "below"
        )

    def test_starterList(self) -> None:
        """It is off by default; all that is on it is a rule, and some names must be."""
        self.assertEqual(self.names(), NamesConfig())
        found = self.names(starter_list=True, deny=["x"]).deny
        self.assertEqual(found, {NameRule(EXACT, name) for name in STARTER_NAMES | {"x"}})
        known = "admin root support postmaster abuse security moderator noreply".split()
        self.assertEqual(set(known) - STARTER_NAMES, set())
        again = self.names(deny=sorted(STARTER_NAMES)).deny
        self.assertEqual({rule.kind for rule in again}, {EXACT})
