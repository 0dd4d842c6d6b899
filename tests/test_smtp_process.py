"""The mail server that runs beside a test does what it is told."""

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
        """It tells what mails come, has the faults that it is told to have, and loses them."""
        with smtp_process() as server:
            server.be({"RCPT": 451})
            self.assertRaises(smtplib.SMTPRecipientsRefused, self.send, server)
            server.be({})
            self.send(server)
            mail = server.next_mail()
            assert mail is not None
            self.assertEqual((mail.to, mail.message["Subject"]), ("b@hs.example", "x"))
            self.assertIsNone(server.next_mail(0.1))
