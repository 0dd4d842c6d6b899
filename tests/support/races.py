"""Sixteen concurrent clients of real processes, and what must hold afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, ClassVar, Mapping

from regsys.config import load
from regsys.wiring.process import connect
from tests.support import invariants, postgres
from tests.support.crowd import Answer, Crowd
from tests.support.databases import sqlite_file
from tests.support.log_canaries import leaked
from tests.support.service_process import ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
CONTENDERS = 16
PASSWORD = "correct horse battery staple"


class RaceCase:
    """``database(folder)`` gives the section of the file for each of ``processes``, which also has
    ``options``."""

    processes: ClassVar[int] = 1
    options: ClassVar[Mapping[str, Any]] = {}

    def setUp(self: Any) -> None:
        folder = Path(self.mktemp()).resolve()
        database = self.database(folder)
        self.services = []
        for number in range(self.processes):
            home = folder / str(number)
            home.mkdir(parents=True)
            self.config = write_config(home, database, **self.options)
            self.services.append(self.start(self.config))
        self.crowd = Crowd([service.base_url for service in self.services], CONTENDERS)
        self.addCleanup(self.crowd.close)

    def start(self: Any, config: Path) -> ServiceProcess:
        return ServiceProcess(self, config)

    def race(self: Any, body: Callable[[int], Any], query: str = "") -> list[Answer]:
        """The answer to each contender; never a 5xx."""
        answers = self.crowd.ask("POST", f"{V3}/register{query}", body)
        wrong = [answer for answer in answers if answer.status not in (200, 400, 401)]
        output = "\n".join(service.output for service in self.services)
        self.assertEqual(wrong, [], output)
        return answers

    def assertAccounts(self: Any, expected: int) -> None:
        """There are so many accounts, the invariants hold, and no service logs a traceback or a
        secret."""
        for service in self.services:
            self.assertNotIn("Traceback", service.output)
            self.assertEqual(leaked(service.output, {"the password": PASSWORD}), [])
        connection = self.connect()
        cursor = connection.cursor()
        cursor.execute("SELECT COUNT(*) FROM users")
        self.assertEqual(cursor.fetchone()[0], expected)
        self.assertEqual(invariants.broken(connection), {})

    def connect(self: Any) -> Any:
        """The services' database, to look into the tables."""
        connection = connect(load([str(self.config)]).database)
        self.addCleanup(connection.close)
        return connection


class OnSQLite:
    def database(self: Any, folder: Path) -> dict[str, Any]:
        return sqlite(Path(sqlite_file(self)).parent)


class OnPostgreSQL:
    def database(self: Any, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))


class OnTwoProcesses(OnPostgreSQL):
    """Two processes over one database know nothing of each other: the database decides."""

    processes: ClassVar[int] = 2
