"""Databases as in the service: adbapi's pool on the real reactor, with real threads."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet import reactor

from regsys.storage.database import DEADLINE_S, Database
from regsys.storage.dialects import Dialect
from regsys.storage.migrations import migrate
from regsys.storage.pool import connection_pool
from regsys.storage.postgresql import PostgreSQL
from tests.support import postgres
from tests.support.databases import empty_postgres
from tests.support.proxy import HOST, Proxy


def threaded_database(
    case: Any, dialect: Dialect, threads: int = 4, deadline_s: float = DEADLINE_S
) -> Database:
    """A database that is closed when the test ends; its schema must be there already."""
    pool = connection_pool(dialect, reactor, threads, threads)
    pool.start()
    case.addCleanup(pool.close)
    return Database(pool, dialect, reactor, deadline_s=deadline_s)


def migrated(case: Any, args: Optional[dict[str, Any]] = None) -> PostgreSQL:
    """A PostgreSQL database of the test's own, with our schema."""
    import psycopg2

    dialect = PostgreSQL(args or postgres.dsn(case))
    connection = psycopg2.connect(**dialect.connect_args())
    dialect.opened(connection)
    migrate(connection, dialect)
    connection.close()
    return dialect


class InThreads:
    """PostgreSQL behind real threads, for contracts whose races are to be real ones.

    For ``twisted.trial.unittest.TestCase``; see ``tests.support.databases`` for the others.
    """

    def database(self: Any, clock: Any = None) -> Database:
        return threaded_database(self, PostgreSQL(empty_postgres(self)))


def proxied(case: Any, args: dict[str, Any]) -> tuple[Proxy, dict[str, Any]]:
    """A proxy before the PostgreSQL of these arguments, and the arguments to connect through it."""
    host, port = str(args.get("host", "/tmp")), int(args.get("port", 5432))
    proxy = Proxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else port)
    case.addCleanup(proxy.close)
    return proxy, {**args, "host": HOST, "port": proxy.port}
