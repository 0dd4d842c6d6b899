"""A user passes a stage on its fallback page, which an app has opened."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from tests.browser.case import PLENTY, REGISTER, WAIT_MS, BrowserCase

STAGE = "m.login.registration_token"
# What web apps do: open the page, and wait for its message.
OPEN = """([url, wait_ms]) => {
    window.message = new Promise(resolve => {
        addEventListener("message", event => resolve([event.data, event.origin]));
        setTimeout(resolve, wait_ms, "no word came");
    });
    open(url);
}"""


class FallbackTests(BrowserCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
    }

    def setUp(self) -> None:
        super().setUp()
        self.make_token("good")
        self.session = self.registration()["session"]
        self.path = f"/_matrix/client/r0/auth/{STAGE}/fallback/web?session={self.session}"

    def give(self, token: str) -> None:
        self.page.get_by_label("Registration token").fill(token)
        self.press()

    def test_onAuthDone(self) -> None:
        """An app that embeds the page is called when the stage is passed, not before."""
        called: list[str] = []
        self.page.expose_function("onAuthDone", lambda: called.append("called"))
        self.go(self.path)
        self.assertGood("stage")
        self.give("bad")
        self.assertAlert("not valid")
        self.assertGood("stage-refused")
        self.assertEqual(called, [])
        self.give("good")
        self.page.get_by_role("heading", name="This step is done").wait_for()
        self.page.wait_for_load_state()  # the script that calls comes after the heading
        self.assertGood("passed")
        self.assertEqual(called, ["called"])

    def test_authDone(self) -> None:
        """An app that opens the page in a window gets a message, whatever its origin."""
        self.page.goto("about:blank")
        app = self.page
        with app.expect_popup() as opened:
            app.evaluate(OPEN, [f"{self.service.base_url}{self.path}", WAIT_MS])
        self.page = opened.value
        self.give("good")
        self.assertEqual(app.evaluate("message"), ["authDone", self.service.base_url])

    def test_withoutJavaScript(self) -> None:
        """The page needs no script; a page that does need one says so, and what to do instead."""
        self.page = self.open(java_script_enabled=False)
        self.go(REGISTER)
        self.page.locator("noscript p").filter(has_text="needs JavaScript").wait_for()
        self.assertFalse(self.page.get_by_label("User name").is_visible())
        self.go(self.path)
        self.give("good")
        self.page.get_by_role("heading", name="This step is done").wait_for()

    def test_unknownSession(self) -> None:
        """An unknown session is reported on a page like any other."""
        self.go(self.path.replace(self.session, "lost"))
        self.assertAlert("unknown or has expired")
        self.assertGood("lost")
