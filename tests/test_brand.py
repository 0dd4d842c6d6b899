"""The colours of the pages, and the files that a brand brings."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis.strategies import integers
from twisted.trial.unittest import SynchronousTestCase

from regsys.templates import Templates
from regsys.templates.brand import Brand, BrandFile
from regsys.templates.colours import (
    DARK_GROUNDS,
    LIGHT_GROUNDS,
    READABLE,
    contrast,
    readable_on,
    text_on,
)
from regsys.templates.static_files import STATIC
from tests.support.pictures import PNG, SVG

STYLE = (STATIC / "style.css").read_text("utf-8")
VARIABLE = re.compile(r"--([a-z-]+):\s*(#[0-9a-f]{6});")


def sheets(style: str) -> tuple[dict[str, str], dict[str, str]]:
    """The colours of a style sheet, by name: those of light pages, and those of dark ones."""
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    found = dict(VARIABLE.findall(light))
    return found, {**found, **dict(VARIABLE.findall(dark.split("}\n}")[0]))}


class ColourTests(SynchronousTestCase):
    def test_contrast(self) -> None:
        """The ratios are those that WCAG's own examples have, in either order."""
        for one, other, ratio in (
            ("#000000", "#ffffff", 21.0),
            ("#777777", "#ffffff", 4.48),
            ("#767676", "#ffffff", 4.54),
            ("#ff0000", "#ffffff", 4.0),
            ("#0000ff", "#ffffff", 8.59),
            ("#333333", "#ffffff", 12.63),
            ("#050505", "#000000", 1.03),
            ("#123456", "#123456", 1.0),
        ):
            self.assertAlmostEqual(contrast(one, other), ratio, places=2)
            self.assertEqual(contrast(one, other), contrast(other, one))

    def test_shades(self) -> None:
        """A colour that can be read stays; another one becomes just dark or light enough."""
        self.assertEqual(readable_on("#0a5aa8", LIGHT_GROUNDS), "#0a5aa8")
        for colour, grounds in (("#ffdd00", LIGHT_GROUNDS), ("#1a237e", DARK_GROUNDS)):
            shade = readable_on(colour, grounds)
            worst = min(contrast(shade, ground) for ground in grounds)
            self.assertTrue(READABLE <= worst < 5, (shade, worst))

    @settings(max_examples=100, deadline=None)
    @given(integers(0, 0xFFFFFF))
    def test_any(self, number: int) -> None:
        """Whatever the accent, a button's text and each link can be read."""
        colour = f"#{number:06x}"
        self.assertGreaterEqual(contrast(text_on(colour), colour), READABLE)
        for grounds in (LIGHT_GROUNDS, DARK_GROUNDS):
            shade = readable_on(colour, grounds)
            self.assertTrue(all(contrast(shade, ground) >= READABLE for ground in grounds), shade)

    def test_ownStyle(self) -> None:
        """The grounds are those of the style sheet, whose own colours can be read on them; it is
        smaller than 8 kB."""
        for colours, grounds in zip(sheets(STYLE), (LIGHT_GROUNDS, DARK_GROUNDS), strict=True):
            self.assertEqual((colours["ground"], colours["sheet"]), grounds)
            for name in ("text", "quiet", "link", "good", "bad"):
                for ground in grounds:
                    self.assertGreaterEqual(contrast(colours[name], ground), READABLE, name)
            for text, ground in (("on-accent", "accent"), ("bad", "bad-ground")):
                self.assertGreaterEqual(contrast(colours[text], colours[ground]), READABLE, text)
            # A field's frame (1.4.11).
            self.assertGreaterEqual(contrast(colours["line"], colours["sheet"]), 3)
        self.assertLess(len(STYLE.encode()), 8000)


class FileTests(SynchronousTestCase):
    def test_theme(self) -> None:
        """An accent makes a style sheet that keeps it for buttons, in light and in dark."""
        ((name, theme),) = Brand(accent="#ffdd00").files.items()
        self.assertRegex(name, r"^theme-[0-9a-f]{16}\.css$")
        self.assertEqual(theme.type, "text/css")
        light, dark = sheets(theme.content.decode())
        self.assertEqual((light["accent"], light["on-accent"]), ("#ffdd00", "#000000"))
        self.assertEqual((dark["accent"], dark["link"]), ("#ffdd00", "#ffdd00"))
        self.assertGreaterEqual(contrast(light["link"], "#ffffff"), READABLE)
        self.assertNotEqual(Brand(accent="#ffdd01").files.keys(), {name})

    def test_logo(self) -> None:
        """The address of a logo is that of its content."""
        for content, kind, ending in ((SVG, "image/svg+xml", "svg"), (PNG, "image/png", "png")):
            brand = Brand(logo=BrandFile(content, kind))
            ((name, file),) = brand.files.items()
            self.assertRegex(name, rf"^logo-[0-9a-f]{{16}}\.{ending}$")
            self.assertEqual(file.content, content)
            self.assertEqual(brand.shown("/deep/")["logo"], f"/deep/{name}")

    def test_withoutBrand(self) -> None:
        """Templates that are loaded without a brand have an empty one, and our icon."""
        page = Templates.load("https://hs.example/deep/").render("refused.html", (), error="x")
        self.assertEqual(Brand().files, {})
        self.assertRegex(page, '<link rel="icon" href="/deep/_matrix/static/regsys/icon.svg[?]v=')
        self.assertNotIn("<img", page)
        self.assertNotIn("<footer", page)
        self.assertTrue(Path(STATIC / "icon.svg").is_file())
