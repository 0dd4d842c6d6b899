"""The pages of a service that has a name, a logo, a colour and links of its own."""

from __future__ import annotations

from typing import Any, Mapping

from tests.browser.case import PLENTY, REGISTER, BrowserCase
from tests.support.pictures import HOSTILE_SVG
from tests.support.service_process import ServiceProcess

PAGES: Mapping[str, Any] = {
    "name": "Example Chat",
    # The hardest for links on white, and for a white text on a button.
    "accent": "#ffdd00",
    "links": [
        {"text": {"en": "Privacy", "de": "Datenschutz"}, "url": "https://e.example/privacy"},
        {"text": "Imprint", "url": "https://e.example/imprint"},
    ],
    "client_url": "https://app.example/",
}


class BrandTests(BrowserCase):
    def serve(self, **options: Any) -> ServiceProcess:
        logo, rules = self.folder / "logo.svg", self.folder / "rules.html"
        logo.write_bytes(HOSTILE_SVG)
        rules.write_text("<p>Be kind, as said <a href='/'>here</a>.</p>")
        policy = {"version": "1", "en": {"name": "House rules", "file": str(rules)}}
        return super().serve(
            registration_requires_token=True,
            rc_registration_token_validity=PLENTY,
            regsys={
                "rc_availability": False,
                "pages": {**PAGES, "logo": str(logo)},
                "policies": {"rules": policy},
            },
        )

    def test_pages(self) -> None:
        """A link with a token leads from the root to the page, in the service's colour and with its
        logo, and the token is filled in; a policy has the same frame. Nothing in the logo runs,
        even if it is opened by itself."""
        self.make_token("good")
        self.go("/?token=good")
        self.page.get_by_role("heading", name="Create an account on Example Chat").wait_for()
        self.assertEqual(self.page.url, f"{self.service.base_url}{REGISTER}")
        logo = self.page.get_by_role("img", name="Example Chat")
        self.assertGreater(logo.evaluate("image => image.decode().then(() => image.width)"), 0)
        button = self.page.get_by_role("button", name="Continue")
        ground = button.evaluate("button => getComputedStyle(button).backgroundColor")
        self.assertEqual(ground, "rgb(255, 221, 0)")
        self.assertGood("branded")
        self.fill()
        self.assertStep("Registration token")
        self.assertEqual(self.page.get_by_label("Registration token").input_value(), "good")
        self.press()
        self.assertStep("Terms")
        self.go("/_matrix/consent?p=rules")
        self.page.get_by_role("heading", name="House rules").wait_for()
        self.assertGood("branded-policy")
        self.assertEqual(self.complaints, [])
        self.go(str(self.page.locator("header img").get_attribute("src")))
        root = "document.documentElement"
        self.assertEqual(self.page.evaluate(f"{root}.localName"), "svg")
        self.assertIsNone(self.page.evaluate(f"{root}.getAttribute('data-run')"))
        # The browser says what the policy has stopped.
        self.assertIn("sandbox", " ".join(self.complaints))
        self.complaints.clear()
