"""A process killed at any statement boundary of a change to an account's addresses leaves no module
with a wrong state: the change and the job that reports it are one transaction (B10.4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, ClassVar, Mapping
from urllib.parse import parse_qsl, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from regsys.model import UserID
from regsys.testing import MemoryMails
from regsys.testing.system import SERVER_NAME
from regsys.wiring.subsystem import Subsystem
from tests.support.accounts import THREEPIDS
from tests.support.client import Answer
from tests.support.crash import PASSWORD, CrashCase, OnPostgreSQL, OnSQLite, Process
from tests.support.validations import ADD_SUBMIT, PLENTY, SECRET


class Module:
    """Keeps the reported addresses in a file, beyond the end of a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def hook_for(self, what: str) -> Callable[..., None]:
        def hook(user_id: str, medium: str, address: str) -> None:
            with self.path.open("a") as file:
                print(what, address, file=file)

        return hook

    def added_addresses(self) -> set[str]:
        """The addresses that are added and not removed."""
        last = dict(reversed(line.split()) for line in self.path.read_text().splitlines())
        return {address for address, what in last.items() if what == "added"}


class ThreepidCrashTests(CrashCase):
    options: ClassVar[Mapping[str, Any]] = {
        "email": {"notif_from": "a@test.example"},
        "rc_3pid_validation": PLENTY,
    }

    def setUp(self: Any) -> None:
        super().setUp()
        self.module = Module(Path(self.mktemp()))

    def equip(self, made: Subsystem) -> None:
        changes = made.hooks.threepid_changes
        changes.additions.register("m", self.module.hook_for("added"))
        changes.removals.register("m", self.module.hook_for("removed"))

    def assertFollowed(self: Any, process: Process) -> None:
        """The module's state is that of the database."""
        super().assertFollowed(process)
        self.assertEqual(
            self.module.added_addresses(), process.rows("SELECT address FROM threepids")
        )

    def account_with_validation(self: Any, process: Process, name: str) -> tuple[str, str, str]:
        """An account that has validated an address, and not added it yet: name, token and sid."""
        token = process.register(name).json["access_token"]
        body = {"email": f"{name}@mail.example", "client_secret": SECRET, "send_attempt": 1}
        sid = process.client.post(f"{THREEPIDS}/email/requestToken", body, token=token).json["sid"]
        mails = process.subsystem.hooks.mails
        assert isinstance(mails, MemoryMails)
        fields = dict(parse_qsl(urlsplit(mails.sent[-1].link).query))
        self.assertEqual(process.client.post(ADD_SUBMIT, fields).json, {"success": True})
        return name, token, sid

    def add(self, process: Process, given: tuple[str, str, str]) -> Answer:
        name, token, sid = given
        who = {"type": "m.id.user", "user": name}
        auth = {"type": "m.login.password", "identifier": who, "password": PASSWORD}
        body = {"sid": sid, "client_secret": SECRET, "auth": auth}
        return process.client.post(f"{THREEPIDS}/add", body, token=token)

    def account_with_address(self: Any, process: Process, name: str) -> tuple[str, str, str]:
        """An account that has an address: as ``account_with_validation``."""
        given = self.account_with_validation(process, name)
        self.assertEqual(self.add(process, given).json, {})
        return given

    def delete(self, process: Process, given: tuple[str, str, str]) -> Answer:
        body = {"medium": "email", "address": f"{given[0]}@mail.example"}
        return process.client.post(f"{THREEPIDS}/delete", body, token=given[1])

    def test_added(self) -> None:
        """The same whether the client retries or not."""
        self.crash_everywhere(
            self.add, lambda process, given, issued: None, self.account_with_validation
        )

    def test_removed(self) -> None:
        """The same for a removal."""
        self.crash_everywhere(
            self.delete, lambda process, given, issued: None, self.account_with_address
        )

    def account_with_binding(self: Any, process: Process, name: str) -> tuple[str, str, str]:
        """An account whose address is bound at an identity server that is unreachable: as
        ``account_with_validation``."""
        given = self.account_with_address(process, name)
        process.change(
            "INSERT INTO bindings (user_id, medium, address, id_server, binding_id, bound_ms)"
            f" VALUES ('@{name}:test.example', 'email', '{name}@mail.example', 'id.example',"
            f" 'of {name}', 1)"
        )
        return given

    def test_unbound(self) -> None:
        """The bindings of a deleted address are removed, also if no client retries."""

        def check(process: Process, given: tuple[str, str, str], issued: set[str]) -> None:
            gone = process.rows(
                "SELECT binding_id FROM bindings b WHERE NOT EXISTS"
                " (SELECT 1 FROM threepids t WHERE t.address = b.address)"
            )
            unbinding = "FROM jobs WHERE kind = 'unbind_threepid'"
            planned = {
                json.loads(row)["binding_id"] for row in process.rows(f"SELECT payload {unbinding}")
            }
            self.assertLessEqual(gone, planned)
            process.change(f"DELETE {unbinding}")
            process.change("DELETE FROM bindings")

        self.crash_everywhere(self.delete, check, self.account_with_binding)

    def test_deactivated(self) -> None:
        """So are those of a deactivated account, once the deactivation has come to its end."""

        def request(process: Process, given: tuple[str, str, str]) -> None:
            user_id = UserID(given[0], SERVER_NAME)
            process.result(process.subsystem.handler.deactivated(user_id))

        self.crash_everywhere(
            request,
            lambda process, given, issued: request(process, given),
            self.account_with_address,
        )


class SQLiteTests(OnSQLite, ThreepidCrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLTests(OnPostgreSQL, ThreepidCrashTests, SynchronousTestCase):
    """On a real server."""
