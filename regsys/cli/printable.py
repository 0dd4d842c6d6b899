"""Text from outside, for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with ``\\x1b`` and the like in place of each character that a terminal might obey,
    or that would turn the text round."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
