"""The mail server that runs beside a test behaves as it is told."""

from __future__ import annotations

import smtplib

from twisted.trial.unittest import SynchronousTestCase

from tests.support.patience import PATIENCE_S
from tests.support.smtp_process import SMTPProcess, smtp_process


class SMTPProcessTests(SynchronousTestCase):
    def send(self, server: SMTPProcess) -> None:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE_S) as client:
            client.sendmail("a@hs.example", ["b@hs.example"], "Subject: x\n\nhello")

    def test_faults(self) -> None:
        """It reports the mails that arrive, has the faults that are set, and loses them again."""
        with smtp_process() as server:
            server.set_faults({"RCPT": 451})
            self.assertRaises(smtplib.SMTPRecipientsRefused, self.send, server)
            server.set_faults({})
            self.send(server)
            mail = server.next_mail()
            assert mail is not None
            self.assertEqual((mail.to, mail.message["Subject"]), ("b@hs.example", "x"))
            self.assertIsNone(server.next_mail(0.1))
