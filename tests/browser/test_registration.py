"""A person registers on the registration page."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Mapping

from tests.browser.case import PASSWORD, PLENTY, REGISTER, BrowserCase

POLICY = {
    "enabled": True,
    "minimum_length": 8,
    "require_digit": True,
    "require_symbol": True,
    "require_uppercase": True,
    "require_lowercase": True,
}


class OpenTests(BrowserCase):
    """On a server that asks for a name and a password alone."""

    def setUp(self) -> None:
        super().setUp()
        self.go(REGISTER)

    def name(self, typed: str, told: str) -> None:
        """Type a name, and wait until the page has told this of it."""
        self.page.get_by_label("User name").fill(typed)
        self.page.get_by_role("status").filter(has_text=told).wait_for()

    def test_register(self) -> None:
        """Name and password become an account; the page asks nobody but its server, and no
        address holds the password."""
        self.assertGood("register")
        self.fill("Alice")
        self.assertReady()
        self.assertGood("welcome")
        self.assertTrue(all(url.startswith(self.service.base_url) for url in self.asked))
        self.assertNotIn("correct", " ".join(self.asked))

    def test_nameWhileTyping(self) -> None:
        """Whether a name is good and free is told while it is typed; and again at the end."""
        taken = {"username": "bob", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        self.service.ask("POST", "/_matrix/client/v3/register", taken)
        self.name("Bob", "This user name is taken.")
        self.name("bo b", "consists of the characters")
        self.assertAccessible("name-refused")
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.press()
        self.assertAlert("consists of the characters")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "username")
        self.name("alice", "@alice:test.example is free.")
        self.press()
        self.assertReady()

    def test_keyboard(self) -> None:
        """All of it can be done without a mouse, in the order in which it is read."""
        press = self.page.keyboard.press
        self.page.get_by_role("heading", name="Name and password").wait_for()
        press("Tab")
        self.page.keyboard.type("alice")
        press("Tab")
        self.page.keyboard.type(PASSWORD)
        press("Tab")
        press("Space")
        self.assertEqual(self.page.locator("#password").get_attribute("type"), "text")
        press("Tab")
        press("Enter")
        self.assertReady()
        self.assertEqual(self.page.evaluate("document.activeElement.tagName"), "H2")

    def test_unreachable(self) -> None:
        """Where the connection is lost the page says so, and nothing that was typed is."""
        self.page.context.set_offline(True)
        self.fill()
        self.assertAlert("cannot be reached")
        self.complaints.clear()  # the browser's own, of the connection
        self.page.context.set_offline(False)
        self.press()
        self.assertReady()

    def test_choice(self) -> None:
        """Of several ways a person takes one, among those that can be gone in a browser."""
        ways = [["a"], ["b"], ["a", "m.login.dummy"], ["a", "b"], ["m.login.email.identity"]]
        challenge = {"session": "S", "flows": [{"stages": way} for way in ways], "params": {}}
        answers = iter([(401, challenge), (200, {"user_id": "@alice:test.example"})])
        forms = {"a": "An apple", "b": "A banana"}

        def register(route: Any) -> None:
            status, body = next(answers)
            route.fulfill(status=status, body=json.dumps(body))

        def stage(route: Any) -> None:
            title = forms.get(route.request.url.split("/auth/")[1][0])
            passed = (
                "" if route.request.method == "POST" else "<form><button>Give it</button></form>"
            )
            route.fulfill(status=200 if title else 404, body=f"<h1>{title}</h1>{passed}")

        self.page.route("**/v3/register", register)
        self.page.route("**/fallback/web*", stage)
        self.fill()
        self.page.get_by_role("heading", name="How would you like to go on?").wait_for()
        buttons = self.page.get_by_role("button")
        self.assertEqual(buttons.all_inner_texts(), ["An apple", "A banana"])
        self.assertGood("choice")
        self.press("A banana")
        self.assertStep("A banana")
        self.press("Give it")
        self.page.get_by_text("Your account is ready").wait_for()


class PolicyTests(BrowserCase):
    options: ClassVar[Mapping[str, Any]] = {"password_config": {"policy": POLICY}}

    def test_whileTyping(self) -> None:
        """What a password still lacks is marked while it is typed, and told when it is sent."""
        self.go(REGISTER)
        rules = self.page.locator("#rules li")
        for typed, met in (
            ("x", ["A lower-case"]),
            ("É1é", ["A digit", "An upper-case", "A lower-case"]),
            ("👍👍👍👍 👍👍👍", ["Number of characters: 8", "A symbol"]),
        ):
            self.page.get_by_label("Password", exact=True).fill(typed)
            marked = self.page.locator("#rules .good").all_inner_texts()
            self.assertEqual(len(marked), len(met), (typed, marked))
            for text, start in zip(marked, met, strict=True):
                self.assertTrue(text.startswith(start), (typed, marked))
        self.assertEqual(rules.count(), 5)
        self.fill("alice", "Correct horse")
        self.assertAlert("The password still lacks: A digit")
        self.assertGood("policy")
        self.fill("alice", "Correct horse 1")
        self.page.get_by_text("Your account is ready").wait_for()


class TokenTests(BrowserCase):
    """On a server that asks for a registration token."""

    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
    }
    token = "Registration token"

    def setUp(self) -> None:
        super().setUp()
        self.make_token("good")
        self.go(REGISTER)

    def give(self, token: str) -> None:
        self.page.get_by_label(self.token).fill(token)
        self.press()

    def test_token(self) -> None:
        """A wrong token is told where it was given, and mended there."""
        self.fill()
        self.assertStep(self.token)
        self.assertEqual(self.page.evaluate("document.activeElement.tagName"), "H2")
        self.assertGood("token")
        self.give("bad")
        self.assertAlert("This registration token is not valid.")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "token")
        self.assertGood("token-refused")
        self.give("good")
        self.assertReady()
        self.assertNotIn("good", " ".join(self.asked))

    def test_nameLost(self) -> None:
        """A name that somebody else took meanwhile is chosen anew; what was passed stays passed."""
        self.fill()
        self.assertStep(self.token)
        other = self.registration(auth={"type": "m.login.dummy"})["session"]
        stage = {"type": "m.login.registration_token", "token": "good", "session": other}
        body = {"auth": stage}
        self.assertEqual(self.service.ask("POST", "/_matrix/client/v3/register", body).status, 200)
        self.give("good")
        self.assertAlert("This user name is taken.")
        self.fill("bob")
        self.assertReady("@bob:test.example")

    def test_sessionLost(self) -> None:
        """A session that is not known any more is begun anew."""
        self.fill()
        self.assertStep(self.token)
        self.forget_sessions()
        self.give("good")
        self.assertAlert("unknown or has expired: start again")
        self.press()
        self.assertStep(self.token)
        self.give("good")
        self.assertReady()


class ClosedTests(BrowserCase):
    options: ClassVar[Mapping[str, Any]] = {"enable_registration": False}

    def test_closed(self) -> None:
        """A server where nobody can register says so."""
        self.go(REGISTER)
        self.assertAlert("Registration is not open on this server.")
        self.assertGood("closed")
