"""A client with a whole /48 of IPv6 gets eight times what an address gets, wherever addresses are
counted (contract B16.10, threat A29)."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Mapping

from regsys.testing import MemoryMails
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer
from tests.support.validations import MAILS, REQUEST, SUBMIT

ONCE = {"per_second": 0.000_001, "burst_count": 1}
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
NETWORKS = 20


class SiteTests(SystemCase):
    options: ClassVar[Mapping[str, Any]] = {
        **MAILS,
        "rc_registration": ONCE,
        "rc_registration_token_validity": ONCE,
        "rc_3pid_validation": ONCE,
        "rc_login": {"address": ONCE},
        "regsys": {"rc_availability": ONCE},
    }

    def setUp(self) -> None:
        super().setUp()
        self.system(hooks=self.hooks(mails=MemoryMails()), **self.options)

    def passing(self, ask: Callable[[int, str], Answer], addresses: list[str]) -> int:
        """From how many of these addresses ``ask`` is not limited."""
        statuses = [ask(number, address).status for number, address in enumerate(addresses)]
        return sum(status != 429 for status in statuses)

    def sign_up(self, number: int, address: str) -> Answer:
        body = {"username": f"user{number}{address[-1]}", "password": PASSWORD, "auth": DUMMY}
        return self.client.post(f"{V3}/register", body, X_Forwarded_For=address)

    def available(self, number: int, address: str) -> Answer:
        return self.client.get(f"{V3}/register/available?username=a", X_Forwarded_For=address)

    def is_valid(self, number: int, address: str) -> Answer:
        return self.client.get(f"{VALIDITY}?token=a", X_Forwarded_For=address)

    def log_in(self, number: int, address: str) -> Answer:
        body = {"type": "m.login.password", "user": f"nobody{number}{address}", "password": "x"}
        return self.client.post(f"{V3}/login", body, X_Forwarded_For=address)

    def ask_for_mail(self, number: int, address: str) -> Answer:
        mailbox = f"a{number}@{address.replace(':', '-').replace('.', '-')}.example"
        body = {"email": mailbox, "client_secret": "secret", "send_attempt": 1}
        return self.client.post(REQUEST, body, X_Forwarded_For=address)

    def submit(self, number: int, address: str) -> Answer:
        body = {"sid": "none", "client_secret": "secret", "token": "x"}
        return self.client.post(SUBMIT, body, X_Forwarded_For=address)

    def test_everyLimit(self) -> None:
        """Twenty networks of one site pass eight times, those of twenty sites all."""
        site = [f"2001:db8:7:{number:x}::1" for number in range(NETWORKS)]
        sites = [f"2001:db8:{number:x}::1" for number in range(16, 16 + NETWORKS)]
        for ask in (
            self.sign_up,
            self.available,
            self.is_valid,
            self.log_in,
            self.ask_for_mail,
            self.submit,
        ):
            self.assertEqual(self.passing(ask, site), 8, ask.__name__)
            self.assertEqual(self.passing(ask, sites), NETWORKS, ask.__name__)
            wrapped = ["192.0.2.7", "::ffff:192.0.2.7", "64:ff9b::192.0.2.7"]
            self.assertEqual(self.passing(ask, wrapped), 1, ask.__name__)
