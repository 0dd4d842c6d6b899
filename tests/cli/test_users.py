"""``regsys users``: what it prints, and what it does, also while the service runs."""

from __future__ import annotations

import io
import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Mapping, Optional
from unittest import mock

from twisted.internet.defer import Deferred

from regsys.cli import confirming, users
from regsys.cli.results import Done
from regsys.cli.tables import json_text, printable, table
from regsys.errors import RegistrationError, Unavailable
from regsys.model import Secret
from tests.cli.test_commands import CommandCase
from tests.support.accounts import AccountCase
from tests.support.case import PASSWORD
from tests.support.client import V3
from tests.support.service_process import ServiceProcess, sqlite, write_config
from tests.support.validations import ALICE as MAIL

LIST: Mapping[str, Any] = {
    "name": None,
    "address": None,
    "limit": 100,
    "skip": 0,
    **dict.fromkeys(("waiting", "deactivated", "admins", "guests"), False),
}
DEACTIVATE: Mapping[str, Any] = {
    "names": [],
    "from_file": None,
    **dict.fromkeys(("erase", "dry_run", "yes"), False),
}
OTHERS = {"keep_logins": False, "force": False, "no": False, "device": None}
# It clears a terminal, and the other one reverses what follows.
HOSTILE = "\x1b[2J\x9b1m\N{RIGHT-TO-LEFT OVERRIDE}\n\ud800"


class ActionCase(AccountCase):
    def start(
        self, action: str, password: Optional[str] = None, **arguments: Any
    ) -> Deferred[Done]:
        own = {"list": LIST, "deactivate": DEACTIVATE}.get(action, OTHERS)
        given = Namespace(action=action, **{"json": False, **own, **arguments})
        secret = None if password is None else Secret(password)
        return Deferred.fromCoroutine(users.run(self.subsystem, "test.example", given, secret))

    def do(self, action: str, **arguments: Any) -> str:
        done = self.successResultOf(self.start(action, **arguments))
        self.assertEqual((done.status, done.problem), (0, None), done)
        return done.text

    def json(self, action: str, **arguments: Any) -> Any:
        return json.loads(self.do(action, json=True, **arguments))

    def refused(self, action: str, words: str, **arguments: Any) -> None:
        failure = self.failureResultOf(self.start(action, **arguments), RegistrationError)
        self.assertIn(words, failure.getErrorMessage())


class ListTests(ActionCase):
    def names(self, **arguments: Any) -> list[str]:
        return [item["user_id"][1:].partition(":")[0] for item in self.json("list", **arguments)]

    def test_list(self) -> None:
        """A line for each account, the newest first, and how to go on."""
        self.clock.advance(60)
        self.register("carol")
        self.change("UPDATE users SET admin = TRUE, approved = FALSE WHERE name_key = 'carol'")
        self.change("UPDATE profiles SET display_name = 'Bob B.' WHERE user_id LIKE '@bob%'")
        lines = self.do("list").splitlines()
        self.assertEqual(
            [line.split("  ", 1)[0].rstrip() for line in lines],
            [f"@{name}:test.example" for name in ("carol", "alice", "bob")],
        )
        self.assertRegex(lines[0], r"2023-11-14 22:\d\d:\d\d UTC  waiting, admin$")
        self.assertRegex(lines[2], "UTC  -  +Bob B.$")
        self.assertIn("--from 1 shows older ones.", self.do("list", limit=1))
        self.assertEqual(self.names(limit=1, skip=1), ["alice"])
        self.assertEqual(self.do("list", name="nobody"), "There are no such users.")

    def test_filters(self) -> None:
        """By a part of a name, an address, a domain, and states."""
        self.add_address(self.alice)
        self.change("UPDATE users SET admin = TRUE WHERE name_key = 'alice'")
        self.change("UPDATE users SET approved = FALSE WHERE name_key = 'bob'")
        self.guest()
        for arguments, expected in (
            ({"name": "LIC"}, ["alice"]),
            ({"address": MAIL.upper()}, ["alice"]),
            ({"address": "@Mail.example"}, ["alice"]),
            ({"address": "+49 301234567"}, []),
            ({"admins": True}, ["alice"]),
            ({"waiting": True}, ["bob"]),
            ({"deactivated": True}, []),
            ({"guests": True}, ["1"]),
        ):
            self.assertEqual(self.names(**arguments), expected, arguments)
        self.do("deactivate", names=["bob"], yes=True)
        self.assertEqual((self.names(waiting=True), self.names(deactivated=True)), ([], ["bob"]))
        self.refused("list", "neither a mail address", address="nonsense")

    def test_hostileValues(self) -> None:
        """What a user has chosen reaches the terminal as text, and JSON stays JSON."""
        self.change("UPDATE profiles SET display_name = ?", HOSTILE[:-1])
        for text in (self.do("list"), self.do("show", name="alice")):
            self.assertIn(r"\x1b[2J\x9b1m\u202e\n", text)
            self.assertTrue(all(line.isprintable() for line in text.split("\n")), text)
        text = self.do("list", json=True)
        self.assertTrue(all(line.isprintable() for line in text.split("\n")), text)
        self.assertEqual(json.loads(text)[0]["display_name"], HOSTILE[:-1])
        self.assertEqual(json.loads(json_text({"a": HOSTILE})), {"a": HOSTILE})
        self.assertTrue(printable(HOSTILE).isascii())
        wide = table([["日本", "x"], ["abcde", "y"]])
        self.assertEqual(wide, "日本   x\nabcde  y")


