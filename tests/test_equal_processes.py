"""Equal processes over one PostgreSQL, each with a listener of its own: a client may send each of
its requests to another one (contract B11.7)."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import parse_qsl, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests.doubles.captcha import GOOD, SECRET, CaptchaProcess
from tests.support import checker, invariants, postgres
from tests.support.dialogues import Dialogue, Dialogues
from tests.support.patience import until
from tests.support.policies import user_consent, write_pages
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.service_process import Answer, ServiceProcess, psycopg2, write_config
from tests.support.smtp_process import SMTPProcess, smtp_process

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
COUNT = 3
CLIENTS = 8


class Processes:
    """For tests: ``configs`` of equal processes on ports of their own."""

    def configure(self: Any, **options: Any) -> None:
        folder = Path(self.mktemp()).resolve()
        database = psycopg2(postgres.dsn(self))
        self.ports = [free_port() for _ in range(COUNT)]
        self.configs = []
        for port in self.ports:
            home = folder / str(port)
            home.mkdir(parents=True)
            resources = [{"names": ["client"]}]
            listener = {"port": port, "bind_addresses": ["127.0.0.1"], "resources": resources}
            self.configs.append(write_config(home, database, listeners=[listener], **options))

    def start(self: Any) -> list[ServiceProcess]:
        """All at the same moment, on a database that is empty the first time."""
        with ThreadPoolExecutor(COUNT) as threads:
            return list(threads.map(lambda config: ServiceProcess(self, config), self.configs))

    def assertWhole(self: Any, dialogues: list[Dialogue]) -> None:
        """Each dialogue has one account of its own, and nothing is half-made."""
        connection = connect(load([str(self.configs[0])]).database)
        self.addCleanup(connection.close)
        told = [dialogue.told for dialogue in dialogues]
        self.assertEqual(checker.broken(told, invariants.Tables(connection)), {})


class RoundTests(Processes, SynchronousTestCase):
    """Every request of a client goes to the next process."""

    def test_everywhere(self) -> None:
        """Registration with a captcha, terms and a mail, its repetition, logins, tokens, and an
        address that is added and confirmed: each step at each of the three processes."""
        captcha = CaptchaProcess(self)
        captcha.start()
        pages = write_pages(Path(self.mktemp()).resolve(), "1.0")
        with smtp_process() as mails:
            self.configure(
                enable_registration_captcha=True,
                recaptcha_public_key="public",
                recaptcha_private_key=SECRET,
                recaptcha_siteverify_api=captcha.url,
                no_proxy_hosts=["127.0.0.1"],
                email={"notif_from": "a@test.example", "smtp_port": mails.port},
                registrations_require_3pid=["email"],
                rc_3pid_validation={"per_second": 1000, "burst_count": 1000},
                **user_consent(pages),
            )
            self.services = self.start()
            for first in range(COUNT):
                self.turns = itertools.cycle([*self.services[first:], *self.services[:first]])
                self.dialogue(f"alice{first}", mails)

    def ask(self, status: int, method: str, path: str, *arguments: Any, **more: Any) -> Any:
        """The JSON of the next process's answer, which must have this status."""
        answer: Answer = next(self.turns).ask(method, path, *arguments, **more)
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def register(self, status: int, **body: Any) -> Any:
        return self.ask(status, "POST", f"{V3}/register", body)

    def whoami(self, status: int, token: str) -> Any:
        return self.ask(status, "GET", f"{V3}/account/whoami", token=token)

    def dialogue(self, name: str, mails: SMTPProcess) -> None:
        self.ask(200, "GET", f"{V3}/register/available?username={name}")
        challenge = self.register(401, username=name, password=PASSWORD)
        self.assertEqual(len(challenge["flows"][0]["stages"]), 3)
        session = {"session": challenge["session"]}
        auth = {**session, "type": "m.login.recaptcha", "response": f"{GOOD}#{name}"}
        self.assertNotIn("errcode", self.register(401, auth=auth))
        auth = {**session, "type": "m.login.terms"}
        self.assertEqual(len(self.register(401, auth=auth)["completed"]), 2)
        creds = self.validated("register", f"{name}@mail.example", mails)
        auth = {**session, "type": "m.login.email.identity", "threepid_creds": creds}
        made = self.register(200, auth=auth)
        again = self.register(200, auth=auth)
        self.assertEqual(again["access_token"], made["access_token"])
        login = {"type": "m.login.password", "user": name, "password": PASSWORD}
        self.refresh(self.ask(200, "POST", f"{V3}/login", {**login, "refresh_token": True}))
        self.add_address(name, login, made["access_token"], mails)

    def validated(self, where: str, email: str, mails: SMTPProcess) -> dict[str, str]:
        creds = {"client_secret": "secret"}
        body = {**creds, "email": email, "send_attempt": 1}
        asked = self.ask(200, "POST", f"{V3}/{where}/email/requestToken", body)
        mail = mails.next_mail()
        assert mail is not None
        self.assertEqual(mail.to, email)
        (link,) = re.findall(r"^https?://\S+$", mail.part("plain"), re.MULTILINE)
        parts = urlsplit(link)
        self.ask(200, "POST", parts.path, dict(parse_qsl(parts.query)))
        return {**creds, "sid": asked["sid"]}

    def refresh(self, logged_in: Any) -> None:
        """The new token works everywhere, and then the old one nowhere."""
        body = {"refresh_token": logged_in["refresh_token"]}
        token = self.ask(200, "POST", f"{V3}/refresh", body)["access_token"]
        for _ in range(COUNT):
            self.assertEqual(self.whoami(200, token)["user_id"], logged_in["user_id"])
        self.assertEqual(self.whoami(401, logged_in["access_token"])["errcode"], "M_UNKNOWN_TOKEN")

    def add_address(self, name: str, login: Any, token: str, mails: SMTPProcess) -> None:
        """A change of the account, which is asked for at one process and confirmed at another."""
        creds = self.validated("account/3pid", f"{name}@work.example", mails)
        path = f"{V3}/account/3pid/add"
        challenge = self.ask(401, "POST", path, creds, token=token)
        auth = {**login, "session": challenge["session"]}
        self.ask(200, "POST", path, {**creds, "auth": auth}, token=token)
        for _ in range(COUNT):
            listed = self.ask(200, "GET", f"{V3}/account/3pid", token=token)["threepids"]
            self.assertEqual(len(listed), 2)


