"""A user validates an email address: on the registration page, and on the page of a mail's link."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Mapping
from urllib.parse import parse_qs, urlsplit

from tests.browser.case import PLENTY, REGISTER, BrowserCase
from tests.doubles.smtp import Delivered
from tests.support.service_process import ServiceProcess
from tests.support.smtp_process import smtp_process

ALICE = "alice@mail.example"
ADDRESS, CODE = "Email address", "Code from the mail"
APP = "https://app.test.example/"
STEP = "Confirm your email address"
CONFIRM = "Confirm this address"


class EmailCase(BrowserCase):
    """On a server that requires an address; ``self.mails`` is its mail server."""

    def setUp(self) -> None:
        running = smtp_process()
        self.mails = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        super().setUp()

    def serve(self, **options: Any) -> ServiceProcess:
        mails = {
            "notif_from": "a@test.example",
            "smtp_port": self.mails.port,
            "client_base_url": APP,
        }
        options = {"registrations_require_3pid": ["email"], "email": mails, **options}
        return super().serve(rc_3pid_validation=PLENTY, **options)

    def mail(self) -> Delivered:
        mail = self.mails.next_mail()
        assert mail is not None
        return mail

    def link(self, mail: Delivered) -> str:
        """Where its button leads, at the service's own address."""
        found = re.search(r'href="(https://test\.example/[^"]+)"', mail.part("html"))
        assert found is not None, mail.part("html")
        parts = urlsplit(found[1].replace("&amp;", "&"))
        return f"{parts.path}?{parts.query}"

    def code(self, mail: Delivered) -> str:
        found = re.search(r"^ +([A-Z]{8})$", mail.part("plain"), re.MULTILINE)
        assert found is not None, mail.part("plain")
        return found[1]

    def give(self, address: str = ALICE) -> None:
        """Have a mail sent there."""
        self.page.get_by_label(ADDRESS).fill(address)
        self.press("Send the mail")

    def assertSent(self, words: str) -> None:
        self.page.get_by_role("status").filter(has_text=words).wait_for()


class RegistrationTests(EmailCase):
    def setUp(self) -> None:
        super().setUp()
        self.go(REGISTER)
        self.fill()
        self.assertStep(STEP)

    def test_byCode(self) -> None:
        """The code of the mail is typed; the error for a wrong one appears beside its field."""
        self.assertGood("address")
        self.give()
        self.assertSent(f"a mail to {ALICE}")
        code = self.code(self.mail())
        self.assertGood("code")
        self.page.get_by_label(CODE).fill("abcd efgh")
        self.press()
        self.assertAlert("This code or link is not valid")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "code")
        self.page.get_by_label(CODE).fill(f"{code[:4]} {code[4:].lower()}")
        self.press()
        self.assertReady()
        self.assertNotIn(code, " ".join(self.asked))

    def test_byLink(self) -> None:
        """The link is opened in another tab, and confirmed there by its button: then this page goes
        on by itself."""
        self.give()
        mail = self.mail()
        register, self.page = self.page, self.page.context.new_page()
        self.go(self.link(mail))
        self.page.get_by_text(ALICE).wait_for()
        self.assertGood("confirm")
        self.press(CONFIRM)
        self.page.get_by_role("heading", name="Your address is confirmed").wait_for()
        self.assertNotIn("token=", self.page.url)
        self.assertGood("confirmed")
        self.page = register
        self.assertReady()

    def test_otherAddress(self) -> None:
        """A mail can be sent again, and to another address; the refusal of an address appears
        beside its field."""
        self.give("alice")
        self.assertAlert("This is not an email address.")
        self.give()
        self.mail()
        self.press("Send the mail again")
        self.assertSent("another mail")
        again = self.mail()
        self.assertEqual(again.to, ALICE)
        self.press("Use another address")
        self.assertEqual(self.page.get_by_label(ADDRESS).input_value(), ALICE)
        self.give("bob@mail.example")
        self.assertSent("a mail to bob@mail.example")
        mail = self.mail()
        self.assertEqual(mail.to, "bob@mail.example")
        self.page.get_by_label(CODE).fill(self.code(mail))
        self.press()
        self.assertReady()

    def test_unreachable(self) -> None:
        """If the connection is lost, nothing that was typed is."""
        self.page.context.set_offline(True)
        self.give()
        self.assertAlert("cannot be reached")
        self.page.context.set_offline(False)
        self.press("Send the mail")
        self.assertSent(ALICE)