class ShowTests(ActionCase):
    def test_all(self) -> None:
        """All that there is: account, addresses, devices, consents, token, dialogues and jobs; and
        no hash, token or secret."""
        self.add_address(self.alice)
        self.client.post(f"{V3}/account/deactivate", token=self.alice)
        self.change("INSERT INTO consents VALUES ('@alice:test.example', 'terms', '2', 7)")
        self.change(
            "INSERT INTO registration_token_uses VALUES ('@alice:test.example', 'word', 7000)"
        )
        payload = json.dumps({"user_id": "@alice:test.example", "password": "hidden"})
        self.change("INSERT INTO jobs VALUES ('j1', 'greet', ?, 2, 9000, 8000, 'away')", payload)
        other = json.dumps({"user_id": "@bob:test.example", "note": "@alice:test.example"})
        self.change("INSERT INTO jobs VALUES ('j2', 'greet', ?, 2, 9000, 8000, 'away')", other)
        text = self.do("show", name="@alice:test.example")
        for words in (
            "has password   yes",
            "Addresses:",
            MAIL,
            "Accepted policies:",
            "1970-01-01 00:00:07 UTC",
            "Registration token:",
            "word",
            "Dialogues:",
            "Jobs that are not done yet:",
            "j1      greet  2",
        ):
            self.assertIn(words, text)
        found = self.json("show", name="ALICE")
        self.assertEqual(found["users"][0]["shadow_banned"], False)
        self.assertEqual([job["job_id"] for job in found["jobs"]], ["j1"])
        ((password_hash,),) = self.rows("SELECT password_hash FROM users WHERE name_key = 'alice'")
        for secret in (password_hash, self.alice, "hidden"):
            self.assertNotIn(secret, text + json.dumps(found))
        self.refused("show", "there is no user @carol:test.example", name="carol")
        self.refused("show", "not of this server", name="@alice:other.example")


class DeactivateTests(ActionCase):
    def states(self, status: int = 0, **arguments: Any) -> Mapping[str, str]:
        done = self.successResultOf(self.start("deactivate", json=True, **arguments))
        self.assertEqual(done.status, status, done)
        return {item["name"]: item["state"] for item in json.loads(done.text)}

    def test_many(self) -> None:
        """Names from the arguments and a file: a dry run says what would be done, then it is."""
        path = Path(self.mktemp())
        path.write_text("# spam of May\n\n  bob \n@alice:test.example\nnobody\n")
        asked = {"names": ["Alice", "@x:other.example"], "from_file": str(path)}
        planned = self.states(1, dry_run=True, **asked)
        elsewhere = "@x:other.example is not of this server, test.example"
        self.assertEqual(
            planned,
            {
                "Alice": "to be deactivated",
                "@x:other.example": elsewhere,
                "bob": "to be deactivated",
                "@alice:test.example": "to be deactivated",
                "nobody": "not found",
            },
        )
        self.assertEqual(self.whoami(self.alice).status, 200)
        done = self.states(1, yes=True, **asked)
        self.assertEqual((done["Alice"], done["bob"]), ("deactivated", "deactivated"))
        self.assertEqual(done["nobody"], "not found")
        for token in (self.alice, self.bob):
            self.assertEqual(self.whoami(token).status, 401)
        again = self.states(names=["bob"], yes=True)
        self.assertEqual(again, {"bob": "deactivated already"})
        self.assertEqual(self.states(names=["bob"], yes=True, erase=True), {"bob": "erased"})
        self.assertEqual(
            self.do("deactivate", names=["bob"], yes=True),
            "@bob:test.example  deactivated already",
        )

    def test_asks(self) -> None:
        """At a terminal it asks; without one, or with any other answer, nothing is done."""
        for answer, status in (("n\n", 2), ("", 2), ("Y\n", 0)):
            terminal = io.StringIO(answer)
            terminal.isatty = lambda: True  # type: ignore[method-assign]
            with (
                mock.patch.object(sys, "stdin", terminal),
                mock.patch.object(sys, "stderr", io.StringIO()) as shown,
            ):
                done = self.successResultOf(self.start("deactivate", names=["bob"]))
            self.assertEqual(done.status, status, done)
            self.assertIn("@bob:test.example  to be deactivated", shown.getvalue())
            self.assertIn("Deactivate 1 of these for good? [y/N]", shown.getvalue())
            self.assertEqual(self.whoami(self.bob).status, 401 if status == 0 else 200)
        with mock.patch.object(sys, "stdin", io.StringIO("y\n")):
            self.assertFalse(confirming.is_confirmed("Really?"))

    def test_stopsWhereNothingWorks(self) -> None:
        """If the database goes away, the rest is told as not done, without trying each."""
        asked: list[str] = []

        async def away(user_id: Any, erase: bool, by: str) -> bool:
            asked.append(str(user_id))
            raise Unavailable()

        administration = self.subsystem.administration
        with mock.patch.object(type(administration), "deactivate", staticmethod(away)):
            states = self.states(1, names=["alice", "nobody", "bob"], yes=True)
        self.assertEqual(asked, ["@alice:test.example"])
        self.assertEqual(states["nobody"], "not found")
        for name in ("alice", "bob"):
            self.assertTrue(states[name].startswith("not done: "), states)

    def test_wrong(self) -> None:
        """A file that cannot be read, or no name at all, is a refusal."""
        self.refused("deactivate", "cannot be read", from_file="/nowhere/names")
        self.refused("deactivate", "no user is named")


