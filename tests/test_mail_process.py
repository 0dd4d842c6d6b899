"""``regsys serve`` with a mail server beside it: requested mails arrive, if late."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from regsys.outbound.smtp import ANSWER_S
from tests.doubles.smtp import STALL, Delivered
from tests.support.service_process import ServiceProcess, sqlite, write_config
from tests.support.smtp_process import SMTPProcess, smtp_process

ASK = "/_matrix/client/v3/register/email/requestToken"
# More than can be under way at once.
REQUESTS = 15


class MailProcessTests(SynchronousTestCase):
    def serve(self, server: SMTPProcess) -> ServiceProcess:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        config = write_config(
            folder,
            sqlite(folder),
            email={"notif_from": "%(app)s <noreply@test.example>", "smtp_port": server.port},
            rc_3pid_validation={"per_second": 1000, "burst_count": 1000},
        )
        return ServiceProcess(self, config)

    def start_validation(self, service: ServiceProcess, email: str) -> str:
        """Request a mail; answered with the sid, whatever the mail server does. A request that
        waited for a stalled server would take ANSWER_S."""
        body = {"email": email, "client_secret": "secret", "send_attempt": 1}
        before = time.monotonic()
        answer = service.ask("POST", ASK, body)
        self.assertLess(time.monotonic() - before, ANSWER_S)
        self.assertEqual(answer.status, 200, answer.text)
        return str(answer.json["sid"])

    def link(self, mail: Delivered) -> str:
        found = re.search(r"^https?://\S+$", mail.part("plain"), re.MULTILINE)
        assert found is not None, mail.part("plain")
        return found[0]

    def test_delivered(self) -> None:
        """The mail arrives, its link confirms, and the log has neither link nor address."""
        with smtp_process() as server:
            service = self.serve(server)
            sid = self.start_validation(service, "anna@mail.example")
            mail = server.next_mail()
            assert mail is not None
            self.assertEqual(mail.to, "anna@mail.example")
            self.assertEqual(mail.message["From"], "Matrix <noreply@test.example>")
            parts = urlsplit(self.link(mail))
            fields = dict(parse_qsl(parts.query))
            self.assertEqual(fields["sid"], sid)
            answer = service.ask("POST", parts.path, fields)
            self.assertEqual((answer.status, answer.json), (200, {"success": True}))
            output = service.stop()
            self.assertIn("a…@mail.example", output)
            for secret in (fields["token"], "anna@mail.example"):
                self.assertNotIn(secret, output)

    def test_stalled(self) -> None:
        """While the mail server accepts connections and stalls, requests for mails and all others
        are answered; once there is a working one, every client has its mail, once (F6)."""
        addresses = [f"person{number}@mail.example" for number in range(REQUESTS)]
        with smtp_process() as stalled, ThreadPoolExecutor(REQUESTS) as threads:
            stalled.set_faults({"greeting": STALL})
            service = self.serve(stalled)
            sids = threads.map(lambda email: self.start_validation(service, email), addresses)
            self.assertEqual(len(set(sids)), REQUESTS)
            for path in ("/health", "/_matrix/client/v3/register/available?username=alice"):
                before = time.monotonic()
                self.assertEqual(service.ask("GET", path).status, 200)
                self.assertLess(time.monotonic() - before, ANSWER_S)
        with smtp_process(stalled.port) as server:
            mails = [server.next_mail() for _ in addresses]
            self.assertEqual(sorted(mail.to for mail in mails if mail), sorted(addresses))
            self.assertIsNone(server.next_mail(2))

    def test_late(self) -> None:
        """A mail server that defers a mail gets it again, once it accepts mails, and once."""
        with smtp_process() as server:
            server.set_faults({"RCPT": 451})
            service = self.serve(server)
            self.start_validation(service, "anna@mail.example")
            server.set_faults({})
            mail = server.next_mail()
            assert mail is not None
            self.assertEqual(mail.to, "anna@mail.example")
            self.assertIsNone(server.next_mail(3))