class ApprovalTests(EmailCase):
    """On a server whose accounts wait for approval."""

    options: ClassVar[Mapping[str, Any]] = {
        "experimental_features": {
            "msc3866": {"enabled": True, "require_approval_for_new_accounts": True}
        },
        "admin_contact": "mailto:admin@test.example",
    }

    def test_waits(self) -> None:
        """The end says that the account waits, how its owner will hear, and whom to ask; nothing
        leads to signing in. A reload changes none of it."""
        self.go(REGISTER)
        self.fill()
        self.give()
        self.page.get_by_label(CODE).fill(self.code(self.mail()))
        self.press()
        heading = "Your account is waiting for approval"
        self.page.get_by_role("heading", name=heading, level=1).wait_for()
        self.page.reload()
        self.page.get_by_role("heading", name=heading, level=1).wait_for()
        self.assertEqual(self.page.title(), f"{heading} – test.example")
        self.page.get_by_text(f"a mail at {ALICE} once that is decided").wait_for()
        asked = self.page.get_by_role("link", name="admin@test.example")
        self.assertEqual(asked.get_attribute("href"), "mailto:admin@test.example")
        self.assertEqual(self.page.locator("#user-id").inner_text(), "@alice:test.example")
        self.assertFalse(self.page.get_by_text("Enter your user name").is_visible())
        self.assertFalse(self.page.get_by_text("Open in").is_visible())
        self.assertGood("waiting")


class StagesFirstTests(EmailCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
        "regsys": {"rc_availability": False, "mail_needs_stages": True},
    }

    def test_inOrder(self) -> None:
        """If a mail needs the stages before it, the page passes them first, and sends its session
        with the request for the mail."""
        self.make_token("good")
        self.go(REGISTER)
        self.fill()
        self.page.get_by_label("Registration token").fill("good")
        self.press()
        self.assertStep(STEP)
        self.give()
        self.page.get_by_label(CODE).fill(self.code(self.mail()))
        self.press()
        self.assertReady()


class LinkTests(EmailCase):
    def test_refused(self) -> None:
        """A bad link is answered with an accessible page in the reader's language; if the code may
        be typed instead, it works."""
        body = {"email": ALICE, "client_secret": "s", "send_attempt": 1}
        path = "/_matrix/client/v3/register/email/requestToken"
        self.assertEqual(self.service.ask("POST", path, body).status, 200)
        mail = self.mail()
        link = self.link(mail)
        self.go(re.sub("token=[^&]*", "token=wrong", link))
        self.assertAlert("This code or link is not valid")
        self.assertGood("refused")
        self.page.get_by_label(CODE).fill(self.code(mail))
        self.press(CONFIRM)
        self.page.get_by_role("heading", name="Your address is confirmed").wait_for()
        self.page = self.open(locale="fr")
        self.go(re.sub("sid=[^&]*", "sid=lost", link))
        self.assertAlert("inconnue ou a expiré")
        self.assertGood("unknown-fr")

    def test_nextLink(self) -> None:
        """The button leads on to the client's next_link, which gets no secret."""
        requested = []
        self.page.context.route(
            "http://app.example/**",
            lambda route: (requested.append(route.request.headers), route.fulfill(body="Welcome")),
        )
        fields = {"email": ALICE, "client_secret": "s", "send_attempt": 1}
        fields = {**fields, "next_link": "http://app.example/go"}
        path = "/_matrix/client/v3/register/email/requestToken"
        sid = self.service.ask("POST", path, fields).json["sid"]
        link = self.link(self.mail())
        self.assertIn(sid, parse_qs(urlsplit(link).query)["sid"])
        self.go(link)
        self.press(CONFIRM)
        self.page.get_by_text("Welcome").wait_for()
        self.assertEqual(self.page.url, f"http://app.example/go?sid={sid}")
        self.assertNotIn("referer", requested[0])

    def test_mail(self) -> None:
        """The HTML of the mail itself, as a picture for the reader."""
        body = {"email": ALICE, "client_secret": "s", "send_attempt": 1}
        self.service.ask("POST", "/_matrix/client/v3/register/email/requestToken", body)
        self.page.set_content(self.mail().part("html"))
        self.assertGood("mail")
