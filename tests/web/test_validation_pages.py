"""The page behind a mail's link: what it shows, what it does, and what it never does."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from regsys.config import ConfigError
from tests.support.client import Answer
from tests.support.validations import ALICE, MAILS, SECRET, SUBMIT, EmailValidationCase
from tests.web.test_page_headers import SafePages

NEXT = "https://app.example/#/go?on=1"
CONFIRMED, REFUSED = "Your address is confirmed", "Your address is not confirmed"
WRONG = "This code or link is not valid, or no longer valid."


class PageCase(SafePages, EmailValidationCase):
    def look(self, method: str = "GET", **changes: str) -> Answer:
        """Open the link of the last mail, with these changes."""
        return self.client.ask(method, f"{SUBMIT}?{urlencode({**self.link(), **changes})}")

    def press(self, **changes: str) -> Answer:
        """Send the form of the page."""
        return self.client.post(SUBMIT, urlencode({**self.link(), **changes}).encode())

    def assertShows(self, answer: Answer, *parts: str, status: int = 200, case: Any = None) -> None:
        self.assertEqual(answer.status, status, (case, answer))
        self.assertSafe(case, answer)
        for part in parts:
            self.assertIn(part, html.unescape(answer.json.decode()), case)

    def assertGoesTo(self, answer: Answer, status: int, sid: str) -> None:
        where = (answer.status, answer.headers.get("location"))
        self.assertEqual(where, (status, f"{NEXT}&sid={sid}"))
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")

    @property
    def is_confirmed(self) -> bool:
        return self.rows("SELECT validated_ms FROM validations")[0][0] is not None


class ConfirmTests(PageCase):
    def test_scanner(self) -> None:
        """However often the link is opened, nothing is confirmed and no limit is used up; the
        button of its page confirms (A9)."""
        self.system(rc_3pid_validation={"per_second": 0.001, "burst_count": 2})
        self.start_validation()
        for _ in range(100):
            page = self.look()
            self.assertEqual(self.look("HEAD").status, 200)
        self.assertShows(page, ALICE, "test.example", "close this page", *self.link().values())
        self.assertFalse(self.is_confirmed)
        self.assertShows(self.press(), CONFIRMED)
        self.assertTrue(self.is_confirmed)

    def test_twice(self) -> None:
        """Confirming is idempotent."""
        self.start_validation()
        for _ in range(3):
            self.assertShows(self.look(), ALICE)
            self.assertShows(self.press(), CONFIRMED)

    def test_nextLink(self) -> None:
        """After the confirmation the user is led to the client's next_link, by a GET, with the sid;
        the page's policy lets its form lead there."""
        sid = self.start_validation(next_link=NEXT)
        self.assertIn(
            "form-action 'self' https://app.example;",
            f"{self.look().headers['content-security-policy']};",
        )
        self.assertGoesTo(self.press(), 303, sid)

    def test_nextLinkNoMore(self) -> None:
        """A next_link that was allowed when it was given is followed only while it is."""
        self.start_validation(next_link=NEXT)
        self.system(database=self.database, next_link_domain_whitelist=["other.example"])
        self.assertNotIn("app.example", self.look().headers["content-security-policy"])
        answer = self.press()
        self.assertShows(answer, CONFIRMED)
        self.assertNotIn("location", answer.headers)

    def test_classic(self) -> None:
        """With the option the link itself confirms, and leads on; a HEAD still does not."""
        self.system(regsys={"email_confirm_on_get": True})
        sid = self.start_validation(next_link=NEXT)
        self.assertEqual(self.look("HEAD").status, 200)
        self.assertFalse(self.is_confirmed)
        self.assertGoesTo(self.look(), 302, sid)
        self.assertTrue(self.is_confirmed)
        self.start_validation("bob@mail.example")
        self.assertShows(self.look(), CONFIRMED)
        self.assertShows(self.look(token="x" * 32), WRONG, status=400)

    def test_code(self) -> None:
        """If the link has no token its page has a field for the code, in any spelling; a wrong one
        leads back to the field."""
        sid = self.start_validation()
        link = f"{SUBMIT}?{urlencode({'sid': sid, 'client_secret': SECRET})}"
        self.assertShows(self.client.get(link), ALICE, '<input id="token"')
        self.assertShows(self.press(token="abcdefgh"), WRONG, '<input id="token"', status=400)
        code = self.mail.code or ""
        self.assertShows(self.press(token=f" {code[:4].lower()}-{code[4:]}"), CONFIRMED)

    def test_codeIsNotRevealed(self) -> None:
        """Opening a page neither shows whether a code is right nor uses up a try."""
        self.start_validation()
        for code in ["abcdefgh"] * 20 + [self.mail.code or ""]:
            self.assertShows(self.look(token=code), ALICE)
        self.assertShows(self.press(token=self.mail.code or ""), CONFIRMED)

    def test_hostile(self) -> None:
        """Values of a link or an address are shown as text."""
        self.start_validation("o'neil&x@mail.example")
        page = self.look(token='"><bx=1>')  # as long as a code, so that it is not checked
        self.assertShows(page, "o'neil&x@mail.example")
        self.assertNotIn("<bx", page.json.decode())

    def test_refused(self) -> None:
        """Every mistake in a link is shown by a page that says how to go on: when it is opened, and
        when its form is sent."""
        self.start_validation()
        unknown = "This confirmation is unknown or has expired"
        for changes, reason in (
            ({"token": "x" * 32}, WRONG),
            ({"sid": "x" * 16}, unknown),
            ({"client_secret": "wrong"}, unknown),
            ({"sid": ""}, unknown),
            ({"sid": "a\0b"}, "not allowed"),
        ):
            for act in (self.look, self.press):
                answer = act(**changes)
                self.assertShows(
                    answer, REFUSED, reason, "have another mail", status=400, case=changes
                )
        self.assertFalse(self.is_confirmed)
        head = self.look("HEAD", token="x" * 32)
        self.assertEqual((head.status, head.headers["content-type"][:9]), (400, "text/html"))
        self.assertShows(self.client.get(SUBMIT), REFUSED, unknown, status=400)
        self.clock.advance(3601)
        for act in (self.look, self.press):
            self.assertShows(act(), REFUSED, unknown, status=400)

    def test_limit(self) -> None:
        """Guesses are limited, by links as by the form."""
        self.system(rc_3pid_validation={"per_second": 0.001, "burst_count": 3})
        self.start_validation()
        for act in (self.look, self.press, self.look):
            self.assertEqual(act(token="x" * 32).status, 400)
        answer = self.press()
        self.assertShows(answer, REFUSED, "Too many requests", status=429)
        self.assertIn("retry-after", answer.headers)

    def test_otherMedium(self) -> None:
        """Phone numbers are not confirmed here: a page says so, and to clients JSON."""
        self.start_validation()
        path = SUBMIT.replace("email", "msisdn")
        text = "Addresses of this kind cannot be confirmed on this server."
        form = urlencode(self.link()).encode()
        for answer in (self.client.get(path), self.client.post(path, form)):
            self.assertShows(answer, text, status=400)
        answer = self.client.post(path, self.link())
        self.assertRefused(answer, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")

    def test_clients(self) -> None:
        """A body that doesn't begin like our form is a client's, and is answered in JSON."""
        self.start_validation()
        for body in (b"", b"x", b"1=2", b"sid"):
            self.assertRefused(self.client.post(SUBMIT, body), 400, "M_NOT_JSON", body)
        self.assertRefused(self.client.post(SUBMIT, []), 400, "M_BAD_JSON")
        self.assertEqual(self.client.post(SUBMIT, self.link()).json, {"success": True})

    def test_language(self) -> None:
        """The page is in the reader's language."""
        self.start_validation()
        page = self.client.get(f"{SUBMIT}?{urlencode(self.link())}", Accept_Language="de-AT")
        self.assertShows(page, "Diese Adresse bestätigen", '<html lang="de">')


class CustomTemplatesTests(PageCase):
    """An administrator's templates, as written for a homeserver."""

    def replace(self, **templates: str) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        for name, text in templates.items():
            (folder / f"registration_{name}.html").write_text(text)
        self.system(email={**MAILS["email"], "template_dir": str(folder)})

    def test_theirs(self) -> None:
        """They replace our pages, may be styled, and get the reason of a failure."""
        self.replace(
            failure="<p style='color: red'>No: {{ failure_reason }}{{ unknown }}",
            success="<p style='color: red'>Yes for {{ server_name }}",
        )
        sid = self.start_validation(next_link=NEXT)
        answer = self.press(token="x" * 32)
        self.assertShows(answer, f"No: {WRONG}", status=400)
        self.assertIn("style-src 'self' 'unsafe-inline'", answer.headers["content-security-policy"])
        self.assertGoesTo(self.press(), 303, sid)
        self.start_validation("bob@mail.example")
        self.assertShows(self.press(), "Yes for test.example")

    def test_broken(self) -> None:
        """A template that cannot be rendered is reported before the service answers requests."""
        for name in ("failure", "success"):
            with self.assertRaises(ConfigError) as caught:
                self.replace(**{name: "{% if %}"})
            self.assertIn(f"registration_{name}.html", str(caught.exception))
