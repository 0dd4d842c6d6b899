"""A user registers on the registration page."""

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
        another; the first words of a stage's form say what it asks for."""
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
        self.page.route("**/captcha.js", lambda route: route.abort())
        form = '<p>Solve it.</p><div></div><script src="/captcha.js"></script>'
        self.answer([["apple"], ["plum"]], {"apple": [form], "plum": ["x"]})
        self.press("apple pie Solve it.")
        self.assertAlert("A content blocker or your network may keep it away.")
        self.page.get_by_text("or choose another way below").wait_for()
        self.assertGood("blocked")
        self.page.unroute("**/captcha.js")
        self.page.route("**/captcha.js", lambda route: None)
        self.page.clock.install()
        self.press("Try again")
        self.page.get_by_text("Solve it.").wait_for()
        self.page.clock.run_for(13_000)
        self.assertAlert("A content blocker or your network may keep it away.")
        self.page.unroute("**/captcha.js")
        self.page.route("**/captcha.js", lambda route: route.fulfill(body=""))
        self.press("Try again")
        self.press("Give it")
        self.page.clock.resume()
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
