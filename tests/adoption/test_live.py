"""A live Synapse's users become ours, and its own again: nobody is logged out in between."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence
from urllib.parse import quote

import yaml
from twisted.trial.unittest import SynchronousTestCase

from regsys.adoption.connections import grants
from regsys.credentials.passwords import hash_password, prepare
from tests.support import postgres
from tests.support.native_synapse import PEPPER, NativeSynapse
from tests.support.patience import PATIENCE_S
from tests.support.service_process import ROOT, SERVER_NAME, ServiceProcess, psycopg2, sqlite
from tests.support.synapse_tables import NAMES

V3 = "/_matrix/client/v3"
# Longer than bcrypt reads, and with letters that a normal form changes (a ligature, a combining
# accent).
LONG = "pa\u0301sswörd ﬁ " + "x" * 90
PASSWORDS = {"alice": "in the looking glass", "bob": LONG, "carol": "swordfish"}


class Live:
    """``section``: of a database that both use."""

    def section(self) -> Mapping[str, Any]:
        raise NotImplementedError()

    def all(self, sql: str) -> Sequence[Any]:
        """The rows of a SELECT in Synapse's database."""
        raise NotImplementedError()

    def our(self, sql: str, *values: Any) -> None:
        """Change our own tables."""
        raise NotImplementedError()

    def execute(self, script: str) -> None:
        """Execute a script in Synapse's database."""
        raise NotImplementedError()

    def by_another_role(self) -> Sequence[str]:
        """Arguments by which a role with the documented rights reads, if there are roles."""
        return ()

    def setUp(self: Any) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.synapse = NativeSynapse(self, self.folder, self.section())
        self.synapse.start()

    def regsys(self: Any, *arguments: str) -> str:
        """Run a command; returns its standard output."""
        config = self.folder / "synapse.yaml"
        done = subprocess.run(
            [sys.executable, "-m", "regsys", *arguments, "-c", str(config)],
            cwd=self.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def serve(self: Any) -> ServiceProcess:
        """regsys, by Synapse's own configuration but for the listeners."""
        plenty = {"port": 0, "bind_addresses": ["127.0.0.1"], "type": "http"}
        resources = [{"names": ["client", "consent", "health"]}]
        ours = {"listeners": [{**plenty, "resources": resources}]}
        (self.folder / "regsys.yaml").write_text(yaml.safe_dump(ours))
        return ServiceProcess(
            self,
            self.folder / "synapse.yaml",
            self.folder / "regsys.yaml",
            program=("-m", "tests.support.keeping_keys", "serve"),
        )

    def fill(self: Any) -> dict[str, str]:
        """Make accounts at Synapse; their access tokens by a word for each."""
        synapse = self.synapse
        root = synapse.administrator("root", "root's own")
        tokens = {"root": root}
        alice = synapse.register("alice", PASSWORDS["alice"], initial_device_display_name="Phone")
        tokens["alice"] = alice["access_token"]
        tokens["bob"] = synapse.register("bob", LONG)["access_token"]
        second = synapse.log_in("alice", PASSWORDS["alice"], device_id="SECOND")[1]
        tokens["second"] = second["access_token"]
        gone = synapse.log_in("alice", PASSWORDS["alice"], device_id="GONE")[1]["access_token"]
        self.assertEqual(synapse.ask("POST", f"{V3}/logout", {}, gone)[0], 200)
        tokens["gone"] = gone
        pair = synapse.log_in("bob", LONG, device_id="PAIR", refresh_token=True)[1]
        tokens["pair"], self.refresh_token = pair["access_token"], pair["refresh_token"]
        users = "/_synapse/admin/v2/users/"
        carol = {
            "password": PASSWORDS["carol"],
            "threepids": [{"medium": "email", "address": "carol@mail.example"}],
        }
        self.assertEqual(
            synapse.ask("PUT", f"{users}{quote(f'@carol:{SERVER_NAME}')}", carol, root)[0], 201
        )
        synapse.register("dave", "a password")
        path = f"/_synapse/admin/v1/deactivate/{quote(f'@dave:{SERVER_NAME}')}"
        self.assertEqual(synapse.ask("POST", path, {"erase": True}, root)[0], 200)
        guest = synapse.ask("POST", f"{V3}/register?kind=guest", {})[1]
        tokens["guest"] = guest["access_token"]
        return tokens

    def contents(self) -> dict[str, Any]:
        """Every row of the tables that are read, but for when a device was last seen."""
        found = {name: self.all(f"SELECT * FROM {name}") for name in NAMES if name != "devices"}
        found["devices"] = self.all("SELECT user_id, device_id, display_name FROM devices")
        return {name: sorted(map(tuple, rows), key=repr) for name, rows in found.items()}

    def whoami(self, server: Any, token: str) -> tuple[int, Any]:
        answer = server.ask("GET", f"{V3}/account/whoami", None, token=token)
        status, body = (answer.status, answer.json) if hasattr(answer, "json") else answer
        return status, body.get("device_id")

    def check_logins(self: Any, service: ServiceProcess) -> None:
        """Each old password logs in here, by name and by address, and no other; a refresh token
        gets a new pair."""
        for name, password in PASSWORDS.items():
            self.assertEqual(self.log_in(service, name, password), 200, name)
            self.assertEqual(self.log_in(service, name, f"!{password}"), 403, name)
        self.assertEqual(self.log_in(service, "dave", "a password"), 403)
        body = {
            "type": "m.login.password",
            "identifier": {
                "type": "m.id.thirdparty",
                "medium": "email",
                "address": "Carol@mail.example",
            },
            "password": PASSWORDS["carol"],
        }
        self.assertEqual(service.ask("POST", f"{V3}/login", body).status, 200)
        refreshed = service.ask("POST", f"{V3}/refresh", {"refresh_token": self.refresh_token})
        self.assertEqual(refreshed.status, 200)
        token = refreshed.json["access_token"]
        self.assertEqual(self.whoami(service, token), (200, "PAIR"))

    def log_in(self, server: Any, name: str, password: str) -> int:
        """The status of a login."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": password,
        }
        answer = server.ask("POST", f"{V3}/login", body)
        return int(answer.status if hasattr(answer, "json") else answer[0])

    def test_thereAndBack(self: Any) -> None:
        """Old passwords and old tokens work here; after the way back they work there, and so
        does a password that was changed here."""
        tokens = self.fill()
        there = {name: self.whoami(self.synapse, token) for name, token in tokens.items()}
        before = self.contents()
        self.assertEqual(there["gone"][0], 401)
        report = self.regsys("adopt", *self.by_another_role())
        self.assertIn("         6 accounts\n", report)
        self.assertEqual(self.contents(), before)
        self.synapse.stop()
        self.assertIn("         6 were adopted before\n", self.regsys("adopt"))
        service = self.serve()
        here = {name: self.whoami(service, token) for name, token in tokens.items()}
        self.assertEqual(here, there)
        self.check_logins(service)
        made_here = self.logged_in_here(service)
        service.stop()
        self.change_password("alice", "changed here")
        script = self.regsys("hand-back")
        self.execute(script)
        self.execute(script)
        self.synapse.start()
        self.assertEqual(self.log_in(self.synapse, "alice", "changed here"), 200)
        self.assertEqual(self.log_in(self.synapse, "alice", PASSWORDS["alice"]), 403)
        for name in ("bob", "carol"):
            self.assertEqual(self.log_in(self.synapse, name, PASSWORDS[name]), 200, name)
        # A refresh here has ended that pair.
        del tokens["pair"]
        back = {name: self.whoami(self.synapse, token) for name, token in tokens.items()}
        self.assertEqual(back, {name: there[name] for name in tokens})
        self.assertEqual(self.whoami(self.synapse, made_here[0]), (200, "HERE"))
        body = {"refresh_token": made_here[1]}
        self.assertEqual(self.synapse.ask("POST", f"{V3}/refresh", body)[0], 200)
        log = (self.folder / "synapse.log").read_text()
        self.assertNotIn("Traceback", log)

    def logged_in_here(self: Any, service: ServiceProcess) -> tuple[str, str]:
        """The access and the refresh token of a login here."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "carol"},
            "password": PASSWORDS["carol"],
            "device_id": "HERE",
            "refresh_token": True,
        }
        answer = service.ask("POST", f"{V3}/login", body).json
        return answer["access_token"], answer["refresh_token"]

    def change_password(self: Any, name: str, password: str) -> None:
        hashed = hash_password(prepare(password, PEPPER), 4)
        self.our("UPDATE users SET password_hash = ? WHERE name_key = ?", hashed, name)


