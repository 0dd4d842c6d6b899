"""Where SQLite and PostgreSQL differ, side by side: connecting, locking, and what errors mean."""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import sqlite3
import threading
import time
from typing import Any, Mapping, Optional, Union
from urllib.parse import quote

import attr

from regsys.storage.sqlite_file import DatabaseFile, FileReplaced


class Trouble(enum.Enum):
    """What a driver's exception means for the caller."""

    RETRY = "retry"  # lost a race inside the database: the same again may work at once
    LOST = "lost"  # the connection is gone; whether a commit happened is not known
    DOWN = "down"  # the database cannot do it now: full, read-only, locked, not reachable
    BUG = "bug"  # our statement is wrong


# How long a connection waits for another one's lock.
_BUSY_S = 5.0


@attr.frozen
class SQLite:
    """SQLite, in one file of our own; ``path`` may be ``:memory:`` for one connection's life."""

    path: str
    file: DatabaseFile = attr.field(
        init=False,
        eq=False,
        repr=False,
        default=attr.Factory(lambda self: DatabaseFile(self.path), takes_self=True),
    )

    name = "sqlite"
    module = "sqlite3"
    begin = "BEGIN IMMEDIATE"
    for_update = ""
    skip_locked = ""
    next_number = "UPDATE user_number SET value = value + 1 RETURNING value"

    def connect_args(self) -> Mapping[str, Any]:
        # isolation_level None: the driver leaves BEGIN and COMMIT to us. Another thread
        # only ever interrupts a connection, which SQLite allows.
        return {
            "database": self.path,
            "isolation_level": None,
            "check_same_thread": False,
            "timeout": _BUSY_S,
        }

    def pool_args(self) -> Mapping[str, Any]:
        """As ``connect_args``, of a database that is there: where it is not, none is made."""
        if not self.file.is_on_disk:
            return self.connect_args()
        url = f"file://{quote(self.file.path)}?mode=rw"
        return {**self.connect_args(), "database": url, "uri": True}

    def opened(self, connection: Any) -> None:
        """Set a new connection up: commits reach the disk, readers don't wait for writers."""
        self.file.open()
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    def check(self) -> None:
        """Raises what ``trouble`` calls DOWN if what is committed now would be lost."""
        self.file.check()

    def check_before(self) -> None:
        """The same before a call, where it need not be seen at once."""
        self.file.check_sometimes()

    def check_commit(self) -> None:
        """The same of what has just been committed."""
        self.file.check_commit()

    def objection(self, connection: Any) -> Optional[str]:
        """Why this database is no good for us; None: it is good."""
        return None

    def explain(self, error: Exception) -> str:
        """An error in words for the operator."""
        return self.file.explain(error)

    def is_alive(self, connection: Any) -> bool:
        """Always: nobody is at the other end who could be gone."""
        return True

    def text(self, sql: str) -> str:
        return sql

    def cut(self, connection: Any) -> None:
        """Free the thread that waits on this connection."""
        connection.interrupt()

    def hush(self, error: Exception) -> None:
        """Nothing: SQLite's messages quote no values."""

    def trouble(self, error: Exception, connection: Any) -> Trouble:
        if isinstance(error, FileReplaced):
            return Trouble.DOWN
        if not isinstance(error, sqlite3.Error):
            return Trouble.BUG
        message = str(error)
        if "locked" in message or "busy" in message:
            return Trouble.RETRY
        if isinstance(error, sqlite3.IntegrityError) and "UNIQUE" in message:
            return Trouble.RETRY
        bug = isinstance(error, sqlite3.OperationalError) and message.startswith("no such")
        if isinstance(error, sqlite3.OperationalError) and not bug and "syntax" not in message:
            return Trouble.DOWN
        return Trouble.BUG


def _switch_to_wal(connection: Any) -> None:
    """Of several connections that turn a new file to WAL at once, SQLite refuses all but one
    without letting them wait out their busy timeout: so the waiting is done here."""
    give_up_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)


# Serialization failure, deadlock, a unique key that a concurrent transaction has won, a
# row that a foreign key names and that one has removed, and a lock that could not be had.
_RETRIED = frozenset({"40001", "40P01", "23505", "23503", "55P03"})
# Of these, the two that mean somebody else had a lock.
_LOCK_CONFLICTS = frozenset({"55P03", "40P01"})
# Read-only: a new connection may find the primary, or the server's new mind.
_LOST_CODE = "25006"
# Classes: exhausted resources, an operator's intervention, system errors.
_DOWN_CLASSES = frozenset({"53", "57", "58"})

# The operator's own options come after these and win. The timeouts are longer than anybody waits
# for an answer: a client that is gone, or has cut its connection, is noticed by the server late or
# never, and so long would its transaction keep rows locked.
_LIMITS = (
    "-c statement_timeout=15s -c idle_in_transaction_session_timeout=15s -c lock_timeout=0"
    " -c datestyle=ISO"
)
# What our statements mean depends on these, so that no default of a server, database or role, and
# no option of the operator's, may change them. Whether transactions may write is left alone: a
# database that is read-only is meant to be.
_MEANING = (
    "-c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off"
    " -c standard_conforming_strings=on"
)
# A default of "off" would let a crash of the server lose accounts that were acknowledged. Levels
# that wait for standbys stay as they are.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)

