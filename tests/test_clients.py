"""Clients of other projects pass our flows: matrix-nio, and matrix-js-sdk under Node.

Everything is real: ``regsys serve`` as a process, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import nio
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests import npm
from tests.doubles.captcha import GOOD, SECRET, CaptchaProcess
from tests.support import asynchronous, postgres
from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S
from tests.support.service_process import (
    SERVER_NAME,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)
from tests.support.smtp_process import SMTPProcess, smtp_process

PASSWORD = "correct horse battery staple"
PLENTY = {"per_second": 1000, "burst_count": 1000}
TOKEN = "abc.def"
SCRIPT = npm.HERE / "interactive_auth.mjs"
ACCOUNT_SCRIPT = npm.HERE / "account.mjs"
ADDRESS = "alice@mail.example"
OTHER_ADDRESS = "other@mail.example"
ALICE = f"@alice:{SERVER_NAME}"
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
POLICY = {"version": "1", "en": {"name": "Rules", "url": "https://test.example/rules"}}


class Clients:
    """For every database; ``database(folder)`` gives its section of the file."""

    def serve(self, **options: Any) -> ServiceProcess:
        """A service that requires a registration token; ``TOKEN`` is one with a single use."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(
            folder,
            self.database(folder),
            registration_requires_token=True,
            rc_registration_token_validity=PLENTY,
            **options,
        )
        service = ServiceProcess(self, config)
        with closing(connect(load([str(config)]).database)) as connection:
            connection.cursor().execute(
                "INSERT INTO registration_tokens"
                f" VALUES ('{TOKEN}', 1, 0, NULL, FALSE, NULL, NULL, 0)"
            )
            connection.commit()
        return service

    def test_nioRegistersWithAToken(self) -> None:
        """matrix-nio's own call gives an account, and uses the token up."""
        service = self.serve()
        registered = asynchronous.run(self._nio(service.base_url))
        self.assertIsInstance(registered, nio.RegisterResponse, registered)
        self.assertEqual(registered.user_id, ALICE)
        self.assertEqual(service.ask("GET", f"{VALIDITY}?token={TOKEN}").json, {"valid": False})

    async def _nio(self, url: str) -> Any:
        client = nio.AsyncClient(url, "alice")
        try:
            return await client.register_with_token("alice", PASSWORD, TOKEN, "laptop")
        finally:
            await client.close()

    def test_nioValidatesAnAddress(self) -> None:
        """Also if a mail needs the stages before it: matrix-nio passes stages one by one, so a
        program has the session when it requests the mail, for which matrix-nio has no call. It
        takes the 200 of the last stage for an error, and its ``register`` finds the account."""
        with smtp_process() as mails:
            service = self.serve(
                registrations_require_3pid=["email"],
                email={"notif_from": "a@test.example", "smtp_port": mails.port},
                regsys={"rc_availability": False, "mail_needs_stages": True},
            )
            early, last, registered = asynchronous.run(self._nio_with_mail(service, mails))
        self.assertEqual(early, [400, 401])
        self.assertIsInstance(last, nio.responses.RegisterInteractiveError, last)
        self.assertIsInstance(registered, nio.RegisterResponse, registered)
        self.assertEqual(registered.user_id, ALICE)

    async def _nio_with_mail(self, service: ServiceProcess, mails: SMTPProcess) -> Any:
        """The statuses of a request for the mail that comes too early, of the last stage, and of
        the registration after it."""
        client = nio.AsyncClient(service.base_url, "alice")
        fields = {"email": ADDRESS, "client_secret": "secret", "send_attempt": 1}
        path = "/_matrix/client/v3/register/email/requestToken"

        async def ask(**more: str) -> Any:
            return await client.send("POST", path, json.dumps({**fields, **more}))

        async def stage(kind: str, **fields: Any) -> Any:
            auth = {"type": kind, "session": session, **fields}
            return await client.register_interactive("alice", PASSWORD, auth)

        try:
            session = (await client.register_interactive("alice", PASSWORD, {})).session
            early = [(await ask()).status, (await ask(session=session)).status]
            await stage("m.login.registration_token", token=TOKEN)
            sid = (await (await ask(session=session)).json())["sid"]
            creds = {"sid": sid, "client_secret": "secret"}
            submit = "/_matrix/client/unstable/registration/email/submit_token"
            token = {**creds, "token": self.code(mails)}
            await client.send("POST", submit, json.dumps(token))
            last = await stage("m.login.email.identity", threepid_creds=creds)
            return early, last, await client.register("alice", PASSWORD, session_token=session)
        finally:
            await client.close()

    def test_jsSDKPassesEveryStage(self) -> None:
        """The SDK of web clients is led through token, captcha and terms, each asked for once, and
        does the dummy stage by itself."""
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
        result = self.interactive_auth(service, answers)
        self.assertEqual(result["asked"], list(answers))
        self.assertEqual(result.get("me", result)["user_id"], ALICE)
        self.assertEqual(result["me"]["device_id"], result["registered"]["device_id"])

    def test_jsSDKGetsTheFailure(self) -> None:
        """A failed stage reaches the SDK's caller, with its errcode."""
        service = self.serve()
        result = self.interactive_auth(service, {"m.login.registration_token": {"token": "no"}})
        self.assertIn("m.login.registration_token: M_UNAUTHORIZED", result["failed"])

    def test_jsSDKValidatesAnAddress(self) -> None:
        """The SDK requests a mail, and passes the stage once the mail's code has come back; it
        requests the mail at once, while other stages are still to be passed. It logs in by the
        address, lists it, and removes it. Then it adds another one: it requests that mail without
        an access token, and reauthenticates by password."""
        with smtp_process() as mails:
            service = self.serve(
                registrations_require_3pid=["email"],
                email={"notif_from": "a@test.example", "smtp_port": mails.port},
            )
            answers = {"m.login.registration_token": {"token": TOKEN}}
            result = self.interactive_auth(service, answers, mails, OTHER_ADDRESS)
        self.assertEqual(result["asked"][:1], ["m.login.registration_token"], result)
        self.assertEqual(result["asked"][-1:], ["m.login.password"], result)
        self.assertEqual(set(result["asked"][1:-1]), {"m.login.email.identity"}, result)
        self.assertEqual(result["me"]["user_id"], ALICE)
        before, after = result["held"]
        self.assertEqual([(it["medium"], it["address"]) for it in before], [("email", ADDRESS)])
        self.assertEqual(after, [])
        before, after = result["added"]
        self.assertEqual(before, [])
        self.assertEqual(
            [(it["medium"], it["address"]) for it in after], [("email", OTHER_ADDRESS)]
        )

    def test_jsSDKLeadsAnAccountsLife(self) -> None:
        """The SDK resets a forgotten password by mail, without a session; deletes another device,
        changes the password, and deactivates the account."""
        with smtp_process() as mails:
            service = self.serve(
                registrations_require_3pid=["email"],
                email={"notif_from": "a@test.example", "smtp_port": mails.port},
                rc_3pid_validation=PLENTY,
                rc_login=dict.fromkeys(("address", "account", "failed_attempts"), PLENTY),
            )
            answers = {"m.login.registration_token": {"token": TOKEN}}
            self.interactive_auth(service, answers, mails, OTHER_ADDRESS)
            who = {"baseUrl": service.base_url, "username": "alice", "email": OTHER_ADDRESS}
            fields = {**who, "passwords": ["a second password", "a third password"]}
            result = self.run_script(ACCOUNT_SCRIPT, fields, mails, [OTHER_ADDRESS])
        mine = result.pop("mine")
        expected = {
            "early": 401,
            "capabilities": {
                "m.change_password": {"enabled": True},
                "m.3pid_changes": {"enabled": True},
            },
            "before": 2,
            "after": [mine],
            "dead": 401,
            "old": 403,
            "alive": 200,
            "ended": {"id_server_unbind_result": "no-support"},
            "gone": 403,
        }
        self.assertEqual(result, expected)

    def interactive_auth(
        self,
        service: ServiceProcess,
        answers: Mapping[str, Any],
        mails: Optional[SMTPProcess] = None,
        more: Optional[str] = None,
    ) -> Any:
        """The output of the script that registers alice; ``answers``: auth fields by stage. With
        ``mails`` it validates ADDRESS by the code of the mail that arrives there, and adds
        ``more``."""
        who = {"baseUrl": service.base_url, "username": "alice", "password": PASSWORD}
        fields = {**who, "answers": answers, "email": ADDRESS if mails else None, "more": more}
        addresses = [ADDRESS, more] if more else [ADDRESS]
        return self.run_script(SCRIPT, fields, mails, addresses if mails else ())

    def run_script(
        self,
        path: Path,
        fields: Mapping[str, Any],
        mails: Optional[SMTPProcess],
        addresses: Sequence[str],
    ) -> Any:
        """The output of this script, which gets ``fields``, and then the code of the mail to each
        of the addresses."""
        try:
            node = npm.node()
            npm.packages()
        except npm.Missing as missing:
            not_tried(self, f"matrix-js-sdk was not tried: {missing}")
        with subprocess.Popen(
            [str(node), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as script:
            self.addCleanup(script.kill)
            assert script.stdin is not None
            script.stdin.write(f"{json.dumps(fields)}\n")
            script.stdin.flush()
            for address in addresses:
                assert mails is not None
                body = json.dumps({"code": self.code(mails, address)})
                script.stdin.write(f"{body}\n")
                script.stdin.flush()
            result, _ = script.communicate(timeout=PATIENCE_S)
        self.assertEqual(script.returncode, 0, result)
        return json.loads(result.splitlines()[-1])

    def code(self, mails: SMTPProcess, address: str = ADDRESS) -> str:
        mail = mails.next_mail()
        assert mail is not None, "no mail has come"
        self.assertEqual(mail.to, address)
        found = re.search(r"^ +([A-Z]{8})$", mail.part("plain"), re.MULTILINE)
        assert found is not None, mail.part("plain")
        return found[1]


class SQLiteClientTests(Clients, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return sqlite(folder)


class PostgreSQLClientTests(Clients, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return psycopg2(postgres.dsn(self))
