"""The colours of pages: which text can be read on which ground (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
from typing import Sequence

# How far text must stand out, as the ratio of WCAG.
READABLE = 4.5
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")

BLACK, WHITE = "#000000", "#ffffff"
# What links and frames of buttons stand on, as in static/style.css: the page, and the card on it.
LIGHT_GROUNDS = ("#f3f4f6", "#ffffff")
DARK_GROUNDS = ("#0f1216", "#191d23")
# How many shades lie between a colour and black or white.
_SHADES = 64


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, each written #rrggbb: from 1 (the same) to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def text_on(ground: str) -> str:
    """Black or white, whichever can be read better there. The ratio is 4.58 at least."""
    return max((WHITE, BLACK), key=lambda text: contrast(text, ground))


def readable_on(colour: str, grounds: Sequence[str]) -> str:
    """The colour itself if it can be read on all of these grounds, else its next darker shade (on
    light grounds) or lighter one that can."""
    end = text_on(grounds[0])
    shades = (_mixed(colour, end, step / _SHADES) for step in range(_SHADES + 1))
    return next(shade for shade in shades if _is_readable(shade, grounds))


def _is_readable(colour: str, grounds: Sequence[str]) -> bool:
    return all(contrast(colour, ground) >= READABLE for ground in grounds)


def _mixed(colour: str, end: str, share: float) -> str:
    parts = zip(_channels(colour), _channels(end), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(share: float) -> float:
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)
