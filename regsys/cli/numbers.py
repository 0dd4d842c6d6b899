"""Arguments that are numbers."""

from __future__ import annotations

import argparse
from typing import Callable


def number_to(most: int, what: str = "a number") -> Callable[[str], int]:
    """The type of an argument that is a number from 1."""

    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from 1 to {most}")
        return int(text)

    return number
