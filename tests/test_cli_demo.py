"""``regsys serve --demo``: what it prints can be done."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Mapping

from twisted.trial.unittest import SynchronousTestCase

from regsys.cli.demo import every_stage
from regsys.cli.demo.every_stage import FLOWS
from tests.service_process import ServiceProcess
from tests.test_proof_of_work import solve

REGISTER = "/_matrix/client/v3/register"


class DemoTests(SynchronousTestCase):
    def serve(self, *options: str) -> ServiceProcess:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        config = folder / every_stage.config_file()
        # The port of the demonstration may be somebody's: any free one will do.
        config.write_text(config.read_text().replace("port: 8008", "port: 0"))
        return ServiceProcess(self, cwd=folder, options=("--demo", *options))

    def register(self, service: ServiceProcess, auth: Mapping[str, Any], **wish: str) -> Any:
        return service.ask("POST", REGISTER, {**wish, "auth": auth})

    def fields(self, stage: str, challenge: Any) -> Mapping[str, Any]:
        """What a client sends for a stage, as the introduction tells."""
        if stage == "org.regsys.altcha":
            return {"response": solve(challenge["params"][stage])}
        return {"token": "demo", "response": "solved"}

    def test_everyFlow(self) -> None:
        """Each flow that it prints is on offer, and leads to an account."""
        service = self.serve()
        shown = re.findall(r"^    (\w+) +(\S+(?: → \S+)*)$", service.output, re.MULTILINE)
        self.assertEqual({name: tuple(way.split(" → ")) for name, way in shown}, FLOWS)
        for number, (name, way) in enumerate(shown):
            wish = {"username": f"user{number}", "password": "in the looking glass"}
            answer = service.ask("POST", REGISTER, wish)
            challenge = answer.json
            self.assertIn({"stages": way.split(" → ")}, challenge["flows"], name)
            for stage in way.split(" → "):
                fields = self.fields(stage, challenge)
                auth = {"type": stage, "session": challenge["session"], **fields}
                answer = self.register(service, auth)
            self.assertEqual(answer.status, 200, (name, answer))

    def test_oneFlow(self) -> None:
        """Only the flows that are asked for are on offer; a captcha can be failed, or be down."""
        service = self.serve("--flow", "recaptcha")
        challenge = service.ask("POST", REGISTER, {"username": "a", "password": "b"}).json
        self.assertEqual(challenge["flows"], [{"stages": ["m.login.recaptcha", "m.login.dummy"]}])
        auth = {"type": "m.login.recaptcha", "session": challenge["session"]}
        wrong = self.register(service, {**auth, "response": "wrong"})
        self.assertEqual((wrong.status, wrong.json["errcode"]), (401, "M_UNAUTHORIZED"))
        down = self.register(service, {**auth, "response": "down"})
        self.assertEqual(down.status, 503)
        page = f"/_matrix/client/v3/auth/m.login.recaptcha/fallback/web?session={auth['session']}"
        self.assertIn("stands where the captcha of a real server is", service.ask("GET", page).text)
