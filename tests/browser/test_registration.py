"""A user registers on the registration page."""

from __future__ import annotations

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
    """On a server that requires a name and a password alone."""

    def setUp(self) -> None:
        super().setUp()
        self.go(REGISTER)

    def name(self, typed: str, status: str) -> None:
        """Type a name, and wait until the page shows this status for it."""
        self.page.get_by_label("User name").fill(typed)
        self.page.get_by_role("status").filter(has_text=status).wait_for()

    def test_register(self) -> None:
        """Name and password make an account; the page sends requests to its own server only, and no
        URL contains the password."""
        self.assertGood("register")
        self.fill("Alice")
        self.assertReady()
        self.assertGood("welcome")
        self.assertTrue(all(url.startswith(self.service.base_url) for url in self.asked))
        self.assertNotIn("correct", " ".join(self.asked))

    def test_nameWhileTyping(self) -> None:
        """Whether a name is valid and free is shown while it is typed; and again at the end."""
        taken = {"username": "bob", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        self.service.ask("POST", "/_matrix/client/v3/register", taken)
        self.name("Bob", "This user name is taken.")
        self.name("bo b", "can contain only the characters")
        self.assertAccessible("name-refused")
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.press()
        self.assertAlert("can contain only the characters")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "username")
        self.name("carol", "@carol:test.example is free.")
        self.assertEqual(self.page.get_by_role("alert").count(), 0)
        self.service.ask("POST", "/_matrix/client/v3/register", {**taken, "username": "carol"})
        self.press()
        self.assertAlert("This user name is taken.")
        self.assertEqual(self.page.locator("#name-status").inner_text(), "")
        self.name("alice", "@alice:test.example is free.")
        self.assertEqual(self.page.get_by_role("alert").count(), 0)
        self.press()
        self.assertReady()

    def test_strength(self) -> None:
        """While a password is typed the page says, after a pause, how hard it is to guess, and what
        makes it weak. It only advises."""
        self.page.get_by_label("User name").fill("alice.liddell")
        status = self.page.get_by_role("status")
        for typed, words in (
            ("passw0rd", "Very easy to guess. It has a word that is tried first."),
            ("Liddell1", "Very easy to guess. It has your name"),
            (PASSWORD, "Very hard to guess."),
        ):
            self.page.get_by_label("Password", exact=True).fill(typed)
            status.filter(has_text=words).wait_for()
        self.page.get_by_label("Password", exact=True).fill("aaaaaa")
        self.press()
        self.assertReady("@alice.liddell:test.example", "aaaaaa")

    def test_estimate(self) -> None:
        """The estimate knows what guessers know."""
        estimate = """async (passwords) => {
            const address = document.querySelector("link[href*=password_meter]").href;
            const { estimate } = await import(address);
            return passwords.map(password => estimate(password, ["alice", "example"]));
        }"""
        known = {
            "": (0, ""),
            "123456": (0, "sequence"),
            "Passw0rd!": (0, "common"),
            "alice2024": (0, "own"),
            "aaaaaaaaaaaa": (0, "repeat"),
            "abcabcabcabc": (0, "repeat"),
            "abcdefghij": (0, "sequence"),
            "1qaz2wsx": (0, "keys"),
            "qwertzuiop": (0, "keys"),
            "24.12.1999": (0, "date"),
            "hund": (0, ""),
            "x7#Kp": (1, ""),
            "kJ8$mq2Lx": (3, ""),
            "zwiebelturm": (4, ""),
            "👍🏽 über den Wolken": (4, ""),
            PASSWORD: (4, ""),
            "x" * 500 + "correct": (0, "repeat"),
        }
        found = self.page.evaluate(estimate, list(known))
        scores = {word: (it["score"], it["reason"]) for word, it in zip(known, found, strict=True)}
        self.assertEqual(scores, known)

    def test_keyboard(self) -> None:
        """All of it can be done without a mouse, in reading order."""
        press = self.page.keyboard.press
        self.page.get_by_role("heading", name="Name and password").wait_for()
        self.page.keyboard.type("alice")
        press("Tab")
        self.page.keyboard.type(PASSWORD)
        press("Tab")
        press("Space")
        self.assertEqual(self.page.locator("#password").get_attribute("type"), "text")
        press("Tab")
        press("Enter")
        self.assertReady()
        self.assertEqual(self.page.evaluate("document.activeElement.tagName"), "H1")

    def test_unreachable(self) -> None:
        """If the connection is lost, the page says so, and keeps what was typed."""
        self.page.context.set_offline(True)
        self.fill()
        self.assertAlert("cannot be reached")
        self.page.context.set_offline(False)
        self.press()
        self.assertReady()


class PolicyTests(BrowserCase):
    options: ClassVar[Mapping[str, Any]] = {"password_config": {"policy": POLICY}}

    def test_whileTyping(self) -> None:
        """The page marks what a password still lacks while it is typed, and reports it when it is
        sent."""
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
    """On a server that requires a registration token."""

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
        """The error for a wrong token appears beside its field, where it can be corrected."""
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
        """If another user has taken the name meanwhile, the user chooses another; passed stages
        stay passed."""
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
        """If the session has expired, the page begins a new one."""
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
        """A server that is closed for registration says so."""
        self.go(REGISTER)
        self.assertAlert("Registration is not open on this server.")
        self.assertGood("closed")
