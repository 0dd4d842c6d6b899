"""A process killed at any statement boundary of what ends logins leaves it done or not begun, and
its client, or a job, can finish it (contract B17.5)."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping
from urllib.parse import parse_qsl, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from regsys.model.token_text import token_hash
from regsys.testing import MemoryMails
from tests.support.accounts import THREEPIDS
from tests.support.client import V3, Answer
from tests.support.crash import (
    LATER_S,
    PASSWORD,
    CrashCase,
    OnPostgreSQL,
    OnSQLite,
    Process,
)
from tests.support.due_jobs import run_due
from tests.support.passwords import CHANGE, NEW, RESET_REQUEST, RESET_SUBMIT
from tests.support.validations import ADD_SUBMIT, PLENTY, SECRET

# A user's name, an access token, and a session or the like.
Given = tuple[str, str, str]


def confirmed(name: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    who = {"type": "m.id.user", "user": name}
    return {"type": "m.login.password", "identifier": who, "password": password, **more}


def can_log_in(process: Process, name: str, password: str) -> bool:
    body = {"type": "m.login.password", "user": name, "password": password}
    return process.client.post(f"{V3}/login", body).status == 200


class AccountCrashTests(CrashCase):
    options: ClassVar[Mapping[str, Any]] = {
        "email": {"notif_from": "a@test.example"},
        "rc_3pid_validation": PLENTY,
    }
    # The first device is logged out.
    beside = ("an outcome with a login has its device and its tokens",)

    def validate(
        self: Any, process: Process, path: str, submit: str, name: str, **more: Any
    ) -> str:
        body = {"email": f"{name}@mail.example", "client_secret": SECRET, "send_attempt": 1}
        answer = process.client.post(path, body, **more)
        mails = process.subsystem.hooks.mails
        assert isinstance(mails, MemoryMails)
        fields = dict(parse_qsl(urlsplit(mails.sent[-1].link).query))
        self.assertEqual(process.client.post(submit, fields).json, {"success": True})
        return str(answer.json["sid"])

    def account(self: Any, process: Process, name: str) -> Given:
        """An account with an address, logged in twice: its name and both tokens."""
        token = process.register(name).json["access_token"]
        sid = self.validate(
            process, f"{THREEPIDS}/email/requestToken", ADD_SUBMIT, name, token=token
        )
        body = {"sid": sid, "client_secret": SECRET, "auth": confirmed(name)}
        self.assertEqual(process.client.post(f"{THREEPIDS}/add", body, token=token).json, {})
        return name, token, process.login(name).json["access_token"]

    def changing(self, process: Process, name: str) -> Given:
        """An account that has begun to change its password: its name, token and session."""
        _, token, other = self.account(process, name)
        begun = process.client.post(CHANGE, {"new_password": NEW}, token=token)
        return name, f"{token} {other}", begun.json["session"]

    def change(self, process: Process, given: Given) -> Answer:
        name, tokens, session = given
        auth = confirmed(name, session=session)
        token = tokens.split()[0]
        return process.client.post(CHANGE, {"new_password": NEW, "auth": auth}, token=token)

    def test_change(self: Any) -> None:
        """Password and logins change together; the same session completes it, or finds it done."""

        def retry(process: Process, given: Given, issued: set[str]) -> None:
            name, tokens, _ = given
            mine, other = tokens.split()
            was_done = process.whoami(other).status == 401
            self.assertEqual(can_log_in(process, name, NEW), was_done)
            answer = self.change(process, given)
            self.assertEqual((answer.status, answer.json), (200, {}), answer)
            self.assertEqual(process.whoami(mine).status, 200)
            self.assertEqual(process.whoami(other).status, 401)
            self.assertTrue(can_log_in(process, name, NEW))
            self.assertFalse(can_log_in(process, name, PASSWORD))

        self.crash_everywhere(self.change, retry, self.changing)

    def resetting(self, process: Process, name: str) -> Given:
        _, token, _ = self.account(process, name)
        return name, token, self.validate(process, RESET_REQUEST, RESET_SUBMIT, name)

    def reset(self, process: Process, given: Given) -> Answer:
        creds = {"sid": given[2], "client_secret": SECRET}
        auth = {"type": "m.login.email.identity", "threepid_creds": creds}
        return process.client.post(CHANGE, {"new_password": NEW, "auth": auth})

    def test_reset(self: Any) -> None:
        """A reset uses its validation up together with the change: it can be sent again."""

        def retry(process: Process, given: Given, issued: set[str]) -> None:
            name, token, _ = given
            was_done = process.whoami(token).status == 401
            self.assertEqual(can_log_in(process, name, NEW), was_done)
            self.assertEqual(self.reset(process, given).status, 200)
            self.assertEqual(process.whoami(token).status, 401)
            self.assertTrue(can_log_in(process, name, NEW))

        self.crash_everywhere(self.reset, retry, self.resetting)

    def deactivate(self, process: Process, given: Given) -> Answer:
        body = {"auth": confirmed(given[0])}
        return process.client.post(f"{V3}/account/deactivate", body, token=given[1])

    def test_deactivation(self: Any) -> None:
        """Once a user cannot ask again, a job frees the address."""

        def retry(process: Process, given: Given, issued: set[str]) -> None:
            name, token, other = given
            if process.whoami(token).status == 200:
                self.assertEqual(process.whoami(other).status, 200)
                self.assertEqual(self.deactivate(process, given).status, 200)
            for dead in (token, other):
                self.assertEqual(process.whoami(dead).status, 401)
            address = f"{name}@mail.example"
            process.clock.advance(LATER_S)
            process.result(run_due(process.subsystem.jobs))
            self.assertNotIn(address, process.rows("SELECT address FROM threepids"))

        self.crash_everywhere(self.deactivate, retry, self.account)

    def test_device(self: Any) -> None:
        """A device is deleted with its tokens, or it is not."""

        def device_of(process: Process, token: str) -> str:
            return str(process.whoami(token).json["device_id"])

        def before(process: Process, name: str) -> Given:
            _, token, other = self.account(process, name)
            path = f"{V3}/devices/{device_of(process, other)}"
            begun = process.client.ask("DELETE", path, None, token=token)
            return f"{name} {path}", f"{token} {other}", begun.json["session"]

        def request(process: Process, given: Given) -> Answer:
            (name, path), (token, _) = given[0].split(), given[1].split()
            auth = confirmed(name, session=given[2])
            return process.client.ask("DELETE", path, {"auth": auth}, token=token)

        def retry(process: Process, given: Given, issued: set[str]) -> None:
            token, other = given[1].split()
            self.assertEqual(request(process, given).json, {})
            self.assertEqual(process.whoami(token).status, 200)
            self.assertEqual(process.whoami(other).status, 401)
            hashes = process.rows("SELECT access_hash FROM logins")
            self.assertNotIn(token_hash(other), hashes)

        self.crash_everywhere(request, retry, before)


class SQLiteTests(OnSQLite, AccountCrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLTests(OnPostgreSQL, AccountCrashTests, SynchronousTestCase):
    """On a real server."""
