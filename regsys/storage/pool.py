"""adbapi's connection pool, extended: when one connection turns out to be dead, the others are
checked too.

A firewall that drops idle connections, or a server that vanishes silently, loses all of them at
once. Without this check each dead connection would make a call wait for its whole deadline.
"""

# Twisted's pool is not annotated, and ours inherits from it.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional, Protocol

import attr
from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from regsys.storage.dialects import Dialect
from regsys.storage.postgresql import SILENCE_S
from regsys.storage.sqlite import SQLite

log = Logger()

# A connection that has been idle for longer is tested before it is used.
IDLE_S = 0.5
# When a call has taken this long, another connection is tested: if that one is dead, the call is
# freed. A call that is only slow is not affected.
PROBE_S = IDLE_S + 0.1


class Pool(Protocol):
    """The part of adbapi.ConnectionPool that is used."""

    def runWithConnection(self, func: Callable[..., Any], *args: Any) -> Deferred[Any]: ...


class Place(Protocol):
    """One thread's place in a pool, which holds at most one connection."""

    def open(self) -> Any:
        """The driver's connection, opened now if there is none; raises what the driver raises."""

    def discard(self, connection: Any) -> None:
        """Close this connection: the next call opens another."""


@attr.define
class _Record:
    """When this connection was last known to be alive, and whether a call is using it."""

    heard_s: float
    in_use: bool = True