class SQLiteLiveTests(Live, SynchronousTestCase):
    def section(self) -> Mapping[str, Any]:
        return sqlite(self.folder)

    def all(self, sql: str) -> Sequence[Any]:
        connection = sqlite3.connect(f"file:{self.folder}/homeserver.db?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def our(self, sql: str, *values: Any) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as database:
            database.execute(sql, values)
            database.commit()

    def execute(self, script: str) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver.db")) as database:
            database.executescript(script)


class PostgresLiveTests(Live, SynchronousTestCase):
    def section(self) -> Mapping[str, Any]:
        # A role called regsys would else see our schema first, as Synapse would.
        self.args = {**postgres.dsn(self), "options": "-c search_path=public"}
        return psycopg2(self.args)

    def all(self, sql: str) -> Sequence[Any]:
        import psycopg2 as driver

        connection = driver.connect(**self.args)
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchall()
        finally:
            connection.close()

    def by_another_role(self) -> Sequence[str]:
        role = f"adoption_{self.args['dbname']}"
        cursor = self._connected()
        cursor.execute(grants(role))
        self.addCleanup(cursor.execute, f"DROP OWNED BY {role}; DROP ROLE {role}")
        place = {**self.args, "user": role, "options": ""}
        return ("--from", " ".join(f"{name}='{value}'" for name, value in place.items()))

    def _connected(self) -> Any:
        import psycopg2 as driver

        connection = driver.connect(**self.args)
        self.addCleanup(connection.close)
        connection.autocommit = True
        return connection.cursor()

    def our(self, sql: str, *values: Any) -> None:
        text = sql.replace("?", "%s").replace("UPDATE ", "UPDATE regsys.")
        self._connected().execute(text, values)

    def execute(self, script: str) -> None:
        self._connected().execute(script)
