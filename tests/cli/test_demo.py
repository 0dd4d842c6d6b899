"""``regsys serve --demo``: what it prints works."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any, Mapping

from twisted.trial.unittest import SynchronousTestCase

from regsys.cli.demo import server
from regsys.cli.demo.server import FLOWS, OFFERED
from tests.captcha.test_proof_of_work import solve
from tests.support.patience import until
from tests.support.service_process import ServiceProcess

REGISTER = "/_matrix/client/v3/register"
SUBMIT = "/_matrix/client/unstable/registration/email/submit_token"
SUBMIT_NUMBER = "/_matrix/client/unstable/add_threepid/msisdn/submit_token"
EMAIL, PHONE = "m.login.email.identity", "m.login.msisdn"


class DemoTests(SynchronousTestCase):
    def serve(self, *options: str) -> ServiceProcess:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        config = folder / server.config_file()
        # The demo's port may be taken: any free one will do.
        config.write_text(config.read_text().replace("port: 8008", "port: 0"))
        return ServiceProcess(self, cwd=folder, options=("--demo", *options))

    def register(self, service: ServiceProcess, auth: Mapping[str, Any], **fields: str) -> Any:
        return service.ask("POST", REGISTER, {**fields, "auth": auth})

    def fields(self, stage: str, challenge: Any) -> Mapping[str, Any]:
        """What a client sends for a stage, as the introduction says."""
        if stage == "org.regsys.altcha":
            return {"response": solve(challenge["params"][stage])}
        if stage in (EMAIL, PHONE):
            return {"threepid_creds": self.creds[stage]}
        return {"token": "demo", "response": "solved"}

    def validate_addresses(self, service: ServiceProcess) -> None:
        """Have a mail sent, and a text message, and submit their codes from the page that shows
        them."""
        secret, self.creds = {"client_secret": "secret"}, {}
        number = {"country": "DE", "phone_number": "0151 12345678"}
        for stage, medium, fields, message, code, submit in (
            (EMAIL, "email", {"email": "a@mail.example"}, "a@mail", r"^ +([A-Z]{8})$", SUBMIT),
            (PHONE, "msisdn", number, "+4915112345678", r">(\d{8}) is your code", SUBMIT_NUMBER),
        ):
            body = {**fields, "send_attempt": 1, **secret}
            answer = service.ask("POST", f"{REGISTER}/{medium}/requestToken", body)
            self.creds[stage] = {"sid": answer.json["sid"], **secret}
            found = re.search(code, self.messages(service, message), re.MULTILINE)
            assert found is not None, medium
            answer = service.ask("POST", submit, {**self.creds[stage], "token": found[1]})
            self.assertEqual(answer.json, {"success": True}, medium)

    def messages(self, service: ServiceProcess, words: str) -> str:
        """The page of messages, whose address the introduction has, once it contains these words: a
        mail is sent after the answer to its request."""
        address = re.search(r"at http://localhost:8008(/\S+)$", service.output, re.MULTILINE)
        assert address is not None, service.output
        pages = []

        def is_shown() -> bool:
            pages.append(service.ask("GET", address[1]))
            return words in pages[-1].text

        until(is_shown, lambda: f"{words!r} is not in:\n{pages[-1].text}")
        page = pages[-1]
        self.assertEqual((page.status, page.headers["X-Frame-Options"]), (200, "DENY"))
        return page.text

    def test_everyFlow(self) -> None:
        """Each flow that it prints is offered, and leads to an account."""
        service = self.serve()
        self.validate_addresses(service)
        flows = re.findall(r"^    (\w+) +(\S+(?: → \S+)*)$", service.output, re.MULTILINE)
        self.assertEqual(
            {name: tuple(way.split(" → ")) for name, way in flows},
            {name: FLOWS[name] for name in OFFERED},
        )
        for number, (name, way) in enumerate(flows):
            body = {"username": f"user{number}", "password": "in the looking glass"}
            answer = service.ask("POST", REGISTER, body)
            challenge = answer.json
            self.assertIn({"stages": way.split(" → ")}, challenge["flows"], name)
            for stage in way.split(" → "):
                fields = self.fields(stage, challenge)
                auth = {"type": stage, "session": challenge["session"], **fields}
                answer = self.register(service, auth)
            self.assertEqual(answer.status, 200, (name, answer))

    def test_mails(self) -> None:
        """Mails are shown, the newest first, and their links lead to the page that confirms; the
        last twenty are kept."""
        service = self.serve("--flow", "email")
        self.messages(service, "There are no messages yet.")
        for number in range(22):
            body = {"email": f"{number}@mail.example", "client_secret": "secret", "send_attempt": 1}
            service.ask("POST", f"{REGISTER}/email/requestToken", body)
            # One after the other: mails that are sent together arrive in any order.
            page = self.messages(service, f"To {number}@mail.example")
        numbers = re.findall(r"To (\d+)@mail.example", page)
        self.assertEqual(numbers[0], "21")
        self.assertEqual(len(numbers), 20)
        link = re.search(r'href="http://localhost:8008(/[^"]+submit_token[^"]+)"', page)
        assert link is not None, page
        self.assertIn("21@mail.example", service.ask("GET", html.unescape(link[1])).text)

    def test_oneFlow(self) -> None:
        """Only the chosen flows are offered; a captcha can fail, or be unavailable."""
        service = self.serve("--flow", "recaptcha")
        self.assertIn('"wrong" is refused', service.output)
        for words in ("registration token", "Messages", "--flow all"):
            self.assertNotIn(words, service.output)
        challenge = service.ask("POST", REGISTER, {"username": "a", "password": "b"}).json
        self.assertEqual(challenge["flows"], [{"stages": ["m.login.recaptcha", "m.login.dummy"]}])
        auth = {"type": "m.login.recaptcha", "session": challenge["session"]}
        wrong = self.register(service, {**auth, "response": "wrong"})
        self.assertEqual((wrong.status, wrong.json["errcode"]), (401, "M_UNAUTHORIZED"))
        down = self.register(service, {**auth, "response": "down"})
        self.assertEqual(down.status, 503)
        page = f"/_matrix/client/v3/auth/m.login.recaptcha/fallback/web?session={auth['session']}"
        self.assertIn("A real server shows its captcha here", service.ask("GET", page).text)
