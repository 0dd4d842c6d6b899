"""A user passes the stages that are more than a field: terms, and the proof of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.case import PLENTY, REGISTER, BrowserCase

WORK = "A little work for your device"
POLICY = """<!doctype html><html lang="{0}"><title>{1}</title><h1>{1}</h1>"""
TEXTS = {"en": "House rules", "de": "Hausordnung"}


class StageCase(BrowserCase):
    """On a server that requires a token, a proof of work and the consent to its rules."""

    def serve(self, **options: Any) -> Any:
        texts = {}
        for language, name in TEXTS.items():
            file = Path(self.folder / f"rules-{language}.html")
            file.write_text(POLICY.format(language, name))
            texts[language] = {"name": name, "file": str(file)}
        chosen = {
            "registration_requires_token": True,
            "rc_registration_token_validity": PLENTY,
            "enable_registration_captcha": True,
            "regsys": {
                "rc_availability": False,
                "captcha": {"kind": "proof_of_work", "difficulty": 5},
                "policies": {"rules": {"version": "1", **texts}},
            },
        }
        return super().serve(**chosen)

    def assertWorked(self) -> None:
        """The widget has done its work without input; before that the form can't be sent."""
        self.page.locator("altcha-widget [data-state=verified]").wait_for()

    def test_register(self) -> None:
        """All stages, one after the other, on the registration page."""
        self.make_token("good")
        self.go(REGISTER)
        self.fill()
        self.assertStep("Registration token")
        self.page.get_by_label("Registration token").fill("good")
        self.press()
        self.assertStep(WORK)
        self.assertWorked()
        self.assertGood("work")
        self.press()
        self.assertStep("Terms")
        self.assertGood("terms")
        self.press()  # without the tick the browser itself shows what is missing
        self.page.get_by_label("I have read this, and I agree.").check()
        self.press()
        self.assertReady()

    def test_terms(self) -> None:
        """On its fallback page: the rules open in a window of their own, in the user's language."""
        session = self.registration()["session"]
        self.page = self.open(locale="de-AT")
        self.go(f"/_matrix/client/v3/auth/m.login.terms/fallback/web?session={session}")
        link = self.page.get_by_role("link", name="Hausordnung")
        path = (link.get_attribute("href") or "").partition("/_matrix/")[2]
        self.assertGood("terms-alone")
        self.page.get_by_role("checkbox").check()
        self.press("Weiter")
        self.page.get_by_role("heading", name="Dieser Schritt ist geschafft").wait_for()
        self.go(f"/_matrix/{path}")
        self.page.get_by_role("heading", name="Hausordnung").wait_for()

    def test_work(self) -> None:
        """On its fallback page: the work begins without input, and the stage passes only with its
        result."""
        session = self.registration()["session"]
        self.go(f"/_matrix/client/v3/auth/org.regsys.altcha/fallback/web?session={session}")
        self.assertWorked()
        self.assertGood("work-alone")
        self.press()
        self.page.get_by_role("heading", name="This step is done").wait_for()
