"""Killed at any statement boundary, a process that changes what an existing account has leaves no
module with a wrong idea of it: the change and the job that tells of it are one (B10.4)."""

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
    """Keeps in a file who has which address, as far as it was told, beyond the end of a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def hear(self, what: str) -> Callable[..., None]:
        def hook(user_id: str, medium: str, address: str) -> None:
            with self.path.open("a") as file:
                print(what, address, file=file)

        return hook

    def believed(self) -> set[str]:
        """The addresses that somebody has."""
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
        changes.additions.register("m", self.module.hear("added"))
        changes.removals.register("m", self.module.hear("removed"))

    def assertFollowed(self: Any, process: Process) -> None:
        """What the module believes is so."""
        super().assertFollowed(process)
        self.assertEqual(self.module.believed(), process.rows("SELECT address FROM threepids"))

    def proven(self: Any, process: Process, name: str) -> tuple[str, str, str]:
        """An account that has proven an address, and not added it yet: name, token and sid."""
        token = process.register(name).json["access_token"]
        wish = {"email": f"{name}@mail.example", "client_secret": SECRET, "send_attempt": 1}
        sid = process.client.post(f"{THREEPIDS}/email/requestToken", wish, token=token).json["sid"]
        mails = process.subsystem.hooks.mails
        assert isinstance(mails, MemoryMails)
        proof = dict(parse_qsl(urlsplit(mails.sent[-1].link).query))
        self.assertEqual(process.client.post(ADD_SUBMIT, proof).json, {"success": True})
        return name, token, sid

    def add(self, process: Process, given: tuple[str, str, str]) -> Answer:
        name, token, sid = given
        who = {"type": "m.id.user", "user": name}
        auth = {"type": "m.login.password", "identifier": who, "password": PASSWORD}
        body = {"sid": sid, "client_secret": SECRET, "auth": auth}
        return process.client.post(f"{THREEPIDS}/add", body, token=token)

    def held(self: Any, process: Process, name: str) -> tuple[str, str, str]:
        """An account that has an address: as ``proven``."""
        given = self.proven(process, name)
        self.assertEqual(self.add(process, given).json, {})
        return given

    def delete(self, process: Process, given: tuple[str, str, str]) -> Answer:
        body = {"medium": "email", "address": f"{given[0]}@mail.example"}
        return process.client.post(f"{THREEPIDS}/delete", body, token=given[1])

    def test_added(self) -> None:
        """Whether its user comes back to add it or not."""
        self.crash_everywhere(self.add, lambda process, given, issued: None, self.proven)

    def test_removed(self) -> None:
        """The same for a removal."""
        self.crash_everywhere(self.delete, lambda process, given, issued: None, self.held)

    def bound(self: Any, process: Process, name: str) -> tuple[str, str, str]:
        """An account whose address an identity server has bound that is not to be reached: as
        ``proven``."""
        given = self.held(process, name)
        process.change(
            "INSERT INTO bindings (user_id, medium, address, id_server, binding_id, bound_ms)"
            f" VALUES ('@{name}:test.example', 'email', '{name}@mail.example', 'id.example',"
            f" 'of {name}', 1)"
        )
        return given

    def test_unbound(self) -> None:
        """What was bound of an address that is gone is being unbound, also if nobody asks again."""

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

        self.crash_everywhere(self.delete, check, self.bound)

    def test_deactivated(self) -> None:
        """And for all that a deactivation takes away, once that has come to its end."""

        def request(process: Process, given: tuple[str, str, str]) -> None:
            user_id = UserID(given[0], SERVER_NAME)
            process.result(process.subsystem.handler.deactivated(user_id))

        self.crash_everywhere(
            request, lambda process, given, issued: request(process, given), self.held
        )


class SQLiteTests(OnSQLite, ThreepidCrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLTests(OnPostgreSQL, ThreepidCrashTests, SynchronousTestCase):
    """On a real server."""
