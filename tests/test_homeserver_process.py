"""``regsys serve`` beside a homeserver, both as real processes: new users are in their rooms there,
once, whichever process was down or died in between (contract B5, B2.7)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests.doubles.homeserver import AS_TOKEN, LIMBO
from tests.support import postgres
from tests.support.homeserver_process import HomeserverProcess
from tests.support.log_canaries import leaked
from tests.support.patience import PATIENCE_S
from tests.support.service_process import ROOT, ServiceProcess, psycopg2, sqlite, write_config

LOBBY, NEWS = ROOMS = ("#lobby:test.example", "#news:test.example")
PASSWORD = "correct horse battery staple"
DUMMY = {"type": "m.login.dummy"}
PRIVATE = {"autocreate_auto_join_room_preset": "private_chat", "auto_join_mxid_localpart": "host"}


def who(name: str) -> str:
    return f"@{name}:test.example"


class BesideFlows:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self) -> None:
        self.double = HomeserverProcess(self)

    def serve(self, **options: Any) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        beside = {"homeserver": self.double.options, "rc_availability": False}
        chosen = {"auto_join_rooms": [*ROOMS], "no_proxy_hosts": ["127.0.0.1"], **options}
        database = self.database(folder.resolve())
        self.config = write_config(folder.resolve(), database, regsys=beside, **chosen)
        self.service = ServiceProcess(self, self.config)

    def tearDown(self) -> None:
        output = self.service.output
        self.assertEqual(leaked(output, {"the as_token": AS_TOKEN, "a password": PASSWORD}), [])
        self.assertNotIn("Traceback", output)

    def register(self, name: str) -> None:
        body = {"username": name, "password": PASSWORD, "auth": DUMMY}
        answer = self.service.ask("POST", "/_matrix/client/v3/register", body)
        self.assertEqual((answer.status, answer.json.get("user_id")), (200, who(name)))

    def joined(self, *names: str) -> Any:
        """The homeserver's state once all users are in all rooms."""
        users = set(map(who, names))

        def all_in(state: Any) -> bool:
            rooms = [state["rooms"].get(alias, {"members": {}})["members"] for alias in ROOMS]
            return all(users <= {u for u, what in room.items() if what == "join"} for room in rooms)

        return self.double.until(all_in)

    def jobs(self, action: str = "list") -> str:
        """The output of ``regsys jobs``."""
        command = [sys.executable, "-m", "regsys", "jobs", action, "-c", str(self.config)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=PATIENCE_S
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def sql(self, statement: str) -> Any:
        """One statement to the service's database; its rows, if it has any."""
        connection = connect(load([str(self.config)]).database)
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def test_public(self) -> None:
        """The first user creates the rooms and is in them, the second joins; each happens once, and
        the profiles are there, whatever characters a name has."""
        self.double.start()
        self.serve()
        names = ("alice", "bob", "a/l=i.c+e")
        for name in names:
            self.register(name)
            state = self.joined(name)
        for room in state["rooms"].values():
            self.assertEqual(room["creator"], who("alice"))
            self.assertEqual(room["history"], [[who(name), "join"] for name in names])
        self.assertEqual(sum(call == "create" for call, _ in state["calls"]), len(ROOMS))
        self.double.until(lambda state: state["profiles"] == {who(name): name for name in names})
        registered = sum(call == "register" for call, _ in state["calls"])
        self.assertEqual(registered, len(names))

    def test_private(self) -> None:
        """Every user is invited to a private room first, by its creator."""
        self.double.start()
        self.serve(**PRIVATE)
        self.register("host")
        self.joined("host")
        self.register("alice")
        for room in self.joined("host", "alice")["rooms"].values():
            steps = [[who("host"), "join"], [who("alice"), "invite"], [who("alice"), "join"]]
            self.assertEqual(room["history"], steps)

    def test_down(self) -> None:
        """While the homeserver is down no registration succeeds, since its names are unknown; the
        jobs of earlier users are listed, and done when it comes back."""
        self.double.start()
        self.serve()
        away = ["502"] * 10
        self.double.state(register=away, find=away, create=away, join=away)
        self.register("alice")
        self.register("bob")
        self.double.stop()
        body = {"username": "carol", "password": PASSWORD, "auth": DUMMY}
        answer = self.service.ask("POST", "/_matrix/client/v3/register", body)
        self.assertEqual(answer.status, 503)
        listed = self.jobs()
        for word in (*ROOMS, who("alice"), who("bob"), "auto_join"):
            self.assertIn(word, listed)
        self.double.start()
        state = self.joined("alice", "bob")
        creators = {room["creator"] for room in state["rooms"].values()}
        self.assertEqual(creators, {who("alice")})
        self.register("carol")

    def test_taken(self) -> None:
        """A name that the homeserver has cannot be registered here, except by an administrator."""
        self.double.start()
        self.serve()
        self.double.state(accounts=[who("alice")])
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
        answer = self.service.ask("POST", "/_matrix/client/v3/register", body)
        self.assertEqual((answer.status, answer.json["errcode"]), (400, "M_USER_IN_USE"))
        command = [sys.executable, "-m", "regsys", "register-user", "alice", "-c", str(self.config)]
        for more, status in ([], 1), (["--existing"], 0):
            done = subprocess.run(
                [*command, *more],
                cwd=ROOT,
                input=f"{PASSWORD}\n",
                capture_output=True,
                encoding="utf-8",
                timeout=PATIENCE_S,
            )
            self.assertEqual(done.returncode, status, done.stderr)

    def test_killed(self) -> None:
        """The service dies after the homeserver has acted, and before its answer: after a restart
        everything is there, once."""
        for call, has_acted in (
            ("register", lambda state: who("alice") in state["profiles"]),
            ("create", lambda state: len(state["rooms"]) == len(ROOMS)),
            (
                "join",
                lambda state: all(who("alice") in r["members"] for r in state["rooms"].values()),
            ),
        ):
            self.double.start()
            self.serve()
            if call == "join":
                self.register("first")
                self.joined("first")
            self.double.state(**{call: [LIMBO] * len(ROOMS)})
            self.register("alice")
            self.double.until(has_acted)
            self.service.kill()
            # As if a minute had passed: the leases of the dead process are over.
            self.sql("UPDATE jobs SET due_ms = 0")
            self.double.state(**{call: []})
            self.service = ServiceProcess(self, self.config)
            for room in self.joined("alice")["rooms"].values():
                joins = [change for change in room["history"] if change[0] == who("alice")]
                self.assertEqual(joins, [[who("alice"), "join"]], call)
            self.service.stop()
            self.double.stop()


class SQLiteBesideTests(BesideFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLBesideTests(BesideFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
