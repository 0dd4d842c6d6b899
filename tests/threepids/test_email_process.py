"""Registering with an email address from end to end: ``regsys serve``, a mail server beside it, and
a user who opens mails and submits forms; on SQLite and on PostgreSQL."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Mapping, Optional
from urllib.parse import urlencode, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.service_process import (
    SERVER_NAME,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)
from tests.support.smtp_process import SMTPProcess, smtp_process

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
ALICE = f"@alice:{SERVER_NAME}"
ADDRESS = "alice@mail.example"
STAGE = "m.login.email.identity"
MAIL = {"notif_from": "%(app)s <noreply@test.example>", "enable_notifs": True}


class Form(HTMLParser):
    """The form of a page, as a browser would send it; ``links`` are all links of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found["action"]
        elif tag == "input":
            self.fields[found["name"]] = found.get("value", "")
        elif tag == "a":
            self.links.append(found["href"])


class EmailProcess:
    """For every database; ``database(folder)`` gives its section of the file."""

    def serve(self, server: SMTPProcess) -> ServiceProcess:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(
            folder,
            self.database(folder),
            registrations_require_3pid=["email"],
            email={**MAIL, "smtp_port": server.port},
        )
        return ServiceProcess(self, config)

    def test_endToEnd(self) -> None:
        """Requested, mailed, opened, confirmed by the page's button, registered, logged in by the
        address, and notified there; no log line has a secret of the validation."""
        with smtp_process() as server:
            service = self.serve(server)
            fields = {"username": "alice", "password": PASSWORD}
            session = service.ask("POST", f"{V3}/register", fields).json["session"]
            body = {"email": "Alice@mail.example", "client_secret": "se.cret", "send_attempt": 1}
            sid = service.ask("POST", f"{V3}/register/email/requestToken", body).json["sid"]
            mail = server.next_mail()
            assert mail is not None
            self.assertEqual(mail.to, ADDRESS)
            link = urlsplit(Form(mail.part("html")).links[0])
            page = service.ask("GET", f"{link.path}?{link.query}")
            self.assertEqual(page.status, 200, page.text)
            self.assertIn(ADDRESS, page.text)
            creds = {"sid": sid, "client_secret": "se.cret"}
            auth = {"type": STAGE, "session": session, "threepid_creds": creds}
            early = service.ask("POST", f"{V3}/register", {"auth": auth})
            self.assertEqual((early.status, early.json["errcode"]), (401, "M_UNAUTHORIZED"))
            form = Form(page.text)
            folder = link.path.rpartition("/")[0]
            done = service.ask("POST", f"{folder}/{form.action}", urlencode(form.fields).encode())
            self.assertEqual(done.status, 200)
            self.assertIn("Your address is confirmed", done.text)
            account = service.ask("POST", f"{V3}/register", {"auth": auth})
            self.assertEqual((account.status, account.json["user_id"]), (200, ALICE), account)
            self.log_in(service)
            answer = service.ask("GET", f"{V3}/pushers", token=account.json["access_token"])
            self.assertEqual([item["pushkey"] for item in answer.json["pushers"]], [ADDRESS])
            output = service.stop()
            for secret in (form.fields["token"], ADDRESS, "se.cret"):
                self.assertNotIn(secret, output)

    def log_in(self, service: ServiceProcess) -> None:
        who = {"type": "m.id.thirdparty", "medium": "email", "address": ADDRESS}
        login = {"type": "m.login.password", "identifier": who, "password": PASSWORD}
        answer = service.ask("POST", f"{V3}/login", login)
        self.assertEqual((answer.status, answer.json["user_id"]), (200, ALICE), answer)
        me = service.ask("GET", f"{V3}/account/whoami", token=answer.json["access_token"])
        self.assertEqual(me.json["user_id"], ALICE)


class SQLiteEmailTests(EmailProcess, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return sqlite(folder)


class PostgreSQLEmailTests(EmailProcess, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return psycopg2(postgres.dsn(self))
