"""A user's account over real HTTP and real mails: registered with an address, another added, the
first removed (B7.10), the password reset by the other, and deactivated (B17.5)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.log_canaries import leaked
from tests.support.service_process import Answer, ServiceProcess, psycopg2, sqlite, write_config
from tests.support.smtp_process import SMTPProcess, smtp_process

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "incorrect horse battery staple"
SECRET = "a.client.secret"
FIRST, SECOND = "anna@mail.example", "anna@work.example"


class AccountProcess:
    """For every database; ``database(folder)`` gives its section of the file."""

    def database(self: Any, folder: Path) -> dict[str, Any]:
        raise NotImplementedError()

    def validate_address(self: Any, path: str, email: str, **more: Any) -> dict[str, str]:
        """Request a mail, and submit its token; the credentials."""
        body = {"email": email, "client_secret": SECRET, "send_attempt": 1}
        answer = self.service.ask("POST", path, body, **more)
        self.assertEqual(answer.status, 200, answer.text)
        mail = self.server.next_mail()
        self.assertEqual(mail.to, email)
        link = re.search(r"^https?://\S+$", mail.part("plain"), re.MULTILINE)
        parts = urlsplit(link[0] if link else "")
        answer = self.service.ask("POST", parts.path, dict(parse_qsl(parts.query)))
        self.assertEqual((answer.status, answer.json), (200, {"success": True}))
        return {"sid": dict(parse_qsl(parts.query))["sid"], "client_secret": SECRET}

    def registered(self: Any) -> str:
        """Anna registers with her first address and logs in by it; her access token."""
        fields = {"username": "anna", "password": PASSWORD}
        begun = self.service.ask("POST", f"{V3}/register", fields)
        creds = self.validate_address(f"{V3}/register/email/requestToken", FIRST)
        auth = {"type": "m.login.email.identity", "threepid_creds": creds}
        auth["session"] = begun.json["session"]
        answer = self.service.ask("POST", f"{V3}/register", {"auth": auth})
        self.assertEqual(answer.status, 200, answer.text)
        by_email = {"type": "m.id.thirdparty", "medium": "email", "address": FIRST}
        login = {"type": "m.login.password", "identifier": by_email, "password": PASSWORD}
        answer = self.service.ask("POST", f"{V3}/login", login)
        self.assertEqual(answer.status, 200, answer.text)
        return str(answer.json["access_token"])

    def held(self: Any) -> list[str]:
        answer = self.service.ask("GET", f"{V3}/account/3pid", token=self.token)
        return [item["address"] for item in answer.json["threepids"]]

    def add(self: Any, **body: Any) -> Answer:
        answer = self.service.ask("POST", f"{V3}/account/3pid/add", body, token=self.token)
        assert isinstance(answer, Answer)
        return answer

    def run_through(self: Any, server: SMTPProcess) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        email = {"notif_from": "noreply@test.example", "smtp_port": server.port}
        config = write_config(
            folder,
            self.database(folder),
            email=email,
            registrations_require_3pid=["email"],
            rc_3pid_validation={"per_second": 1000, "burst_count": 1000},
        )
        self.server, self.service = server, ServiceProcess(self, config)
        self.token = self.registered()
        self.assertEqual(self.held(), [FIRST])
        path = f"{V3}/account/3pid/email/requestToken"
        creds = self.validate_address(path, SECOND, token=self.token)
        challenge = self.add(**creds)
        self.assertEqual(challenge.status, 401, challenge.text)
        user = {"type": "m.id.user", "user": "anna"}
        auth = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
        auth["session"] = challenge.json["session"]
        answer = self.add(**creds, auth=auth)
        self.assertEqual((answer.status, answer.json), (200, {}), answer.text)
        self.assertEqual(self.held(), [FIRST, SECOND])
        gone = {"medium": "email", "address": FIRST}
        answer = self.service.ask("POST", f"{V3}/account/3pid/delete", gone, token=self.token)
        self.assertEqual(answer.json, {"id_server_unbind_result": "no-support"})
        self.assertEqual(self.held(), [SECOND])
        self.forget_password()
        self.deactivate()

    def forget_password(self: Any) -> None:
        """Anna sets a new password by her address, which logs her out, and logs in with it."""
        path = f"{V3}/account/password"
        creds = self.validate_address(f"{path}/email/requestToken", SECOND)
        auth = {"type": "m.login.email.identity", "threepid_creds": creds}
        body = {"auth": auth, "new_password": NEW_PASSWORD}
        for _ in range(2):
            answer = self.service.ask("POST", path, body)
            self.assertEqual((answer.status, answer.json), (200, {}), answer.text)
        who = self.service.ask("GET", f"{V3}/account/whoami", token=self.token)
        self.assertEqual(who.json["errcode"], "M_UNKNOWN_TOKEN")
        by_email = {"type": "m.id.thirdparty", "medium": "email", "address": SECOND}
        login = {"type": "m.login.password", "identifier": by_email}
        self.assertEqual(
            self.service.ask("POST", f"{V3}/login", {**login, "password": PASSWORD}).status, 403
        )
        answer = self.service.ask("POST", f"{V3}/login", {**login, "password": NEW_PASSWORD})
        self.assertEqual(answer.status, 200, answer.text)
        self.token = answer.json["access_token"]

    def deactivate(self: Any) -> None:
        """Anna deactivates her account."""
        auth = {"type": "m.login.password", "user": "anna", "password": NEW_PASSWORD}
        path = f"{V3}/account/deactivate"
        answer = self.service.ask("POST", path, {"auth": auth, "erase": True}, token=self.token)
        self.assertEqual(answer.json, {"id_server_unbind_result": "no-support"}, answer.text)
        who = self.service.ask("GET", f"{V3}/account/whoami", token=self.token)
        self.assertEqual(who.json["errcode"], "M_UNKNOWN_TOKEN")

    def test_addresses(self: Any) -> None:
        """Anna registers with an address, logs in by it, adds another and removes the first, sets a
        new password by the other, and deactivates the account; the log contains no secret of
        hers, and no address."""
        with smtp_process() as server:
            self.run_through(server)
            output = self.service.stop()
        secrets = {"the password": PASSWORD, "the client's secret": SECRET, "her token": self.token}
        secrets["her new password"] = NEW_PASSWORD
        self.assertEqual(leaked(output, secrets), [])
        for address in (FIRST, SECOND):
            self.assertNotIn(address, output)


class SQLiteAccountTests(AccountProcess, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLAccountTests(AccountProcess, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
