"""A client that sends each request of a dialogue to the next of several processes."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import statistics
import time
import unittest
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Protocol, Sequence
from urllib.parse import parse_qsl, urlsplit

from tests.doubles.captcha import GOOD, SECRET, CaptchaProcess
from tests.support.patience import PATIENCE_S
from tests.support.policies import user_consent, write_pages
from tests.support.service_process import Answer, ServiceProcess
from tests.support.smtp_process import smtp_process

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"


class Asked(Protocol):
    """Where a request may go; a ServiceProcess, or one of its processes."""

    def ask(
        self, method: str, path: str, body: Any = None, *, token: Optional[str] = None
    ) -> Answer: ...


class KeptConnection:
    """A connection to one process of a service, which gets all that is asked here."""

    def __init__(self, case: unittest.TestCase, service: ServiceProcess) -> None:
        self._connection = http.client.HTTPConnection(
            urlsplit(service.base_url).netloc, timeout=PATIENCE_S
        )
        case.addCleanup(self._connection.close)
        self.ask("GET", "/_matrix/client/versions")

    def ask(
        self, method: str, path: str, body: Any = None, *, token: Optional[str] = None
    ) -> Answer:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        parsed = json.loads(text) if text.startswith("{") else None
        return Answer(response.status, parsed, dict(response.headers), text)


class GoingRound:
    """For test cases. ``waits_s``: where each mail was asked for, and how long after the answer it
    took to arrive."""

    def everything(self: Any) -> Mapping[str, Any]:
        """Options of a registration by captcha, terms and a mail, whose other servers run beside
        the test."""
        captcha = CaptchaProcess(self)
        captcha.start()
        self.mails = self.enterContext(smtp_process())
        self.waits_s: list[tuple[Asked, float]] = []
        return {
            "enable_registration_captcha": True,
            "recaptcha_public_key": "public",
            "recaptcha_private_key": SECRET,
            "recaptcha_siteverify_api": captcha.url,
            "no_proxy_hosts": ["127.0.0.1"],
            "email": {"notif_from": "a@test.example", "smtp_port": self.mails.port},
            "registrations_require_3pid": ["email"],
            "rc_3pid_validation": {"per_second": 1000, "burst_count": 1000},
            **user_consent(write_pages(Path(self.mktemp()).resolve(), "1.0")),
        }

    def dialogues(self: Any, places: Sequence[Asked]) -> None:
        """A dialogue that begins at each of these."""
        self.places = places
        for first in range(len(places)):
            self.turns: Iterator[Asked] = itertools.cycle([*places[first:], *places[:first]])
            self.dialogue(f"alice{first}")

    def ask(self: Any, status: int, method: str, path: str, *arguments: Any, **more: Any) -> Any:
        """The JSON of the next process's answer, which must have this status."""
        self.asked = next(self.turns)
        answer = self.asked.ask(method, path, *arguments, **more)
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def register(self: Any, status: int, **body: Any) -> Any:
        return self.ask(status, "POST", f"{V3}/register", body)

    def whoami(self: Any, status: int, token: str) -> Any:
        return self.ask(status, "GET", f"{V3}/account/whoami", token=token)

    def dialogue(self: Any, name: str) -> None:
        self.ask(200, "GET", f"{V3}/register/available?username={name}")
        challenge = self.register(401, username=name, password=PASSWORD)
        self.assertEqual(len(challenge["flows"][0]["stages"]), 3)
        session = {"session": challenge["session"]}
        auth = {**session, "type": "m.login.recaptcha", "response": f"{GOOD}#{name}"}
        self.assertNotIn("errcode", self.register(401, auth=auth))
        auth = {**session, "type": "m.login.terms"}
        self.assertEqual(len(self.register(401, auth=auth)["completed"]), 2)
        creds = self.validated("register", f"{name}@mail.example")
        auth = {**session, "type": "m.login.email.identity", "threepid_creds": creds}
        made = self.register(200, auth=auth)
        again = self.register(200, auth=auth)
        self.assertEqual(again["access_token"], made["access_token"])
        login = {"type": "m.login.password", "user": name, "password": PASSWORD}
        self.refresh(self.ask(200, "POST", f"{V3}/login", {**login, "refresh_token": True}))
        self.add_address(name, login, made["access_token"])

    def validated(self: Any, where: str, email: str) -> dict[str, str]:
        creds = {"client_secret": "secret"}
        body = {**creds, "email": email, "send_attempt": 1}
        asked = self.ask(200, "POST", f"{V3}/{where}/email/requestToken", body)
        answered_s = time.monotonic()
        mail = self.mails.next_mail()
        assert mail is not None
        self.waits_s.append((self.asked, time.monotonic() - answered_s))
        self.assertEqual(mail.to, email)
        (link,) = re.findall(r"^https?://\S+$", mail.part("plain"), re.MULTILINE)
        parts = urlsplit(link)
        self.ask(200, "POST", parts.path, dict(parse_qsl(parts.query)))
        return {**creds, "sid": asked["sid"]}

    def refresh(self: Any, logged_in: Any) -> None:
        """The new token works everywhere, and then the old one nowhere."""
        body = {"refresh_token": logged_in["refresh_token"]}
        token = self.ask(200, "POST", f"{V3}/refresh", body)["access_token"]
        for _ in self.places:
            self.assertEqual(self.whoami(200, token)["user_id"], logged_in["user_id"])
        self.assertEqual(self.whoami(401, logged_in["access_token"])["errcode"], "M_UNKNOWN_TOKEN")

    def add_address(self: Any, name: str, login: Any, token: str) -> None:
        """A change of the account, which is asked for at one process and confirmed at another."""
        creds = self.validated("account/3pid", f"{name}@work.example")
        path = f"{V3}/account/3pid/add"
        challenge = self.ask(401, "POST", path, creds, token=token)
        auth = {**login, "session": challenge["session"]}
        self.ask(200, "POST", path, {**creds, "auth": auth}, token=token)
        for _ in self.places:
            listed = self.ask(200, "GET", f"{V3}/account/3pid", token=token)["threepids"]
            self.assertEqual(len(listed), 2)

    def assertSentAtOnce(self: Any, places: Sequence[Asked]) -> None:
        """Most mails that were asked for at these came sooner than by a look at the table of jobs
        every five seconds."""
        waits_s = [wait_s for place, wait_s in self.waits_s if place in places]
        self.assertLess(statistics.median(waits_s), 0.5, waits_s)
