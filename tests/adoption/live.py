"""A live Synapse on either database, whose accounts regsys takes over and gives back."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Mapping, Optional, Sequence

import yaml

from regsys.adoption.connections import grants
from tests.support import postgres
from tests.support.native_synapse import PEPPER, NativeSynapse
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.reporter import report_on_failure
from tests.support.service_process import ROOT, ServiceProcess, psycopg2, sqlite
from tests.support.smtp_process import SMTPProcess
from tests.support.synapse import SECRET
from tests.support.synapse_tables import NAMES

V3 = "/_matrix/client/v3"
# What docs/synapse-routes.md sends to regsys, as far as it is asked for here.
OURS = re.compile(
    rf"[A-Z]+ {V3}/((register|login|logout|refresh|delete_devices|account/(password|deactivate|3pid"
    r"))(/|\?|$))|[A-Z]+ /_matrix/client/unstable/(add_threepid|password_reset)/|DELETE "
    rf"{V3}/devices/"
)


class Live:
    """``synapse`` keeps its accounts itself until ``delegate``, and again after ``take_back``.
    ``section``: of the database that both use."""

    # What ``regsys.yaml`` says in its section of that name, beside the homeserver.
    regsys_options: ClassVar[Mapping[str, Any]] = {}

    def section(self) -> Mapping[str, Any]:
        raise NotImplementedError()

    def all(self, sql: str) -> Sequence[Any]:
        """The rows of a SELECT in Synapse's database."""
        raise NotImplementedError()

    def our(self, sql: str) -> None:
        """Change our own tables."""
        raise NotImplementedError()

    def execute(self, script: str) -> None:
        """Execute a script in Synapse's database."""
        raise NotImplementedError()

    def by_another_role(self) -> Sequence[str]:
        """Arguments by which a role with the documented rights reads, if there are roles."""
        return ()

    def set_up(self: Any, mails: SMTPProcess, **options: Any) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.mails, self.service, self.options = mails, None, options
        self.port = free_port()
        self.synapse = NativeSynapse(self, self.folder, self.section(), options)
        report_on_failure(self, "Synapse", lambda: self.synapse_log()[-6000:])
        self.synapse.start()
        (self.folder / "regsys.yaml").write_text(yaml.safe_dump(self._our_options()))

    def _our_options(self: Any) -> Mapping[str, Any]:
        homeserver = {"url": f"http://127.0.0.1:{self.synapse.port}", "delegated": True}
        return {
            "matrix_authentication_service": self._block(),
            "enable_registration": True,
            "password_config": {"enabled": True, "pepper": PEPPER},
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "resources": [{"names": ["client"]}],
                }
            ],
            "email": {"notif_from": "noreply@test.example", "smtp_port": self.mails.port},
            "rc_3pid_validation": {"per_second": 1000, "burst_count": 1000},
            "regsys": {"homeserver": homeserver, **self.regsys_options},
        }

    def _block(self: Any) -> Mapping[str, Any]:
        endpoint = f"http://127.0.0.1:{self.port}/"
        return {"enabled": True, "endpoint": endpoint, "secret": SECRET}

    def regsys(self: Any, *arguments: str) -> str:
        """Run a command; returns its standard output."""
        files = ("-c", "synapse.yaml", "-c", "regsys.yaml")
        done = subprocess.run(
            [sys.executable, "-m", "regsys", *arguments, *files],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def delegate(self: Any) -> None:
        """Start regsys, and a Synapse whose auth service it is."""
        self.serve()
        self.synapse.options = {
            **self.options,
            "enable_registration": False,
            "allow_guest_access": False,
            "password_config": {"enabled": False},
            "matrix_authentication_service": self._block(),
        }
        self.synapse.start()

    def serve(self: Any) -> None:
        files = (self.folder / "synapse.yaml", self.folder / "regsys.yaml")
        self.service = ServiceProcess(self, *files)

    def take_back(self: Any) -> None:
        """Stop both, run what regsys hands back, twice, and start a Synapse that keeps its accounts
        itself."""
        self.synapse.stop()
        self.service.stop()
        self.service = None
        self.script = self.regsys("hand-back")
        for _ in range(2):
            self.execute(self.script)
        self.synapse.options = self.options
        self.synapse.start()

    # --- Clients ---------------------------------------------------------------------------

    def ask(
        self: Any, method: str, path: str, body: Any = None, token: Optional[str] = None
    ) -> tuple[int, Any]:
        """A request at the public address: it goes to whom the routes send it."""
        if self.service is not None and OURS.match(f"{method} {path}"):
            answer = self.service.ask(method, path, body, token=token)
            return answer.status, answer.json
        found: tuple[int, Any] = self.synapse.ask(method, path, body, token)
        return found

    def done(self: Any, *request: Any) -> Any:
        """The same, which must succeed; its body."""
        status, body = self.ask(*request)
        self.assertEqual(status, 200, (request[:2], body))
        return body

    def confirmed(
        self: Any, method: str, path: str, token: str, password: str, **body: Any
    ) -> tuple[int, Any]:
        """A request that the user confirms by their password."""
        status, asked = self.ask(method, f"{V3}/{path}", body, token)
        self.assertEqual(status, 401, asked)
        user = {"type": "m.id.user", "user": self.whoami(token)[1]}
        auth = {"type": "m.login.password", "identifier": user, "password": password}
        auth["session"] = asked["session"]
        found: tuple[int, Any] = self.ask(method, f"{V3}/{path}", {**body, "auth": auth}, token)
        return found

    def whoami(self: Any, token: str) -> tuple[Any, ...]:
        """200, the user and the device; or the status and the errcode."""
        status, body = self.ask("GET", f"{V3}/account/whoami", None, token)
        if status != 200:
            return status, body["errcode"]
        return status, body["user_id"], body.get("device_id")

    def log_in(self: Any, name: str, password: str, **more: Any) -> tuple[int, Any]:
        """By the user's name, or by their address."""
        user: dict[str, Any] = {"type": "m.id.user", "user": name}
        if "@" in name:
            user = {"type": "m.id.thirdparty", "medium": "email", "address": name}
        body = {"type": "m.login.password", "identifier": user, "password": password, **more}
        found: tuple[int, Any] = self.ask("POST", f"{V3}/login", body)
        return found

    def synapse_log(self: Any) -> str:
        path = self.folder / "synapse.log"
        return str(path.read_text(errors="replace")) if path.exists() else ""

    def contents(self) -> dict[str, Any]:
        """Every row of the tables that are read, but for when a device was last seen."""
        found = {name: self.all(f"SELECT * FROM {name}") for name in NAMES if name != "devices"}
        found["devices"] = self.all("SELECT user_id, device_id, display_name FROM devices")
        return {name: sorted(map(tuple, rows), key=repr) for name, rows in found.items()}


class OnSQLite(Live):
    def section(self: Any) -> Mapping[str, Any]:
        return sqlite(self.folder)

    def all(self: Any, sql: str) -> Sequence[Any]:
        place = f"file:{self.folder}/homeserver.db?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
            return database.execute(sql).fetchall()

    def our(self: Any, sql: str) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as database:
            database.execute(sql)
            database.commit()

    def execute(self: Any, script: str) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver.db")) as database:
            database.executescript(script)


class OnPostgres(Live):
    # The tests' role is "regsys", and a schema of its role's name is where a Synapse looks first.
    regsys_options: ClassVar[Mapping[str, Any]] = {"database_schema": "auth"}

    def section(self: Any) -> Mapping[str, Any]:
        self.args = dict(postgres.dsn(self))
        return psycopg2({**self.args, "cp_min": 1, "cp_max": 5})

    def _connected(self: Any) -> Any:
        import psycopg2 as driver

        connection = driver.connect(**self.args)
        self.addCleanup(connection.close)
        connection.autocommit = True
        return connection.cursor()

    def all(self: Any, sql: str) -> Sequence[Any]:
        cursor = self._connected()
        cursor.execute(sql)
        found: Sequence[Any] = cursor.fetchall()
        return found

    def by_another_role(self: Any) -> Sequence[str]:
        role = f"adoption_{self.args['dbname']}"
        cursor = self._connected()
        cursor.execute(grants(role))
        self.addCleanup(cursor.execute, f"DROP OWNED BY {role}; DROP ROLE {role}")
        place = {**self.args, "user": role}
        return ("--from", " ".join(f"{name}='{value}'" for name, value in place.items()))

    def our(self: Any, sql: str) -> None:
        self._connected().execute(f"SET search_path TO auth; {sql}")

    def execute(self: Any, script: str) -> None:
        self._connected().execute(script)
