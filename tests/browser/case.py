"""A browser, and the service that it looks at.

Chromium is the system's (or the one that REGSYS_TEST_CHROMIUM names), driven by PyPI's playwright;
npm brings axe-core, the rules of accessibility. Where one of them is missing the tests are skipped;
with CI=true they fail.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.npm import Missing, packages
from tests.support.patience import PATIENCE_S
from tests.support.reporter import report_on_failure
from tests.support.service_process import ServiceProcess, sqlite, write_config

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As root there is no sandbox; the other flags keep it from connecting to any server but ours.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = int(PATIENCE_S * 1000)
# What the console reports as an error although it is none: a status of 400 or above, and that a
# test has taken the page offline.
NO_COMPLAINT = re.compile("the server responded|net::ERR_INTERNET_DISCONNECTED")
DESKTOP = {"width": 1280, "height": 800}
REGISTER = "/_matrix/static/client/register/"
PASSWORD = "correct horse battery staple"
PLENTY = {"per_second": 1000, "burst_count": 1000}


@functools.cache
def browser() -> Any:
    """The browser of this test process, started by the first call. Raises Missing."""
    found = os.environ.get("REGSYS_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), ""
    )
    if not found:
        raise Missing("Chromium was not found (Debian: chromium): the pages were not tested.")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Missing("playwright, of the extra 'dev', is not installed.") from None
    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    started = playwright.chromium.launch(executable_path=found, args=list(FLAGS), timeout=WAIT_MS)
    atexit.register(started.close)
    return started


@functools.cache
def axe() -> str:
    """The source of axe-core. Raises Missing."""
    return (packages() / "axe-core/axe.min.js").read_text("utf-8")


class BrowserCase(SynchronousTestCase):
    """``options`` are the service's. ``self.page`` is a tab of a desktop's size, in English.

    What a page logs as an error or a warning fails the test, so whatever its policy
    (Content-Security-Policy) had to stop does. ``asked`` are the addresses it has asked for.

    Wait for what the next step needs, not for what stands beside it: Playwright waits for an
    element before it acts on it, and for nothing where a test only reads.
    """

    options: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        try:
            self.browser, self.axe = browser(), axe()
        except Missing as missing:
            if os.environ.get("CI") == "true":
                self.fail(str(missing))
            raise SkipTest(str(missing)) from None
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.service = self.serve(**self.options)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        report_on_failure(self, "the pages", self.seen)
        self.page = self.open()

    def tearDown(self) -> None:
        self.assertEqual(self.complaints, [])

    def serve(self, **options: Any) -> ServiceProcess:
        config = write_config(self.folder, sqlite(self.folder), **options)
        return ServiceProcess(self, config)

    def open(self, **look: Any) -> Any:
        """A tab in a profile of its own; ``look`` has arguments of Playwright's ``new_context``."""
        context = self.browser.new_context(**{"viewport": DESKTOP, "locale": "en", **look})
        self.addCleanup(context.close)
        context.set_default_timeout(WAIT_MS)
        context.on("weberror", lambda event: self.complaints.append(str(event.error)))
        context.on("console", self._console)
        context.on("request", lambda request: self.asked.append(request.url))
        return context.new_page()

    def go(self, path: str) -> None:
        self.page.goto(f"{self.service.base_url}{path}")

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not NO_COMPLAINT.search(message.text):
            self.complaints.append(message.text)

    def seen(self) -> str:
        """What each tab shows now, and what the console has."""
        pages = [page for context in self.browser.contexts for page in context.pages]
        texts = [f"{page.url}\n{page.locator('body').inner_text(timeout=5000)}" for page in pages]
        return "\n".join([*texts, *self.complaints])

    def registration(self, **body: Any) -> Any:
        """Ask to register; the body of the 401."""
        fields = {"username": "alice", "password": PASSWORD, **body}
        answer = self.service.ask("POST", "/_matrix/client/v3/register", fields)
        self.assertEqual(answer.status, 401, answer)
        return answer.json

    def make_token(self, token: str) -> None:
        """A registration token that may be used any number of times."""
        insert = "INSERT INTO registration_tokens VALUES (?, NULL, 0, NULL, FALSE, NULL, NULL, 0)"
        with closing(sqlite3.connect(self.database)) as database, database:
            database.execute(insert, (token,))

    def forget_sessions(self) -> None:
        """Delete all sessions, as two days would."""
        with closing(sqlite3.connect(self.database)) as database, database:
            database.execute("DELETE FROM uia_sessions")

    @property
    def database(self) -> Path:
        return self.folder / "homeserver-regsys.db"

    # --- The registration page ---------------------------------------------------------------

    def fill(self, name: str = "alice", password: str = PASSWORD) -> None:
        """Type name and password, and submit them."""
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.press()

    def press(self, button: str = "Continue") -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def assertAlert(self, text: str) -> None:
        """The page shows this error."""
        self.page.get_by_role("alert").filter(has_text=text).wait_for()

    def assertStep(self, title: str) -> None:
        """The page has come to this step, in the heading and in the focus."""
        self.page.get_by_role("heading", name=title, level=2).wait_for()
        self.assertEqual(self.page.locator("[aria-current=step]").inner_text(), title)

    def assertReady(self, user_id: str = "@alice:test.example", password: str = PASSWORD) -> None:
        """The account exists: the page names it, and it can be logged in to."""
        self.page.get_by_text("Your account is ready").wait_for()
        self.assertEqual(self.page.locator("#user-id").inner_text(), user_id)
        login = {"type": "m.login.password", "user": user_id, "password": password}
        answer = self.service.ask("POST", "/_matrix/client/v3/login", login)
        self.assertEqual(answer.json["user_id"], user_id)

    # --- Any page --------------------------------------------------------------------------

    def assertGood(self, what: str) -> None:
        """The page is accessible, and fits every screen."""
        self.assertAccessible(what)
        self.assertFits(what)
        self.page.set_viewport_size(DESKTOP)

    def assertAccessible(self, what: str) -> None:
        """axe-core finds nothing serious, in light or in dark."""
        page = self.page
        page.evaluate(self.axe)
        for scheme, rules in (("light", {}), ("dark", {"runOnly": "color-contrast"})):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("rules => axe.run(rules)", rules)["violations"]
            grave = [
                (wrong["id"], [node["html"] for node in wrong["nodes"]])
                for wrong in found
                if wrong["impact"] in ("serious", "critical")
            ]
            self.assertEqual(grave, [], f"{what}, {scheme}")
            self.picture(f"{what}-{scheme}")

    def assertFits(self, what: str) -> None:
        """Nothing needs scrolling sideways, however narrow the screen."""
        page = self.page
        for width in (360, 320):
            page.set_viewport_size({"width": width, "height": 640})
            wide = page.evaluate("document.documentElement.scrollWidth")
            self.assertLessEqual(wide, width, what)
            self.picture(f"{what}-{width}")

    def picture(self, name: str) -> None:
        """A picture for the reader, in the folder of the test, below trial's own."""
        self.page.screenshot(path=str(self.folder / f"{name}.png"), full_page=True)