# So long may the server take to answer what costs it nothing, before it counts as silent.
SILENCE_S = 1.0
_OPENING_S = 5.0
# A server that cannot be reached holds a thread for so long. libpq takes no less.
_CONNECT_S = 2
# Kernels notice by these that the other side is gone: while nothing is sent, and when what was
# sent is not acknowledged.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_UNACKNOWLEDGED_MS = 3000
# The first libpq that knows tcp_user_timeout.
_LIBPQ_12 = 120000


@attr.frozen
class PostgreSQL:
    """PostgreSQL through psycopg2; our tables live in ``schema`` and nowhere else."""

    args: Mapping[str, Any] = attr.field(repr=False)
    schema: str = "regsys"

    name = "postgres"
    module = "psycopg2"
    # A database or role may have another default, and rivals for a row must see each other's
    # commits. (The option above is for statements without BEGIN.)
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    for_update = " FOR UPDATE"
    skip_locked = " FOR UPDATE SKIP LOCKED"
    next_number = "SELECT nextval('user_number')"

    @property
    def quoted_schema(self) -> str:
        """The schema as SQL writes it."""
        return f'"{self.schema}"'

    def connect_args(self) -> Mapping[str, Any]:
        import psycopg2.extensions

        args: dict[str, Any] = {"connect_timeout": _CONNECT_S, "application_name": "regsys"}
        args.update(_KEEPALIVES)
        if psycopg2.extensions.libpq_version() >= _LIBPQ_12:
            args["tcp_user_timeout"] = _UNACKNOWLEDGED_MS
        options = f"{_LIMITS} {self._options} {_MEANING} -c search_path={self.quoted_schema}"
        return {**args, **self.args, "client_encoding": "UTF8", "options": options}

    def pool_args(self) -> Mapping[str, Any]:
        return self.connect_args()

    @property
    def _options(self) -> str:
        return str(self.args.get("options") or "")

    def opened(self, connection: Any) -> None:
        """Set a new connection up: commits reach the disk."""
        connection.autocommit = True
        if "synchronous_commit" not in self._options:
            self._execute_within(_OPENING_S, connection, _DURABLE)

    def check(self) -> None:
        """Nothing: what the server has committed is the server's to keep."""

    check_before = check_commit = check

    def objection(self, connection: Any) -> Optional[str]:
        """Why this database is no good for us; None: it is good."""
        encoding = connection.info.parameter_status("server_encoding")
        if encoding == "UTF8":
            return None
        name = connection.info.dbname
        return (
            f"the PostgreSQL database {name!r} has the encoding {encoding}, it must have UTF8: make"
            " another one (CREATE DATABASE … ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE"
            " template0), and name it in database.args, or for us alone in regsys.database"
        )

    def explain(self, error: Exception) -> str:
        """An error in words for the operator."""
        return str(error).strip()

    def is_alive(self, connection: Any) -> bool:
        """Whether the server still answers on this connection; asked of it, for ``SILENCE_S``."""
        import psycopg2

        try:
            self._execute_within(SILENCE_S, connection, "SELECT 1")
        except psycopg2.Error:
            return False
        return True

    def _execute_within(self, seconds: float, connection: Any, sql: str) -> None:
        """Execute what costs nothing; where no answer comes in time the connection is cut.

        ``Database`` cannot do that: it has not been given this connection yet.
        """

        def cut() -> None:
            with contextlib.suppress(Exception):  # it may have ended by itself just now
                self.cut(connection)

        patience = threading.Timer(seconds, cut)
        patience.daemon = True
        patience.start()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            patience.cancel()
            # Lest it cuts what has this descriptor next.
            patience.join()

    def text(self, sql: str) -> str:
        return sql.replace("?", "%s")

    def cut(self, connection: Any) -> None:
        """Shut the socket down: a stalled server answers to nothing else."""
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def hush(self, error: Exception) -> None:
        """Leave of a server's complaint its first line: the others quote the statement and the
        row, hashes and all, and will be logged."""
        import psycopg2

        if isinstance(error, psycopg2.Error) and error.diag.message_primary is not None:
            error.args = (error.diag.message_primary,)

    def trouble(self, error: Exception, connection: Any) -> Trouble:
        import psycopg2

        if not isinstance(error, psycopg2.Error):
            return Trouble.BUG
        code = error.pgcode or ""
        if connection is None or connection.closed or code == _LOST_CODE:
            return Trouble.LOST
        if code in _RETRIED:
            return Trouble.RETRY
        if code[:2] in _DOWN_CLASSES:
            return Trouble.DOWN
        if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
            return Trouble.LOST
        return Trouble.BUG

    def is_lock_conflict(self, error: Exception) -> bool:
        """Whether the same again may go well once somebody else has ended a transaction."""
        return getattr(error, "pgcode", None) in _LOCK_CONFLICTS


Dialect = Union[SQLite, PostgreSQL]
