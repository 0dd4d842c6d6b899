"""Whose the pages are: the name, the logo, the colour and the links in their frame."""

from __future__ import annotations

import hashlib
from string import Template
from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.templates.colours import DARK_GROUNDS, LIGHT_GROUNDS, readable_on, text_on

SVG = "image/svg+xml"
# The media types that a logo may have.
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", SVG: "svg", "image/webp": "webp"}
# A colour that is given replaces that of style.css. It keeps its shade where it is the ground of a
# button; links and the button's frame get one that can be read.
_THEME = """\
:root { --accent: $accent; --on-accent: $text; --link: $light; }
@media (prefers-color-scheme: dark) { :root { --link: $dark; } }
"""


@attr.frozen
class BrandFile:
    """A file of the pages; ``type`` is its media type."""

    content: bytes = attr.field(repr=False)
    type: str


@attr.frozen
class Link:
    """A link to another page. ``texts`` by language; a text for all languages has the key ""."""

    texts: Mapping[str, str]
    url: str


@attr.frozen(kw_only=True)
class Brand:
    """``name`` of the service, as people read it. ``logo``: a picture of a type that browsers show.
    ``accent``: a colour, #rrggbb. If one of these two is None, the pages have ours."""

    name: str = ""
    logo: Optional[BrandFile] = None
    accent: Optional[str] = None
    links: Sequence[Link] = ()

    @property
    def files(self) -> Mapping[str, BrandFile]:
        """The files that its pages load, by their path below ``STATIC_PATH``, which changes with
        their content."""
        found: dict[str, BrandFile] = {}
        if self.logo is not None:
            found[_path("logo", self.logo.content, _ENDINGS[self.logo.type])] = self.logo
        if self.accent is not None:
            theme = BrandFile(_theme(self.accent).encode(), "text/css")
            found[_path("theme", theme.content, "css")] = theme
        return found

    def shown(self, static: str) -> Mapping[str, Any]:
        """What templates see of it. ``static``: what the addresses of its files begin with."""
        address = {path.partition("-")[0]: f"{static}{path}" for path in self.files}
        return {
            "name": self.name,
            "logo": address.get("logo"),
            "theme": address.get("theme"),
            "links": self.links,
        }


UNBRANDED = Brand()


def _path(name: str, content: bytes, ending: str) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.{ending}"


def _theme(accent: str) -> str:
    return Template(_THEME).substitute(
        accent=accent,
        text=text_on(accent),
        light=readable_on(accent, LIGHT_GROUNDS),
        dark=readable_on(accent, DARK_GROUNDS),
    )
