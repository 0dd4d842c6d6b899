"""The registration page, as far as the server makes it."""

from __future__ import annotations

import gzip
import html
import re

from regsys.http import Call
from regsys.http.reply import File
from regsys.model import Client
from regsys.templates.brand import UNBRANDED
from regsys.templates.static_files import STATIC, STATIC_PATH, served_files
from regsys.web.pages import static
from tests.web.test_fallback import PageCase

PATH = "/_matrix/static/client/register/"


class RegistrationPageTests(PageCase):
    def page(self) -> str:
        answer = self.client.get(PATH)
        self.assertShows(answer, "Create an account on test.example")
        return answer.json.decode()

    def test_mayLoad(self) -> None:
        """The page may load the sources of the stages' pages, and connect to its own server."""
        policy = self.client.get(PATH).headers["content-security-policy"]
        self.assertIn("script-src 'self' https://questions.example/;", policy + ";")
        self.assertIn("connect-src 'self'", policy)

    def test_policy(self) -> None:
        """The page lists the requirements of the password policy, and only those."""
        self.assertNotIn("data-pattern", self.page())
        policy = {"enabled": True, "minimum_length": 12, "require_digit": True}
        self.system(password_config={"policy": policy})
        patterns = re.findall('data-pattern="(.*?)"', self.page())
        self.assertEqual([html.unescape(pattern) for pattern in patterns], ["^.{12,}$", r"\p{Nd}"])
        self.system(password_config={"policy": {**policy, "enabled": False}})
        self.assertNotIn("data-pattern", self.page())

    def test_secretNames(self) -> None:
        """If taken names are hidden, the page does not check names."""
        self.assertNotIn("data-names-are-secret", self.page())
        self.system(inhibit_user_in_use_error=True)
        self.assertIn("data-names-are-secret", self.page())

    def test_address(self) -> None:
        """Below a path the page sends its requests there."""
        self.system(public_baseurl="https://hs.example/deep")
        self.assertIn('data-api="/deep/_matrix/client/v3/"', self.page())
        self.assertIn("https://hs.example/deep/", self.page())

    def test_modules(self) -> None:
        """The page names every module of its script, so that the browser loads them at once; each
        of them is there."""
        addresses = re.findall('rel="modulepreload" href="(.*?)"', self.page())
        names = {address.rpartition("/")[2].partition("?")[0] for address in addresses}
        folder = STATIC / "register"
        self.assertEqual(names, {path.name for path in folder.iterdir()})
        for address in addresses:
            self.assertEqual(self.client.get(address).status, 200, address)

    def test_compressed(self) -> None:
        """Static files are compressed for clients that can read that, and no cache mixes the two
        up."""
        endpoint = static(UNBRANDED)
        whole = served_files()["register.js"]
        for takes_gzip in (True, False):
            call = Call(
                method="GET",
                path=f"/{STATIC_PATH}register.js",
                uri="/",
                client=Client("10.0.0.1"),
                takes_gzip=takes_gzip,
            )
            reply = self.wait(endpoint.handlers["GET"](call))
            assert isinstance(reply.body, File)
            self.assertEqual(reply.headers["Vary"], "Accept-Encoding")
            self.assertEqual(reply.headers.get("Content-Encoding"), "gzip" if takes_gzip else None)
            content = reply.body.content
            self.assertEqual(gzip.decompress(content) if takes_gzip else content, whole)

    def test_end(self) -> None:
        """The end leads to the configured web app, and tells whom to ask."""
        self.assertNotIn("Open in", self.page())
        self.system(
            email={"notif_from": "a@hs.example", "client_base_url": "https://app.example/#/"},
            admin_contact="https://hs.example/help",
        )
        page = self.page()
        self.assertIn('href="https://app.example/#/">Open in app.example<', page)
        self.assertIn('<a href="https://hs.example/help">https://hs.example/help</a>', page)
        self.system(admin_contact="javascript:alert(1)")
        self.assertIn('<span id="contact">javascript:alert(1)</span>', self.page())

    def test_closed(self) -> None:
        """If registration is closed a page says so."""
        self.system(enable_registration=False)
        answer = self.client.get(PATH)
        self.assertShows(answer, "Registration is not open on this server.", status=403)
