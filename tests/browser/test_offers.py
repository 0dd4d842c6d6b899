"""The registration page with answers that a server might give: several ways, and captchas."""

from __future__ import annotations

import json
from typing import Any, Mapping

from tests.browser.case import REGISTER, BrowserCase


class FakeServerTests(BrowserCase):
    """With answers that a server might give, made by the test."""

    def answer(self, ways: list[list[str]], forms: Mapping[str, list[str]]) -> None:
        """Offer these flows; each stage has a page that shows these forms one after another, and is
        passed after the last; a stage without forms has no page."""
        challenge = {"session": "S", "flows": [{"stages": way} for way in ways], "params": {}}
        passed: list[str] = []
        left = {stage: list(forms[stage]) for stage in forms}

        def register(route: Any) -> None:
            done = any(set(way) <= set(passed) for way in ways)
            body = {"user_id": "@alice:test.example"} if done else challenge
            body = {**body, "completed": passed}
            route.fulfill(status=200 if done else 401, body=json.dumps(body))

        def page(route: Any) -> None:
            stage = route.request.url.split("/auth/")[1].split("/")[0]
            if stage not in forms:
                return route.fulfill(status=404, body="<h1>Nothing here</h1>")
            if route.request.method == "POST":
                self.sent.append(route.request.post_data)
                left[stage].pop(0)
            if not left[stage]:
                passed.append(stage)
                return route.fulfill(body="<h1>Passed</h1>")
            status = 503 if "alert" in left[stage][0] else 200
            form = f"<form>{left[stage][0]}<button>Give it</button></form>"
            return route.fulfill(status=status, body=f"<h1>{stage} pie</h1>{form}")

        self.sent: list[str] = []
        self.page.route("**/v3/register", register)
        self.page.route("**/fallback/web*", page)
        self.passed = passed
        self.go(REGISTER)
        self.fill()

    def test_choice(self) -> None:
        """The user chooses among those flows that work in a browser and of which none contains
        another."""
        ways = [["apple"], ["plum"], ["apple", "m.login.dummy"], ["apple", "plum"], ["email"]]
        about = "<p>You bake it.</p>"
        self.answer(ways, {"apple": [about], "plum": ["x"]})
        self.assertStep("How would you like to go on?")
        buttons = self.page.get_by_role("button")
        self.assertEqual(buttons.all_inner_texts(), ["apple pie\nYou bake it.", "plum pie"])
        self.assertGood("choice")
        self.page.reload()
        self.assertStep("How would you like to go on?")
        for _ in range(2):
            self.page.keyboard.press("Tab")
        self.page.keyboard.press("Enter")
        self.assertStep("plum pie")
        self.press("Choose another way")
        self.assertStep("How would you like to go on?")
        self.press("apple pie You bake it.")
        self.assertStep("apple pie")
        self.page.reload()
        self.assertStep("apple pie")
        self.page.get_by_text("You bake it.").wait_for()
        self.assertGood("stage-of-many")
        self.press("Give it")
        self.page.get_by_text("Your account is ready").wait_for()
        self.assertEqual(self.passed, ["apple"])

    def test_blocked(self) -> None:
        """If the script of a captcha is blocked, the page says so at once, and what else there is;
        if it never comes, too. The step can be tried again."""
        # The clock stands still, so that nothing but the browser's word can tell of it.
        self.page.clock.install(time="2026-01-01T00:00:00")
        self.page.clock.pause_at("2026-01-01T00:00:10")
        self.page.route("**/captcha.js", lambda route: route.abort())
        form = '<p>Solve it.</p><div></div><script src="/captcha.js"></script>'
        self.answer([["apple"], ["plum"]], {"apple": [form], "plum": ["x"]})
        self.press("apple pie Solve it.")
        self.assertAlert("A content blocker or your network may keep it away.")
        self.page.clock.resume()
        self.page.get_by_text("or choose another way below").wait_for()
        self.assertGood("blocked")
        self.page.unroute("**/captcha.js")
        self.page.route("**/captcha.js", lambda route: None)
        self.press("Try again")
        self.page.get_by_text("Solve it.").wait_for()
        self.page.clock.run_for(13_000)
        self.assertAlert("A content blocker or your network may keep it away.")
        self.page.unroute("**/captcha.js")
        self.page.route("**/captcha.js", lambda route: route.fulfill(body=""))
        self.press("Try again")
        self.press("Give it")
        self.page.get_by_text("Your account is ready").wait_for()
        # That the browser could not load it is what the test has done.
        self.complaints = [it for it in self.complaints if "ERR_FAILED" not in it]

    def test_noWay(self) -> None:
        """If each flow has a stage that does not work in a browser, the page says so."""
        self.answer([["email"], ["apple", "email"]], {"apple": ["x"]})
        self.assertAlert("only an app can do")

    def test_script(self) -> None:
        """A stage's form brings its script, which runs here as on the stage's own page; if that
        page fails, this one shows the error and lets the user retry."""
        from playwright.sync_api import expect

        script = "document.querySelector('[name=solution]').value = 'solved'"
        self.page.route("**/captcha.js", lambda route: route.fulfill(body=script))
        form = '<input name="solution"><script src="/captcha.js"></script>'
        trouble = '<p role="alert">The judge is asleep.</p>' + form
        self.answer([["apple"]], {"apple": [form, trouble]})
        for alert in ("", "The judge is asleep."):
            self.assertStep("apple pie")
            if alert:
                self.assertAlert(alert)
            expect(self.page.locator("[name=solution]")).to_have_value("solved")
            self.press("Give it")
        self.page.get_by_text("Your account is ready").wait_for()
        self.assertEqual(self.sent, ["solution=solved"] * 2)
