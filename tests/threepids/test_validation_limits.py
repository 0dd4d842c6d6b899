"""Limits on requests for mails, and on guesses of their tokens (threat A3, A4)."""

from __future__ import annotations

from twisted.logger import capturedLogs

from tests.support.validations import ALICE, REQUEST, SECRET, SUBMIT, EmailValidationCase

TIGHT = {"per_second": 0.01, "burst_count": 3}


class LimitTests(EmailValidationCase):
    def mailed(self, address: str = ALICE) -> int:
        return sum(mail.address == address for mail in self.mails.sent)

    def bombard(self, requests: int, clients: int, *emails: str) -> list[int]:
        """Send requests from so many addresses in turn; their statuses."""
        statuses = []
        for number in range(requests):
            body = {
                "email": emails[number % len(emails)],
                "client_secret": f"secret{number}.{self.clock.seconds()}",
                "send_attempt": 1,
            }
            source = f"198.51.{number % clients // 200}.{number % clients % 200}"
            answer = self.client.post(REQUEST, body, X_Forwarded_For=source)
            statuses.append(answer.status)
        return statuses

    def test_oneMailbox(self) -> None:
        """2,000 requests from 200 addresses send one mailbox as many mails as its limit, however it
        is spelt, and the limit refills at its rate (A3)."""
        self.system(rc_3pid_validation={"per_second": 0.003, "burst_count": 5})
        spellings = (
            "Bob@mail.example",
            "bob@MAIL.example",
            " bob@mail.example ",
            "bob+spam@mail.example",
            "ｂob@mail.example",
            "BOB+1@mail.example",
        )
        statuses = self.bombard(2000, 200, *spellings)
        self.assertEqual((statuses.count(200), set(statuses)), (5, {200, 429}))
        self.assertEqual(len(self.mails.sent), 5)
        self.clock.advance(1000 / 3)
        self.assertEqual(self.bombard(200, 200, *spellings).count(200), 1)
        self.assertEqual(len(self.mails.sent), 6)

    def test_oneClient(self) -> None:
        """One address may request mails for a limited number of mailboxes; an IPv6 client is its
        /64."""
        self.system(rc_3pid_validation=TIGHT)
        for number in range(6):
            body = {"email": f"{number}@mail.example", "client_secret": "s", "send_attempt": 1}
            source = f"2001:db8::{number}"
            answer = self.client.post(REQUEST, body, X_Forwarded_For=source)
            self.assertEqual(answer.status, 200 if number < 3 else 429, number)

    def test_everybody(self) -> None:
        """All clients together have a limit; a request that it alone refuses does not count against
        the client's own, a warning is logged, and the limit refills."""
        total = {"email": {"per_second": 0.1, "burst_count": 4}}
        self.system(rc_3pid_validation=TIGHT, regsys={"rc_validation_total": total})
        mailboxes = [f"{number}@mail.example" for number in range(10)]
        with capturedLogs() as events:
            statuses = self.bombard(10, 10, *mailboxes)
        self.assertEqual(statuses, [200] * 4 + [429] * 6)
        warnings = [
            event for event in events if "rc_validation_total" in str(event.get("log_format"))
        ]
        self.assertEqual([event["medium"] for event in warnings], ["email"] * 6)
        for _ in range(5):
            self.assertEqual(set(self.bombard(10, 10, *mailboxes)[4:]), {429})
        self.clock.advance(10)
        last = {"email": mailboxes[9], "client_secret": "s", "send_attempt": 1}
        answer = self.client.post(REQUEST, last, X_Forwarded_For="198.51.0.9")
        self.assertEqual(answer.status, 200)
        self.assertEqual(len(self.mails.sent), 5)

    def test_overOnesOwn(self) -> None:
        """A request beyond a client's own limit does not count against the common one."""
        total = {"email": {"per_second": 0.001, "burst_count": 4}}
        self.system(rc_3pid_validation=TIGHT, regsys={"rc_validation_total": total})
        self.assertEqual(self.bombard(20, 1, ALICE).count(200), 3)
        last = {"email": "bob@mail.example", "client_secret": "s", "send_attempt": 1}
        answer = self.client.post(REQUEST, last, X_Forwarded_For="203.0.113.9")
        self.assertEqual(answer.status, 200)

    def test_registrationOff(self) -> None:
        """No mail is ever sent if registration is off."""
        self.system(enable_registration=False)
        self.assertEqual(set(self.bombard(50, 50, ALICE)), {403})
        self.assertEqual(self.mails.sent, [])

    def test_guesses(self) -> None:
        """Wrong tokens are limited for each client; right ones do not count (A4)."""
        self.system(rc_3pid_validation=TIGHT)
        sid = self.start_validation()
        for _ in range(9):
            self.assertEqual(self.submit(**self.link()).status, 200)
        wrong = {"sid": sid, "client_secret": SECRET, "token": "x" * 32}
        statuses = [self.submit(**wrong).status for _ in range(1000)]
        self.assertEqual((statuses[:3], set(statuses[3:])), ([400] * 3, {429}))
        self.assertEqual(self.client.post(SUBMIT, self.link(), X_Forwarded_For="::2").status, 200)

    def test_repeats(self) -> None:
        """Repeated requests count, too: the limit comes before the look-up."""
        self.system(rc_3pid_validation=TIGHT)
        self.assertEqual([self.request_token().status for _ in range(4)], [200, 200, 200, 429])
        self.assertEqual(self.mailed(), 1)
        self.assertIn("Retry-After".lower(), self.request_token().headers)
