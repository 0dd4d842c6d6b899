"""The registration page keeps what it has: over reloads, Back, and the second tab of a mail."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Mapping
from urllib.parse import urlsplit

from tests.browser.case import PASSWORD, PLENTY, REGISTER
from tests.browser.test_email import ADDRESS, ALICE, APP, CODE, CONFIRM, EmailCase
from tests.browser.test_email import STEP as ADDRESS_STEP

TOKEN, CHOICE = "Registration token", "How would you like to go on?"
ACCOUNT = "Name and password"
# What the whole page may weigh, as sent, without the scripts of captchas.
MOST_BYTES = 60_000


class DialogueTests(EmailCase):
    """On a server that requires a token and an address."""

    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
        "admin_contact": "mailto:admin@test.example",
        "regsys": {"hold_names": True},
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
        self.assertLeadsOn()
        self.go(REGISTER)
        self.assertStep(ACCOUNT)
        self.assertEqual(self.page.get_by_label("User name").input_value(), "")

    def assertLeadsOn(self) -> None:
        """The end leads to the web app, to a link for others, and the Matrix ID can be copied."""
        app = self.page.get_by_role("link", name="Open in app.test.example")
        self.assertEqual(app.get_attribute("href"), APP)
        link = self.page.get_by_role("link", name="matrix.to/#/@alice:test.example")
        address = "https://matrix.to/#/%40alice%3Atest.example"
        self.assertEqual(link.get_attribute("href"), address)
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.press("Copy")
        self.page.get_by_role("status").filter(has_text="Copied.").wait_for()
        copied = self.page.evaluate("navigator.clipboard.readText()")
        self.assertEqual(copied, "@alice:test.example")
        self.assertGood("end")

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
        for typed in ("alic", "alice"):  # which is held for this very dialogue
            self.page.get_by_label("User name").fill(typed)
            status = self.page.get_by_role("status")
            status.filter(has_text=f"@{typed}:test.example is free.").wait_for()
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
        left = [1, 2]

        def refuse(route: Any) -> None:
            left.pop()
            body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many", "retry_after_ms": 12_000}
            route.fulfill(status=429, body=json.dumps(body))

        self.go(REGISTER)
        self.page.clock.install()
        self.page.route("**/v3/register", refuse, times=2)
        self.fill()
        status = self.page.get_by_role("status").filter(has_text="tries again by itself")
        status.wait_for()
        self.assertGood("too-many")
        self.page.clock.run_for(3_000)
        self.page.get_by_role("timer").filter(has_text="0:0").wait_for()
        self.page.clock.run_for(20_000)
        self.page.clock.resume()
        self.assertStep(TOKEN)
        self.assertEqual(left, [])

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

    def test_slow(self) -> None:
        """With 2.5 s to each answer the page says that it is working, and sends nothing twice."""
        self.page.context.new_cdp_session(self.page).send(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 2500, "downloadThroughput": -1, "uploadThroughput": -1},
        )
        self.go(REGISTER)
        self.fill()
        self.page.get_by_role("status").filter(has_text="Working…").wait_for()
        self.page.keyboard.press("Enter")  # the button has the focus
        self.assertStep(TOKEN)
        registers = [url for url in self.asked if url.endswith("/v3/register")]
        self.assertEqual(len(registers), 1)

    def test_weight(self) -> None:
        """All that the page loads weighs less than MOST_BYTES, whatever the language; and it comes
        at once: the page names all of it, so that no file waits for another one."""
        for language in ("en", "de", "fr"):
            self.page = self.open(locale=language)
            weight, unnamed = self.load()
            self.assertGreater(weight, 10_000)
            self.assertLess(weight, MOST_BYTES, language)
            self.assertEqual(unnamed, [], language)

    def load(self) -> tuple[int, list[str]]:
        """How many bytes come over the wire for the page, and what it loads without naming it."""
        sizes: list[int] = []
        session = self.page.context.new_cdp_session(self.page)
        session.on("Network.loadingFinished", lambda it: sizes.append(it["encodedDataLength"]))
        session.send("Network.enable")
        html = self.page.goto(f"{self.service.base_url}{REGISTER}").text()
        self.page.locator("#username").wait_for()
        self.page.wait_for_load_state("networkidle")
        loaded = self.page.evaluate("performance.getEntriesByType('resource').map(it => it.name)")
        self.assertGreater(len(loaded), 10)
        return sum(sizes), [url for url in loaded if urlsplit(url).path not in html]
