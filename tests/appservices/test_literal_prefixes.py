"""The literal prefixes of a regular expression: never narrower than its matches."""

from __future__ import annotations

import re
import warnings
from typing import Any, Optional, Sequence

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from regsys.appservices.literal_prefixes import prefixes
from tests.support.scale import examples

PIECES = (
    *("@", "_", "irc", "a", "B", "ä", ".", ".*", "+", "*", "?", "{2}", "{0,1}", "{", "}", "*?"),
    *(r"\.", r"\|", r"\(", r"\)", r"\[", r"\\", r"\d", r"\w", r"\b", r"\A", r"\Z", r"\x41", r"\1"),
    *("[ab]", "[^a]", "[]a]", "[^]a]", "[|]", "[(]", r"[\]]", "[)", "[", "]", "^", "$", "|"),
    *("(", ")", "(?:", "(?P<n>", "(?=", "(?!", "(?<=", "(?<!", "(?i)", "(?i:", "(?x)", "(?x:"),
    *("(?#", "(?P=n)", "(?(1)", "#", "\n", " ", "(?s)", "(?m)", "(?a)"),
)


def compiled(text: str) -> Optional[re.Pattern[str]]:
    """None for what is no regex."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return re.compile(text)
        except (re.error, OverflowError, RecursionError):
            return None


regexes = st.lists(st.sampled_from(PIECES), max_size=10).map("".join).filter(compiled)


@st.composite
def texts_of(draw: Any, found: Sequence[re.Pattern[str]]) -> str:
    """A text that one of them matches at its start, or nearly."""
    text = draw(st.text("@_ircaABbäZ|()[]{}.\\#\n 0^", max_size=8))
    if found:
        chosen = draw(st.sampled_from(found))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = draw(st.from_regex(chosen) | st.just(text))
    return f"@{text[1:]}" if draw(st.booleans()) else text


class PrefixTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Plain text is found: through escapes, groups and alternatives, up to the first variable
        part."""
        for text, wanted in (
            ("@_irc_.*", {"@_irc_"}),
            (r"^@_irc\.bridge\-1_[a-z]+:example\.com$", {"@_irc.bridge-1_"}),
            ("@alice:example", {"@alice:example"}),
            ("@_(irc|xmpp)_.*", {"@_irc", "@_xmpp"}),
            ("@_(?:irc|x(?P<more>a|b))_.*", {"@_irc", "@_xa", "@_xb"}),
            ("@a.*|@b", {"@a", "@b"}),
            ("(@a|@b).*", {"@a", "@b"}),
            ("@ab+c", {"@ab"}),
            ("@(ab)+c", {"@ab"}),
            ("@a[|(]b|@c", {"@a", "@c"}),
            (r"@a\|b", {"@a|b"}),
            ("@(?!admin)a", {"@"}),
        ):
            self.assertEqual(prefixes(re.compile(text)), wanted, text)

    def test_optional(self) -> None:
        """An optional part does not belong to a prefix."""
        for text, wanted in (
            ("@ab?c", "@a"),
            ("@ab*", "@a"),
            ("@ab{0,3}", "@a"),
            ("@(ab)?c", "@"),
            ("@(ab)*c", "@"),
            ("@(ab|)c", "@"),
        ):
            found = prefixes(re.compile(text))
            self.assertTrue(wanted in found, f"{text}: {found}")

    def test_anything(self) -> None:
        """A regex with flags for case, spaces or comments may begin with anything."""
        for text in ("(?i)@a", "(?x) @a", "(?i:@a)", "@a(?#(|)|b", ".*", "", "a|", r"\w@", "(a)?"):
            self.assertEqual(prefixes(re.compile(text)), {""}, text)
        for flag in (re.IGNORECASE, re.VERBOSE):
            self.assertEqual(prefixes(re.compile("@a", flag)), {""}, flag)

    def test_manyAlternatives(self) -> None:
        """If there are too many alternatives, their common prefix is used."""
        names = "|".join(f"name{number}" for number in range(100))
        self.assertEqual(prefixes(re.compile(f"@_({names})")), {"@_name"})

    @examples(600)
    @given(st.data())
    def test_neverNarrower(self, data: Any) -> None:
        """Every text that a regex matches at its start begins with one of the prefixes."""
        regex = compiled(data.draw(regexes))
        assert regex is not None
        text = data.draw(texts_of([regex]))
        match = regex.match(text)
        assume(match)
        self.assertTrue(text.startswith(tuple(prefixes(regex))), f"{regex.pattern!r} {text!r}")