class ChangeTests(ActionCase):
    options = {  # noqa: RUF012 (AccountCase declares it)
        **AccountCase.options,
        "password_config": {"policy": {"enabled": True, "minimum_length": 9}},
    }

    def log_in(self, password: str) -> int:
        identifier = {"type": "m.id.user", "user": "alice"}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self.client.post(f"{V3}/login", body).status

    def test_setPassword(self) -> None:
        """The policy holds, unless it is overruled; the devices are logged out, unless they are to
        stay."""
        self.refused("set-password", "9 characters or more", name="alice", password="short")
        self.do("set-password", name="alice", password="short", force=True, keep_logins=True)
        self.assertEqual((self.whoami(self.alice).status, self.log_in("short")), (200, 200))
        text = self.do("set-password", name="alice", password="another horse")
        self.assertIn("@alice:test.example has a new password; all devices", text)
        self.assertEqual(self.whoami(self.alice).status, 401)
        self.assertEqual((self.log_in("short"), self.log_in("another horse")), (403, 200))
        self.assertNotIn("another horse", text)

    def test_setAdmin(self) -> None:
        """A user becomes an administrator, and an ordinary user again."""
        path = "/_regsys/v1/jobs"
        self.assertEqual(self.client.get(path, token=self.alice).status, 403)
        self.assertTrue(self.json("set-admin", name="alice")["changed"])
        self.assertEqual(self.client.get(path, token=self.alice).status, 200)
        self.assertIn("already", self.do("set-admin", name="alice"))
        self.do("set-admin", name="alice", no=True)
        self.assertEqual(self.client.get(path, token=self.alice).status, 403)
        guest = self.guest()["user_id"]
        self.refused("set-admin", "a guest's", name=guest)
        self.refused("log-out", "be deactivated", name=guest)

    def test_logOut(self) -> None:
        """One device, or all."""
        ((device,),) = self.rows(
            "SELECT device_id FROM devices WHERE user_id = '@alice:test.example'"
        )
        self.log_in(PASSWORD)
        self.refused("log-out", "has no device X", name="alice", device="X")
        self.assertEqual(self.do("log-out", name="alice", device=device), "1 device is logged out.")
        self.assertEqual(self.whoami(self.alice).status, 401)
        self.assertEqual(len(self.json("log-out", name="alice")["devices"]), 1)
        self.assertEqual(self.do("log-out", name="alice"), "0 devices are logged out.")
        self.assertEqual(self.whoami(self.bob).status, 200)


class ProcessTests(CommandCase):
    def test_besideTheService(self) -> None:
        """What a command ends is dead in the service that runs over the same database."""
        config = write_config(self.folder, sqlite(self.folder))
        service = ServiceProcess(self, config)
        tokens = {}
        for name in ("alice", "bob"):
            body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
            answer = service.ask("POST", f"{V3}/register", body)
            tokens[name] = answer.json["access_token"]
        for words, stdin in (
            (("users", "set-password", "alice"), "another horse\n"),
            (("users", "deactivate", "--yes", "--from-file", "-"), "bob\n"),
        ):
            done = self.regsys(*words, "--json", "-c", config.name, stdin=stdin)
            self.assertEqual(done.returncode, 0, done.stderr)
            json.loads(done.stdout)
        for token in tokens.values():
            answer = service.ask("GET", f"{V3}/account/whoami", token=token)
            self.assertEqual(answer.status, 401, answer)
        identifier = {"type": "m.id.user", "user": "alice"}
        body = {"type": "m.login.password", "identifier": identifier, "password": "another horse"}
        self.assertEqual(service.ask("POST", f"{V3}/login", body).status, 200)

    def test_exitStatus(self) -> None:
        """1 for what is not found, 2 for what is not asked for properly."""
        config = self.config()
        done = self.regsys("users", "deactivate", "nobody", "--yes", "-c", config)
        self.assertEqual(
            (done.returncode, done.stdout), (1, "@nobody:test.example  not found\n"), done.stderr
        )
        for words in (
            ("users",),
            ("users", "show"),
            ("users", "deactivate", "a", "--yes", "--dry-run"),
            ("users", "list", "--limit", "0"),
            ("users", "set-password", "a", "secret"),
        ):
            self.assertEqual(self.called(*words).returncode, 2, words)
        self.assertEqual(os.listdir(self.folder).count("regsys-demo"), 0)
