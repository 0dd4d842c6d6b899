"""Whose the pages are: name, logo, colour and links in the frame of each page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Mapping

from tests.support.case import SystemCase
from tests.support.client import Answer
from tests.support.pictures import HOSTILE_SVG

PAGE = "/_matrix/static/client/register/"
LINKS = [
    {"text": {"de": "Datenschutz", "en": "Privacy"}, "url": "https://e.example/privacy"},
    {"text": {"de": "Impressum"}, "url": "https://e.example/imprint"},
    {"text": "Help & more", "url": "mailto:help@e.example"},
]
CLIENTS = [{"name": "Other", "url": "https://other.example/"}]


class BrandCase(SystemCase):
    pages: ClassVar[Mapping[str, Any]] = {
        "name": "Example <Chat>",
        "accent": "#ffdd00",
        "links": LINKS,
        "client_url": "https://app.example/",
        "clients": CLIENTS,
    }

    def setUp(self) -> None:
        logo = Path(self.mktemp()).resolve()
        logo.write_bytes(HOSTILE_SVG)
        self.options = {"regsys": {"pages": {**self.pages, "logo": str(logo)}}}
        super().setUp()

    def page(self, path: str = PAGE, language: str = "en") -> str:
        answer = self.client.get(path, Accept_Language=language)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        return str(answer.json.decode())


class FrameTests(BrandCase):
    def test_name(self) -> None:
        """People read the service's name, which is text; Matrix IDs keep the server's."""
        page = self.page()
        title = "Create an account on Example &lt;Chat&gt;"
        self.assertIn(f"<h1>{title}</h1>", page)
        self.assertIn(f"<title>{title}</title>", page)
        self.assertIn('alt="Example &lt;Chat&gt;"', page)
        self.assertIn('data-server-name="test.example"', page)

    def test_everyPage(self) -> None:
        """A refusal has the same frame; without a section it is the server's."""
        for page in (self.page(), self.page("/_matrix/client/v3/auth/x/fallback/web?session=x")):
            for part in ("logo-", "theme-", "Privacy"):
                self.assertIn(part, page)
        self.system()
        page = self.page("/_matrix/client/v3/auth/x/fallback/web?session=x")
        self.assertRegex(page, r'aria-hidden="true">T</span> test.example')
        self.assertNotIn("theme-", page)

    def test_links(self) -> None:
        """Links are in the reader's language, else in English, else in the first that there is."""
        for language, texts in (
            ("de-AT", ["Datenschutz", "Impressum"]),
            ("fr", ["Privacy", "Impressum"]),
        ):
            page = self.page(language=language)
            found = re.findall(r'<a href="https://e.example/.*?"(.*?)>(.*?)</a>', page)
            self.assertEqual([text for _, text in found], texts)
            # A text in another language than the page's says which.
            self.assertEqual('lang="de"' in found[1][0], language == "fr")
            self.assertIn('rel="noopener noreferrer"', found[0][0])
            self.assertIn('<a href="mailto:help@e.example">Help &amp; more</a>', page)

    def test_clients(self) -> None:
        """The registration page leads people who have an account to the first app; other pages are
        opened by an app."""
        self.assertIn('<a href="https://app.example/">Sign in</a>', self.page())
        other = self.page("/_matrix/client/v3/auth/x/fallback/web?session=x")
        self.assertNotIn("https://app.example/", other)


class FileTests(BrandCase):
    def file(self, name: str) -> Answer:
        (address,) = set(re.findall(rf'"(/_matrix/static/regsys/{name}-[^"]*)"', self.page()))
        answer = self.client.get(address)
        self.assertEqual(answer.status, 200)
        self.assertIn("max-age=604800, immutable", answer.headers["cache-control"])
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        return answer

    def test_logo(self) -> None:
        """The logo is served as it is, under a policy by which nothing in it runs or loads."""
        answer = self.file("logo")
        self.assertEqual(answer.json, HOSTILE_SVG)
        self.assertEqual(answer.headers["content-type"], "image/svg+xml")
        self.assertEqual(
            answer.headers["content-security-policy"],
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        )

    def test_theme(self) -> None:
        """The colour comes with a style sheet, since pages have no style of their own."""
        answer = self.file("theme")
        self.assertEqual(answer.headers["content-type"], "text/css")
        self.assertIn(b"--accent: #ffdd00", answer.json)
        self.assertNotIn("ffdd00", self.page())

    def test_icon(self) -> None:
        """The logo is the icon too; without one it is ours, a picture for light and for dark."""
        self.assertRegex(self.page(), '<link rel="icon" href="/_matrix/static/regsys/logo-')
        self.system()
        (address,) = re.findall('<link rel="icon" href="(.*?)"', self.page())
        answer = self.client.get(address)
        self.assertEqual(answer.headers["content-type"], "image/svg+xml")
        self.assertIn("sandbox", answer.headers["content-security-policy"])
        self.assertIn(b"prefers-color-scheme: dark", answer.json)
