"""Approval as people see it: a newcomer's reason, the administrator's phone, and the mail."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any, ClassVar, Mapping, Sequence
from urllib.parse import urlsplit

from tests.browser.case import PASSWORD, REGISTER, BrowserCase
from tests.doubles.smtp import Delivered
from tests.support.patience import until
from tests.support.service_process import ServiceProcess
from tests.support.smtp_process import smtp_process
from tests.web.test_admin import mac_of

WHY = "I sing in the choir.\nAnn knows me <3"
ROOT, ALICE = "root@mail.example", "alice@mail.example"
PHONE = {"width": 360, "height": 640}
SHARED = "shared"
LOGIN = "/_matrix/client/v3/login"


class ApprovalTests(BrowserCase):
    options: ClassVar[Mapping[str, Any]] = {
        "experimental_features": {
            "msc3866": {"enabled": True, "require_approval_for_new_accounts": True}
        },
        "registration_shared_secret": SHARED,
        "regsys": {
            "rc_availability": False,
            "approval": {"ask_reason": True, "notify": [ROOT], "notify_language": "fr"},
        },
    }

    def setUp(self) -> None:
        running = smtp_process()
        self.mails = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        super().setUp()

    def serve(self, **options: Any) -> ServiceProcess:
        mails = {"notif_from": "a@test.example", "smtp_port": self.mails.port}
        return super().serve(email=mails, **options)

    def mail(self, to: str) -> Delivered:
        mail = self.mails.next_mail()
        assert mail is not None
        self.assertEqual(mail.to, to)
        return mail

    def make_admin(self) -> None:
        path, body = "/_synapse/admin/v1/register", {"username": "root", "password": PASSWORD}
        nonce = self.service.ask("GET", path).json["nonce"]
        mac = mac_of({**body, "admin": True}, nonce, SHARED)
        sent = {**body, "admin": True, "nonce": nonce, "mac": mac}
        self.assertEqual(self.service.ask("POST", path, sent).status, 200)

    def log_in(self, user: str) -> Any:
        body = {"type": "m.login.password", "user": user, "password": PASSWORD}
        return self.service.ask("POST", LOGIN, body)

    def ask_for(self, name: str, why: str) -> None:
        """Register on the page, as far as to the waiting."""
        self.go(REGISTER)
        self.page.locator("#username").fill(name)
        self.page.locator("#password").fill(PASSWORD)
        self.page.locator("#password").press("Enter")
        self.page.locator("#reason").fill(why)
        if name == "alice":
            self.assertGood("reason")
        self.page.locator("form:has(#reason) button").click()
        asked = f"SELECT 1 FROM approvals WHERE user_id = '@{name}:test.example'"
        until(lambda: self.rows(asked), self.seen)

    def rows(self, sql: str, *values: Any) -> Sequence[Any]:
        with closing(sqlite3.connect(self.database)) as database, database:
            return database.execute(sql, values).fetchall()

    def test_wholeWay(self) -> None:
        """Newcomers say why, in German; an administrator reads the mail, opens the page on a phone,
        logs in, approves one and refuses the other; the first is told in
        German, and can log in."""
        self.make_admin()
        self.page = self.open(locale="de")
        self.ask_for("alice", WHY)
        # As if it had been confirmed on the way.
        add = "INSERT INTO threepids VALUES ('email', ?, '@alice:test.example', 1, 1)"
        self.rows(add, ALICE)
        self.ask_for("mallory", "To sell pills.")
        self.assertEqual(self.log_in("alice").status, 403)

        told = self.mail(ROOT)
        self.assertIn("Des comptes attendent une approbation", told.message["Subject"])
        self.assertNotIn("alice", told.part("plain"))
        found = re.search(r"^https://\S+$", told.part("plain"), re.MULTILINE)
        assert found is not None
        page = self.page = self.open(viewport=PHONE)
        self.go(urlsplit(found[0]).path)
        page.get_by_label("User name").fill("root")
        page.get_by_label("Password").fill("wrong")
        self.press("Log in")
        self.assertAlert("The user name or the password is wrong.")
        page.get_by_label("Password").fill(PASSWORD)
        self.press("Log in")

        page.get_by_role("heading", name="@alice:test.example").wait_for()
        self.assertEqual(page.locator(".reason").first.inner_text(), WHY)
        page.get_by_text("Refuse …").last.click()
        self.assertGood("queue")
        page.set_viewport_size(PHONE)
        page.get_by_role("button", name="Approve").first.click()
        page.get_by_text("@alice:test.example is approved, by @root:test.example.").wait_for()
        page.get_by_text("Refuse …").click()
        page.get_by_label("What the person is told").fill("No pills.")
        self.press("Refuse")
        page.get_by_text("@mallory:test.example is refused, by @root:test.example.").wait_for()
        page.get_by_text("Nobody waits for approval.").wait_for()

        told = self.mail(ALICE)
        self.assertIn("Ihr Konto ist freigegeben", told.message["Subject"])
        self.assertEqual(self.log_in("alice").json["user_id"], "@alice:test.example")
        self.assertEqual(self.log_in("mallory").status, 403)
        self.press("Log out")
        page.get_by_label("Password").wait_for()
