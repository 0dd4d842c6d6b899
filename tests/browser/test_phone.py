"""A user validates a phone number on the registration page."""

from __future__ import annotations

import re
from typing import Any

from tests.browser.case import PASSWORD, PLENTY, REGISTER, BrowserCase
from tests.doubles.sms import SmsDouble
from tests.support.service_process import ServiceProcess

STEP, NUMBER, CODE = "Confirm your phone number", "Phone number", "Code from the text message"


class PhoneTests(BrowserCase):
    """On a server that requires a number; ``self.gateway`` gets its messages."""

    def setUp(self) -> None:
        self.gateway = SmsDouble(self)
        super().setUp()

    def serve(self, **options: Any) -> ServiceProcess:
        own = {"sms": self.gateway.options(), "rc_availability": False}
        options = {"registrations_require_3pid": ["msisdn"], "regsys": own, **options}
        return super().serve(rc_3pid_validation=PLENTY, no_proxy_hosts=["127.0.0.1"], **options)

    def code(self, number: str) -> str:
        """The code of the next message, which goes to this number."""
        to, text = self.gateway.next_message()
        self.assertEqual(to, number)
        (code,) = re.findall(r"\d{8}", text)
        return str(code)

    def test_byCode(self) -> None:
        """Country and number are typed, then the code of the message; an error appears beside its
        field. Another number can be chosen, and the code sent again."""
        self.page = self.open(locale="en-CH")
        self.go(REGISTER)
        self.fill()
        self.assertStep(STEP)
        country = self.page.get_by_label("Country")
        self.assertEqual(country.input_value(), "CH")
        self.assertEqual(country.locator("option").first.inner_text(), "Afghanistan (+93)")
        country.select_option(label="Germany (+49)")
        self.page.get_by_label(NUMBER).fill("hello")
        self.press("Send the code")
        self.assertAlert("This is not a phone number.")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "number")
        self.assertGood("number")
        self.page.get_by_label(NUMBER).fill("110")
        self.press("Send the code")
        self.assertAlert("Nobody can have this phone number: check its digits and its country.")
        self.page.get_by_label(NUMBER).fill("0151/12345678")
        self.press("Send the code")
        status = "text message to +49 1511 2345678"
        self.page.get_by_role("status").filter(has_text=status).wait_for()
        self.code("+4915112345678")
        self.press("Use another number")
        self.assertEqual(self.page.get_by_label("Country").input_value(), "DE")
        self.page.get_by_label(NUMBER).fill("+33 6 12 34 56 78")
        self.press("Send the code")
        code = self.code("+33612345678")
        self.page.get_by_label(CODE).fill("12345678" if code != "12345678" else "87654321")
        self.press()
        self.assertAlert("This code is not valid")
        self.assertGood("code")
        self.press("Send the code again")
        self.page.get_by_role("status").filter(has_text="another text message").wait_for()
        self.assertEqual(self.code("+33612345678"), code)
        self.page.get_by_label(CODE).fill(f"{code[:4]} {code[4:]}")
        self.press()
        self.assertReady()

    def test_byKeyboard(self) -> None:
        """The keyboard is enough, and so is another language than English."""
        self.page = self.open(locale="de")
        self.go(REGISTER)
        self.page.get_by_label("Benutzername").fill("alice")
        self.page.get_by_label("Passwort", exact=True).fill(PASSWORD)
        self.page.keyboard.press("Enter")
        self.assertStep("Bestätigen Sie Ihre Telefonnummer")
        keys = self.page.keyboard
        keys.press("Tab")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "country")
        self.assertEqual(self.page.get_by_label("Land").input_value(), "DE")
        keys.press("Tab")
        keys.type("0151 12345678")
        keys.press("Enter")
        self.page.get_by_role("status").filter(has_text="eine SMS an +49 1511 2345678").wait_for()
        keys.press("Tab")
        keys.type(self.code("+4915112345678"))
        keys.press("Enter")
        self.page.get_by_role("heading", name="Ihr Konto ist bereit").wait_for()

    def test_withEmail(self) -> None:
        """A server without mails has no step for addresses; a single flow needs no choice."""
        self.go(REGISTER)
        self.fill()
        self.assertStep(STEP)
        self.assertEqual(self.page.locator("template[data-stage]").count(), 1)