class Connections:
    """What is known about a pool's connections. Thread-safe."""

    def __init__(
        self, cut: Callable[[Any], None], seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._cut = cut
        self._lock = threading.Lock()
        self._records: dict[Any, _Record] = {}
        # A connection that was last heard before these times is to be closed, or to be tested.
        self._condemned_s = self._doubted_s = -1.0

    def use(self, connection: Any) -> None:
        """A call begins on this connection, which has just been opened or tested, or was heard not
        long ago."""
        with self._lock:
            record = self._records.get(connection)
            if record is None:
                self._records[connection] = _Record(self.seconds())
            else:
                record.in_use = True

    def hear(self, connection: Any) -> None:
        """The database has answered on this connection, and the call has ended."""
        with self._lock:
            record = self._records.get(connection)
            if record is not None:
                record.heard_s, record.in_use = self.seconds(), False

    def release(self, connection: Any) -> None:
        """The call has ended, and it is not known whether the database has answered."""
        with self._lock:
            if connection in self._records:
                self._records[connection].in_use = False

    def forget(self, connection: Any) -> None:
        """The connection is about to be closed: from now on it is not cut."""
        with self._lock:
            self._records.pop(connection, None)

    def is_condemned(self, connection: Any) -> bool:
        with self._lock:
            return self._heard_s(connection) < self._condemned_s

    def is_doubtful(self, connection: Any) -> bool:
        """Whether the connection must be tested before it is used; true of condemned ones, too."""
        with self._lock:
            heard_s = self._heard_s(connection)
            return heard_s < self._doubted_s or self.seconds() - heard_s > IDLE_S

    def _heard_s(self, connection: Any) -> float:
        record = self._records.get(connection)
        return self.seconds() if record is None else record.heard_s

    def prove_dead(self, since_s: float) -> None:
        """A connection has not answered since then. If it was silent, the connections that were
        not heard since are dead too, and calls that wait for one are freed to try another. If it
        was closed, they are to be tested."""
        with self._lock:
            if self.seconds() - since_s < SILENCE_S:
                self._doubted_s = max(self._doubted_s, since_s)
                return
            self._condemned_s = max(self._condemned_s, since_s)
            for connection, record in self._records.items():
                if record.in_use and record.heard_s < since_s:
                    self._cut_in_use(connection)

    def _cut_in_use(self, connection: Any) -> None:
        try:
            self._cut(connection)
        except Exception as error:  # the driver may have closed it just now
            log.debug("could not cut a connection: {error}", error=str(error))


class _Place:
    """adbapi uses this as its connection wrapper; opening and transactions are done by us."""

    def __init__(self, pool: Any, dialect: Dialect, connections: Connections) -> None:
        self._pool = pool
        self._dialect = dialect
        self._connections = connections
        self._connection: Any = None
        self._since_s = 0.0

    def open(self) -> Any:
        kept = self._pool.connections.get(self._pool.threadID())
        if kept is not None:
            self._check(kept)
        self._connection = self._pool.connect()
        self._connections.use(self._connection)
        self._since_s = self._connections.seconds()
        return self._connection

    def _check(self, connection: Any) -> None:
        """Close the connection of an earlier call if it is dead."""
        if not self._connections.is_doubtful(connection):
            return
        since_s = self._connections.seconds()
        if self._connections.is_condemned(connection):
            self._close(connection)
        elif self._dialect.is_alive(connection):
            self._connections.hear(connection)
        else:
            self._close(connection)
            self._connections.prove_dead(since_s)

    def discard(self, connection: Any) -> None:
        self._connection = None
        self._close(connection)
        self._connections.prove_dead(self._since_s)

    def _close(self, connection: Any) -> None:
        self._connections.forget(connection)
        self._pool.disconnect(connection)

    def commit(self) -> None:
        """The call has succeeded. (``_Call`` has sent COMMIT.)"""
        self._connections.hear(self._connection)

    def rollback(self) -> None:
        """The call has failed. (``_Call`` has sent ROLLBACK.)"""
        self._connections.release(self._connection)


class _OnlyPlace:
    """The place of SQLite's one connection, which is a file of our own and cannot fall silent."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def open(self) -> Any:
        return self._pool.connect()

    def discard(self, connection: Any) -> None:
        self._pool.disconnect(connection)

    def commit(self) -> None:
        """``_Call`` has sent COMMIT itself."""

    def rollback(self) -> None:
        """``_Call`` has sent ROLLBACK itself."""


class _ProbingPool(adbapi.ConnectionPool):
    """Tests another connection when a call takes long, since a connection that was used just now
    is not tested before it is used again. One timer serves all calls: it is set for the oldest, and
    calls that end in time do not touch it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # When each call that has not been looked after began, the oldest first.
        self._begun_s: dict[object, float] = {}
        self._timer: Optional[IDelayedCall] = None

    def runWithConnection(self, func: Callable[..., Any], *args: Any, **more: Any) -> Any:
        call = object()
        self._begun_s[call] = self._reactor.seconds()
        if self._timer is None:
            self._timer = self._reactor.callLater(PROBE_S, self._look)

        def ended(result: Any) -> Any:
            self._begun_s.pop(call, None)
            return result

        return super().runWithConnection(func, *args, **more).addBoth(ended)

    def _look(self) -> None:
        """Probe for each call that has waited for long enough, and wait for the next."""
        self._timer = None
        now_s = self._reactor.seconds()
        for call, begun_s in list(self._begun_s.items()):
            left_s = begun_s + PROBE_S - now_s
            if left_s > 0:
                self._timer = self._reactor.callLater(left_s, self._look)
                return
            del self._begun_s[call]
            self._probe()

    def _probe(self) -> None:
        """Test a connection that is not in use, if there is a free thread."""
        probing = super().runWithConnection(lambda place: place.open())
        probing.addErrback(lambda failure: None)  # the next call that opens one gets the error

    def finalClose(self) -> None:
        self._begun_s.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().finalClose()


def connection_pool(dialect: Dialect, reactor: Any, smallest: int, largest: int) -> Any:
    """adbapi's pool, set up for the dialect. SQLite gets one thread: it has one writer."""
    is_sqlite = isinstance(dialect, SQLite)
    kind: Any = adbapi.ConnectionPool if is_sqlite else _ProbingPool
    if is_sqlite:
        smallest = largest = 1
    pool = kind(
        dialect.module,
        **dialect.pool_args(),
        cp_min=smallest,
        cp_max=largest,
        cp_openfun=dialect.opened,
        cp_reactor=reactor,
        cp_noisy=False,
    )
    connections = Connections(dialect.cut)
    pool.connectionFactory = (
        _OnlyPlace if is_sqlite else lambda pool: _Place(pool, dialect, connections)
    )
    return pool
