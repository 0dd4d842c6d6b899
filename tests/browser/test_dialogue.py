"""The registration page keeps what it has: over reloads, Back, and the second tab of a mail."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Mapping

from tests.browser.case import PASSWORD, PLENTY, REGISTER
from tests.browser.test_email import ADDRESS, ALICE, CODE, CONFIRM, EmailCase
from tests.browser.test_email import STEP as ADDRESS_STEP

TOKEN, CHOICE = "Registration token", "How would you like to go on?"
ACCOUNT = "Name and password"
# What the whole page may weigh, as sent, without the scripts of captchas.
MOST_BYTES = 60_000
APP = "https://app.test.example/"


class DialogueTests(EmailCase):
    """On a server that requires a token and an address."""

    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
        "admin_contact": "mailto:admin@test.example",
    }

    def serve(self, **options: Any) -> Any:
        service = super().serve(**options)
        self.service = service
        self.make_token("good")
        return service

    def reload(self, title: str) -> None:
        """Reload the page: it shows the same step again."""
        self.page.reload()
        self.assertStep(title)

    def back(self, title: str) -> None:
        self.page.go_back()
        self.assertStep(title)

    def forward(self, title: str) -> None:
        self.page.go_forward()
        self.assertStep(title)

    def stored(self) -> str:
        return str(self.page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})"))

    def give_token(self) -> None:
        self.page.get_by_label(TOKEN).fill("good")
        self.press()

    def test_reloads(self) -> None:
        """A reload at each step loses nothing, the password is asked for once, and never stored.
        The link of the mail is opened in a second tab; the first one goes on by itself, and its
        end survives a reload, too."""
        self.go(REGISTER)
        self.page.get_by_label("User name").fill("alice")
        self.reload(ACCOUNT)
        self.assertEqual(self.page.get_by_label("User name").input_value(), "alice")
        self.fill()
        self.assertStep(TOKEN)
        self.assertEqual(self.page.title(), f"{TOKEN} – Create an account on test.example")
        self.reload(TOKEN)
        self.give_token()
        self.assertStep(ADDRESS_STEP)
        self.reload(ADDRESS_STEP)
        self.give()
        link = self.link(self.mail())
        self.reload(ADDRESS_STEP)
        self.assertSent(f"a mail to {ALICE}")
        self.assertNotIn(PASSWORD, self.stored())
        register, self.page = self.page, self.page.context.new_page()
        self.go(link)
        self.press(CONFIRM)
        self.page.get_by_role("heading", name="Your address is confirmed").wait_for()
        self.page = register
        self.assertReady()
        self.assertEqual(self.page.title(), "Your account is ready – test.example")
        self.page.reload()
        self.assertReady()
        self.page.go_back()
        self.assertReady()
        self.go(REGISTER)
        self.assertStep(ACCOUNT)
        self.assertEqual(self.page.get_by_label("User name").input_value(), "")

    def test_backAndForward(self) -> None:
        """Back and Forward lead through the steps; one that is passed says so. After Back another
        name can be chosen, without the password again. The mail may lead away from this very tab:
        Back leads here, and on."""
        self.go(REGISTER)
        self.fill()
        self.assertStep(TOKEN)
        self.back(ACCOUNT)
        self.forward(TOKEN)
        self.give_token()
        self.assertStep(ADDRESS_STEP)
        self.back(TOKEN)
        self.page.get_by_text("This step is done.").wait_for()
        self.assertGood("passed-step")
        self.press()
        self.assertStep(ADDRESS_STEP)
        self.page.go_back()
        self.back(ACCOUNT)
        self.reload(ACCOUNT)
        self.page.get_by_text("leave this empty to keep it").wait_for()
        self.page.get_by_label("User name").fill("carol")
        self.press()
        self.assertStep(ADDRESS_STEP)
        self.give()
        self.page.get_by_label(CODE).wait_for()
        self.page.go_back()
        self.page.get_by_label(ADDRESS).wait_for()
        self.assertEqual(self.page.get_by_label(ADDRESS).input_value(), ALICE)
        self.page.go_forward()
        self.page.get_by_label(CODE).wait_for()
        self.go(self.link(self.mail()))
        self.press(CONFIRM)
        self.page.get_by_role("heading", name="Your address is confirmed").wait_for()
        self.page.evaluate("history.go(-2)")
        self.assertReady("@carol:test.example")

    def test_tooMany(self) -> None:
        """A refusal for too many requests counts down visibly, and then tries again by itself; the
        step can be left meanwhile."""
        left = [2]

        def refuse(route: Any) -> None:
            if left[0] == 0:
                return route.continue_()
            left[0] -= 1
            body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many", "retry_after_ms": 62_000}
            route.fulfill(status=429, body=json.dumps(body))

        self.go(REGISTER)
        self.page.clock.install()
        self.page.route("**/v3/register", refuse)
        self.fill()
        status = self.page.get_by_role("status").filter(has_text="tries again by itself")
        status.wait_for()
        self.assertGood("too-many")
        self.page.clock.run_for(3_000)
        self.page.get_by_role("timer").filter(has_text="0:5").wait_for()
        self.page.clock.run_for(120_000)
        self.page.clock.resume()
        self.assertStep(TOKEN)
        self.assertEqual(left, [0])

    def test_passwordAgain(self) -> None:
        """If the server has lost the session's password, the page asks for it again, and only for
        it."""
        self.go(REGISTER)
        self.fill()
        self.assertStep(TOKEN)
        self.reload(TOKEN)
        self.give_token()
        self.give()
        code = self.code(self.mail())
        lost = {"errcode": "M_MISSING_PARAM", "error": "Please send your password again: …"}
        self.page.route(
            "**/v3/register",
            lambda route: route.fulfill(status=400, body=json.dumps(lost)),
            times=1,
        )
        self.page.get_by_label(CODE).fill(code)
        self.press()
        self.assertAlert("Please send your password again")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "password")
        self.press()  # the browser itself says that the password is missing
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.press()
        self.assertReady()

    def test_invitation(self) -> None:
        """The link of an invitation fills its token in, and the address forgets it."""
        self.go(f"{REGISTER}?token=good")
        self.fill()
        self.assertStep(TOKEN)
        self.assertEqual(self.page.get_by_label(TOKEN).input_value(), "good")
        self.assertNotIn("good", self.page.url)

    def test_weight(self) -> None:
        """All that the page loads weighs less than MOST_BYTES, whatever the language; and it comes
        at once, so that each answer may take 2.5 s: nothing is asked for before the page is shown
        that the page itself does not name."""
        for language in ("en", "de", "fr"):
            self.page = self.open(locale=language)
            session = self.page.context.new_cdp_session(self.page)
            session.send("Network.enable")
            sizes: list[int] = []
            session.on("Network.loadingFinished", lambda it: sizes.append(it["encodedDataLength"]))
            markup = []
            self.page.on("response", lambda it: markup.append(it) if it.url.endswith("/") else None)
            self.go(REGISTER)
            self.page.locator("#username").wait_for()
            self.page.wait_for_load_state("networkidle")
            self.assertGreater(sum(sizes), 10_000)
            self.assertLess(sum(sizes), MOST_BYTES, language)
            loaded = self.page.evaluate(
                "performance.getEntriesByType('resource').map(it => new URL(it.name).pathname)"
            )
            html = markup[0].text()
            self.assertGreater(len(loaded), 10)
            self.assertEqual([path for path in loaded if path not in html], [], language)
