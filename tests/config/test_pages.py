"""``regsys: {pages}``: whose the pages are, and what is refused at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regsys.config import App, PagesConfig
from regsys.config.pages import LOGO_LIMIT
from regsys.templates.brand import Brand, BrandFile, Link
from tests.config.case import ConfigCase
from tests.support.pictures import HOSTILE_SVG, JPEG, PNG, SVG, WEBP

# Ten entities that each stand for ten of the next: a gigabyte of text.
BOMB = (
    "<!DOCTYPE svg ["
    + "".join(f'<!ENTITY e{n} "{f"&e{n + 1};" * 10}">' for n in range(9))
    + '<!ENTITY e9 "x">]><svg xmlns="http://www.w3.org/2000/svg">&e0;</svg>'
).encode()


class PagesTests(ConfigCase):
    def pages(self, **options: Any) -> PagesConfig:
        return self.parse({"regsys": {"pages": options}}).pages

    def assertRefused(self, options: dict[str, Any], *parts: str) -> None:
        self.assertProblem({"regsys": {"pages": options}}, *parts)

    def logo(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_nothing(self) -> None:
        """Without the section the service is called as its server, and has no app."""
        self.assertEqual(self.pages(), PagesConfig(brand=Brand(name="example.com")))
        self.assertEqual(self.pages().apps, ())

    def test_everything(self) -> None:
        """Each option has its place; the app of client_url comes first, by its host's name."""
        found = self.pages(
            name="Example Chat",
            logo=self.logo(SVG),
            accent="#C2410C",
            links=[
                {"text": {"en": "Privacy", "de": "Datenschutz"}, "url": "https://e.example/p"},
                {"text": "Help", "url": "mailto:help@e.example"},
            ],
            client_url="https://app.e.example:8443/#/login",
            clients=[{"name": "FluffyChat", "url": "https://f.example/"}],
        )
        brand = Brand(
            name="Example Chat",
            logo=BrandFile(SVG, "image/svg+xml"),
            accent="#c2410c",
            links=(
                Link({"en": "Privacy", "de": "Datenschutz"}, "https://e.example/p"),
                Link({"": "Help"}, "mailto:help@e.example"),
            ),
        )
        self.assertEqual(found.brand, brand)
        own = App("app.e.example:8443", "https://app.e.example:8443/#/login")
        self.assertEqual(found.apps, (own, App("FluffyChat", "https://f.example/")))

    def test_pictures(self) -> None:
        """The type of a logo is what its content is, whatever the file is called."""
        hostile = (
            b'\xef\xbb\xbf<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "y" [<!ENTITY z "z">]>'
        )
        hostile += HOSTILE_SVG
        for content, expected in (
            (SVG, "image/svg+xml"),
            (hostile, "image/svg+xml"),
            (PNG, "image/png"),
            (JPEG, "image/jpeg"),
            (WEBP, "image/webp"),
        ):
            logo = self.pages(logo=self.logo(content)).brand.logo
            assert logo is not None
            self.assertEqual((logo.content, logo.type), (content, expected))

    def test_noPictures(self) -> None:
        """What is no picture, or too large, is refused, and so is a file that is not there."""
        for content in (
            b"",
            b"<html><script>x</script></html>",
            b"<svg/>",
            b"<svg xmlns='http://www.w3.org/2000/svg'><a></svg>",
            b"<x xmlns='http://www.w3.org/2000/svg'><svg/></x>",
            b"GIF89a",
            b"\x1f\x8b\x08",
            BOMB,
        ):
            self.assertRefused({"logo": self.logo(content)}, "regsys.pages.logo", "not a picture")
        large = self.logo(PNG + bytes(LOGO_LIMIT))
        self.assertRefused({"logo": large}, "regsys.pages.logo", "larger than 128 KiB")
        self.assertRefused({"logo": "/nowhere/x.png"}, "regsys.pages.logo", "not a file")
        self.assertRefused({"logo": self.mktemp()}, "regsys.pages.logo", "not a file")

    def test_badValues(self) -> None:
        """Each is reported by its dotted path."""
        link = {"text": "Help", "url": "https://e.example/"}
        for options, path, wrong in (
            ({"accent": "red"}, "accent", "not a colour"),
            ({"accent": "#12345"}, "accent", "not a colour"),
            ({"accent": "#1234567"}, "accent", "not a colour"),
            ({"accent": "#fff;}*{x:"}, "accent", "not a colour"),
            ({"accent": 123456}, "accent", "not text"),
            ({"name": "two\nlines"}, "name", "not a line of text"),
            ({"name": " "}, "name", "not a line of text"),
            ({"name": "x" * 101}, "name", "not a line of text"),
            ({"client_url": "app.example"}, "client_url", "not the address of a website"),
            ({"client_url": "javascript:x()"}, "client_url", "not the address of a website"),
            ({"links": link}, "links", "not a list"),
            ({"links": [link, {**link, "url": "data:text/html,x"}]}, "links[1].url", "not a link"),
            ({"links": [{**link, "url": "javascript:x()"}]}, "links[0].url", "not a link"),
            ({"links": [{**link, "url": "mailto:nobody"}]}, "links[0].url", "not a link"),
            ({"links": [{"text": "x"}]}, "links[0].url", "missing"),
            ({"links": [{**link, "text": None}]}, "links[0].text", "missing"),
            ({"links": [{**link, "text": {}}]}, "links[0].text", "missing"),
            ({"links": [{**link, "text": ["x"]}]}, "links[0].text", "not text"),
            ({"links": [{**link, "text": {"en": ""}}]}, "links[0].text.en", "missing"),
            ({"links": [{**link, "text": {False: "x"}}]}, "links[0].text.False", "not a language"),
            ({"clients": [{"name": "x"}]}, "clients[0].url", "missing"),
            ({"clients": [{"url": "https://e.example/"}]}, "clients[0].name", "missing"),
            ({"clients": [{"name": "x", "url": "ftp://x/"}]}, "clients[0].url", "not the address"),
        ):
            self.assertRefused(options, f"regsys.pages.{path}: ", wrong)