class RollingTests(Processes, SynchronousTestCase):
    """While clients register, each process ends and begins again. Plain retry brings each dialogue
    to its end."""

    def begin(self, base_url: str, **more: bool) -> Dialogues:
        dialogues = Dialogues([base_url], CLIENTS, **more)
        self.addCleanup(dialogues.close)
        return dialogues

    def assertSpanned(self, dialogues: list[Dialogue], times: list[float]) -> None:
        """Some dialogue was under way at each of these times."""
        for when in times:
            under_way = [item for item in dialogues if item.began_s < when < item.ended_s]
            self.assertNotEqual(under_way, [])

    def options(self) -> dict[str, Any]:
        pages = write_pages(Path(self.mktemp()).resolve(), "1.0")
        return {**user_consent(pages), "regsys": {"rc_availability": False}}

    def test_equalProcesses(self) -> None:
        """Three equal processes behind a proxy, one after the other."""
        self.configure(**self.options())
        services = self.start()
        proxy = Proxy(*self.ports)
        self.addCleanup(proxy.close)
        clients, times = self.begin(proxy.base_url), []
        for number, config in enumerate(self.configs):
            times.append(time.monotonic())
            services[number].stop()
            services[number] = ServiceProcess(self, config)
        dialogues = clients.end()
        self.assertSpanned(dialogues, times)
        self.assertWhole(dialogues)
        self.assertGreater(min(proxy.taken.values()), len(dialogues))

    def test_children(self) -> None:
        """The processes of one service, which their parent replaces: one ends orderly, then one is
        killed. Nobody meets a closed port."""
        self.configure(**self.options())
        service = ServiceProcess(self, self.configs[0], options=("--processes", "2"))
        # A process that is killed takes passwords along whose hash it was about to make.
        clients, times = self.begin(service.base_url, repeats_body=True), []
        for number, kind in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
            before = _pid(service, number)
            times.append(time.monotonic())
            os.kill(before, kind)
            until(lambda number=number, before=before: _pid(service, number) != before)
            until(lambda number=number: f"[{number}] " in service.output.split("replaces one")[-1])
        dialogues = clients.end()
        self.assertSpanned(dialogues, times)
        self.assertWhole(dialogues)
        service.stop()


def _pid(service: ServiceProcess, number: int) -> int:
    found: Iterator[re.Match[str]] = re.finditer(rf"process {number} of 2 is (\d+)", service.output)
    return int(list(found)[-1][1])
