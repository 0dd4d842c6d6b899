"""Approval over real HTTP, on PostgreSQL: the newcomer's address is confirmed by mail, an
administrator's program and the command line decide, and both are told by mail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping
from urllib.parse import parse_qsl, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.smtp import Delivered
from tests.support import postgres
from tests.support.patience import PATIENCE_S
from tests.support.service_process import ROOT, ServiceProcess, psycopg2, write_config
from tests.support.smtp_process import smtp_process
from tests.web.test_admin import mac_of

V3 = "/_matrix/client/v3"
ADMIN = "/_synapse/admin/v1/register"
PASSWORD, SHARED = "correct horse battery", "shared"
PLENTY = {"per_second": 1000, "burst_count": 1000}
REASON = "org.regsys.registration_reason"


class ApprovalProcessTests(SynchronousTestCase):
    def setUp(self) -> None:
        running = smtp_process()
        self.mails = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.config = write_config(
            folder,
            psycopg2(postgres.dsn(self)),
            email={"notif_from": "a@test.example", "smtp_port": self.mails.port},
            registrations_require_3pid=["email"],
            rc_3pid_validation=PLENTY,
            registration_shared_secret=SHARED,
            experimental_features={
                "msc3866": {"enabled": True, "require_approval_for_new_accounts": True}
            },
            regsys={"approval": {"ask_reason": True, "notify": ["root@mail.example"]}},
        )
        self.service = ServiceProcess(self, self.config)

    def post(self, path: str, body: Mapping[str, Any], **more: Any) -> Any:
        return self.service.ask("POST", path, dict(body), **more)

    def mail(self, *, to: str) -> Delivered:
        mail = self.mails.next_mail()
        assert mail is not None
        self.assertEqual(mail.to, to)
        return mail

    def ask_for(self, name: str) -> None:
        """Register with a reason and an address, as far as to the waiting."""
        body = {"username": name, "password": PASSWORD}
        session = self.post(f"{V3}/register", body).json["session"]
        secret = {"client_secret": f"secret{name}"}
        asked = {**secret, "email": f"{name}@mail.example", "send_attempt": 1}
        sid = self.post(f"{V3}/register/email/requestToken", asked).json["sid"]
        mail = self.mail(to=f"{name}@mail.example")
        found = re.search(r"^https://\S+$", mail.part("plain"), re.MULTILINE)
        assert found is not None
        parts = urlsplit(found[0])
        self.assertEqual(self.post(parts.path, dict(parse_qsl(parts.query))).status, 200)
        creds = {"threepid_creds": {"sid": sid, **secret}, "type": "m.login.email.identity"}
        for auth, status in (({"type": REASON, "reason": f"I am {name}"}, 401), (creds, 403)):
            answer = self.post(f"{V3}/register", {"auth": {"session": session, **auth}})
            self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.json["errcode"], "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL")

    def log_in(self, user: str) -> Any:
        body = {"type": "m.login.password", "user": user, "password": PASSWORD}
        return self.post(f"{V3}/login", body)

    def make_admin(self) -> str:
        body = {"username": "root", "password": PASSWORD, "admin": True}
        nonce = self.service.ask("GET", ADMIN).json["nonce"]
        answer = self.post(ADMIN, {**body, "nonce": nonce, "mac": mac_of(body, nonce, SHARED)})
        return str(answer.json["access_token"])

    def test_wholeWay(self) -> None:
        """One newcomer is approved and can log in, the other is refused, and the address is free;
        each is told, the administrator once; no reason and no address is in the log."""
        token, api = self.make_admin(), "/_regsys/v1/approvals"
        self.ask_for("alice")
        told = self.mail(to="root@mail.example")
        self.assertIn("\nhttps://test.example/_regsys/approvals/\n", told.part("plain"))
        self.ask_for("mallory")
        waiting = self.service.ask("GET", api, token=token).json
        self.assertEqual(
            [it["reason"] for it in waiting["approvals"]], ["I am alice", "I am mallory"]
        )
        self.assertEqual(waiting["approvals"][0]["emails"], ["alice@mail.example"])

        approved = self.service.ask("POST", f"{api}/alice/approve", token=token)
        self.assertEqual((approved.status, approved.json["by"]), (200, "@root:test.example"))
        told = self.mail(to="alice@mail.example")
        self.assertIn("Your account is approved", told.message["Subject"])
        self.assertEqual(self.log_in("alice").status, 200)

        refuse = ("approvals", "refuse", "mallory", "--reason", "No pills", "-c", str(self.config))
        done = subprocess.run(
            [sys.executable, "-m", "regsys", *refuse],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "@mallory:test.example is refused.\n"))
        told = self.mail(to="mallory@mail.example")
        self.assertIn("    No pills\n", told.part("plain"))
        self.assertEqual(self.log_in("mallory").json["errcode"], "M_FORBIDDEN")
        late = self.service.ask("POST", f"{api}/mallory/approve", token=token)
        self.assertEqual((late.status, late.json["by"]), (409, "cli"))
        self.assertEqual(self.service.ask("GET", api, token=token).json["total"], 0)
        again = {"email": "mallory@mail.example", "client_secret": "other", "send_attempt": 1}
        self.assertEqual(self.post(f"{V3}/register/email/requestToken", again).status, 200)
        told = self.mail(to="mallory@mail.example")
        self.assertIn("Confirm your email address", told.message["Subject"])

        output = self.service.stop()
        self.assertIn("approved the account @alice:test.example (by @root:test.example)", output)
        for canary in ("I am alice", "alice@mail", "root@mail", "pills"):
            self.assertNotIn(canary, output)
