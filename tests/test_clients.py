"""Clients that others have written pass our flows: matrix-nio, and matrix-js-sdk under Node.

Everything is real: ``regsys serve`` as a process, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

import nio
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import npm, postgres
from tests.captcha_double import GOOD, SECRET, CaptchaProcess
from tests.service_process import (
    ROOT,
    SERVER_NAME,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)

PASSWORD = "correct horse battery staple"
PLENTY = {"per_second": 1000, "burst_count": 1000}
TOKEN = "abc.def"
SCRIPT = npm.HERE / "interactive_auth.mjs"
ALICE = f"@alice:{SERVER_NAME}"
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
POLICY = {"version": "1", "en": {"name": "Rules", "url": "https://test.example/rules"}}


class Clients:
    """What every database must show; ``database(folder)`` gives its section of the file."""

    def serve(self, **options: Any) -> ServiceProcess:
        """A service that asks for a registration token; ``TOKEN`` is one with a single use."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(
            folder,
            self.database(folder),
            registration_requires_token=True,
            rc_registration_token_validity=PLENTY,
            **options,
        )
        create = ("token", "create", "--token", TOKEN, "--uses", "1", "-c", str(config))
        subprocess.run(
            [sys.executable, "-m", "regsys", *create],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
        return ServiceProcess(self, config)

    def test_nioRegistersWithAToken(self) -> None:
        """matrix-nio's own call for it gives an account; the token is used up by that."""
        service = self.serve()
        registered = asyncio.run(self._nio(service.base_url))
        self.assertIsInstance(registered, nio.RegisterResponse, registered)
        self.assertEqual(registered.user_id, ALICE)
        self.assertEqual(service.ask("GET", f"{VALIDITY}?token={TOKEN}").json, {"valid": False})

    async def _nio(self, url: str) -> Any:
        client = nio.AsyncClient(url, "alice")
        try:
            return await client.register_with_token("alice", PASSWORD, TOKEN, "laptop")
        finally:
            await client.close()

    def test_jsSDKPassesEveryStage(self) -> None:
        """The SDK of web clients is led through token, captcha and terms, each asked for once,
        and does the dummy stage by itself."""
        double = CaptchaProcess(self)
        double.start()
        service = self.serve(
            enable_registration_captcha=True,
            recaptcha_public_key="public",
            recaptcha_private_key=SECRET,
            recaptcha_siteverify_api=double.url,
            no_proxy_hosts=["127.0.0.1"],
            regsys={"rc_availability": False, "policies": {"rules": POLICY}},
        )
        answers = {
            "m.login.registration_token": {"token": TOKEN},
            "m.login.recaptcha": {"response": GOOD},
            "m.login.terms": {},
        }
        told = self.interactive_auth(service, answers)
        self.assertEqual(told["asked"], list(answers))
        self.assertEqual(told.get("me", told)["user_id"], ALICE)
        self.assertEqual(told["me"]["device_id"], told["registered"]["device_id"])

    def test_jsSDKIsToldWhatFailed(self) -> None:
        """A stage that is not passed reaches whoever uses the SDK, with its errcode."""
        service = self.serve()
        told = self.interactive_auth(service, {"m.login.registration_token": {"token": "no"}})
        self.assertIn("m.login.registration_token: M_UNAUTHORIZED", told["failed"])

    def interactive_auth(self, service: ServiceProcess, answers: Mapping[str, Any]) -> Any:
        """What the script prints that registers alice; ``answers``: auth fields by stage."""
        node = shutil.which("node")
        try:
            if node is None:
                raise npm.Missing("Node was not found (Debian: nodejs, npm).")
            npm.packages()
        except npm.Missing as missing:
            raise SkipTest(f"matrix-js-sdk was not tried: {missing}") from None
        wish = {"baseUrl": service.base_url, "username": "alice", "password": PASSWORD}
        done = subprocess.run(
            [node, str(SCRIPT)],
            input=json.dumps({**wish, "answers": answers}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)


class SQLiteClientTests(Clients, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return sqlite(folder)


class PostgreSQLClientTests(Clients, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return psycopg2(postgres.dsn(self))
