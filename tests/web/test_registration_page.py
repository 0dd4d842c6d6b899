"""The registration page, as far as the server makes it."""

from __future__ import annotations

import html
import re

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

    def test_closed(self) -> None:
        """If registration is closed a page says so."""
        self.system(enable_registration=False)
        answer = self.client.get(PATH)
        self.assertShows(answer, "Registration is not open on this server.", status=403)
