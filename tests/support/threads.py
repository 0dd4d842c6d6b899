"""Databases as in the service: adbapi's pool on the real reactor, with real threads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.protocol import Factory, Protocol

from regsys.storage.database import DEADLINE_S, Database
from regsys.storage.dialects import Dialect, PostgreSQL
from regsys.storage.migrations import migrate
from regsys.storage.pool import connection_pool
from tests.support import postgres
from tests.support.databases import empty_postgres


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


class _Half(Protocol):
    """One side of a connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.other: Optional[_Half] = None
        self.early: list[bytes] = []
        self.is_forgotten = False

    def dataReceived(self, data: bytes) -> None:
        if self.proxy.is_stalled or self.is_forgotten:
            return
        if self.other is None or self.other.transport is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.proxy.halves.discard(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


class Proxy(Factory):
    """Stands before a PostgreSQL. While ``is_stalled`` it drops all data, in both directions.

    ``made``: how many connections there have been.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        self.args = args
        self.is_stalled = False
        self.made = 0
        self.halves: set[_Half] = set()

    def forget(self) -> None:
        """Drop all data of the present connections from now on, as a firewall does that has
        forgotten them. New connections work."""
        for half in self.halves:
            half.is_forgotten = True

    async def listen(self, case: Any) -> dict[str, Any]:
        """Returns the arguments to connect to PostgreSQL through the proxy."""
        # Under /tmp, since the path of a Unix socket must be shorter than about 100 bytes.
        home = tempfile.mkdtemp(prefix="regsys-proxy-", dir="/tmp")
        case.addCleanup(shutil.rmtree, home)
        port = await UNIXServerEndpoint(reactor, f"{home}/.s.PGSQL.5432").listen(self)
        case.addCleanup(self._close, port)
        return {**self.args, "host": home, "port": 5432}

    def buildProtocol(self, address: Any) -> _Half:
        self.made += 1
        client, server = _Half(self), _Half(self)
        client.other, server.other = server, client
        self.halves |= {client, server}

        def connected(server: _Half) -> None:
            assert server.transport is not None
            for data in client.early:
                server.transport.write(data)

        connectProtocol(self._endpoint(), server).addCallback(connected)
        return client

    def _endpoint(self) -> Any:
        host, port = str(self.args.get("host", "/tmp")), int(self.args.get("port", 5432))
        if host.startswith("/"):
            return UNIXClientEndpoint(reactor, str(Path(host) / f".s.PGSQL.{port}"))
        return TCP4ClientEndpoint(reactor, host, port)

    async def _close(self, port: Any) -> None:
        await port.stopListening()
        for half in list(self.halves):
            if half.transport is not None:
                half.transport.abortConnection()
        while self.halves:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn
