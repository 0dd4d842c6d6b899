"""How commands print values that others have chosen: nothing in them reaches a terminal as a
command to it."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Sequence


def printable(text: str) -> str:
    """The text, with each character escaped that is no part of a line of text."""
    if text.isprintable():
        return text
    return "".join(
        item if item.isprintable() else item.encode("unicode_escape", "surrogatepass").decode()
        for item in text
    )


def json_text(value: Any) -> str:
    """JSON for a terminal and for programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "\n".join("".join(map(_escaped, line)) for line in text.split("\n"))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return json.dumps(character)[1:-1]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, which are as wide as their widest cell; the last one is not filled up."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def _width(text: str) -> int:
    """How many places of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(item) else 2 if unicodedata.east_asian_width(item) in "WF" else 1
        for item in text
    )
