"""PostgreSQL: connecting, locking, and what its errors mean. ``sqlite.py`` has the same."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Any, Mapping, Optional

import attr

from regsys.storage.trouble import Trouble

# Serialization failure, deadlock, unique violation by a concurrent transaction, foreign key
# violation (a concurrent transaction has deleted the row), lock not available.
_RETRIED = frozenset({"40001", "40P01", "23505", "23503", "55P03"})
# Those of them that mean that another transaction had a lock.
_LOCK_CONFLICTS = frozenset({"55P03", "40P01"})
# Read-only transaction: a new connection may reach the primary, or the server may be a primary by
# then.
_LOST_CODE = "25006"
# Classes: insufficient resources, operator intervention, system errors.
_DOWN_CLASSES = frozenset({"53", "57", "58"})

# The operator's own options come after these and win. The timeouts are longer than any caller waits
# for an answer. They exist because the server notices late or never that a client is gone or has
# cut its connection: until then the client's transaction would keep its rows locked.
_LIMITS = (
    "-c statement_timeout=15s -c idle_in_transaction_session_timeout=15s -c lock_timeout=0"
    " -c datestyle=ISO"
)
# The meaning of our statements depends on these, so they override the defaults of the server, the
# database and the role, and the operator's options. Read-only mode is not overridden: it is there
# on purpose.
_MEANING = (
    "-c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off"
    " -c standard_conforming_strings=on"
)
# With a default of "off" a server crash could lose accounts that were acknowledged. Levels that
# wait for standbys stay as they are.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)

# How long the server may take to answer a trivial query before it counts as silent.
SILENCE_S = 1.0
_OPENING_S = 5.0
# How long an unreachable server holds a thread. libpq takes no less.
_CONNECT_S = 2
# By these the kernel notices that the server is gone: on an idle connection (keepalives), and when
# sent data is not acknowledged (tcp_user_timeout).
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_UNACKNOWLEDGED_MS = 3000
# The first libpq version with tcp_user_timeout.
_LIBPQ_12 = 120000
_THEIRS_ALONE = (
    "SELECT to_regclass(%s) IS NULL AND EXISTS (SELECT 1 FROM pg_catalog.pg_tables"
    " WHERE schemaname = 'public' AND tablename = 'users' AND tableowner = current_user)"
)


@attr.frozen
class PostgreSQL:
    """PostgreSQL through psycopg2; all our tables are in ``schema``."""

    args: Mapping[str, Any] = attr.field(repr=False)
    schema: str = "regsys"

    name = "postgres"
    module = "psycopg2"
    # The level is named because a database or role may have another default: transactions that
    # compete for a row must see each other's commits. (The option above is for statements without
    # BEGIN.)
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    for_update = " FOR UPDATE"
    skip_locked = " FOR UPDATE SKIP LOCKED"
    next_number = "SELECT nextval('user_number')"
    raise_number = "SELECT setval('user_number', ?) FROM user_number WHERE last_value < ?"

    @property
    def quoted_schema(self) -> str:
        """The schema's name as an SQL identifier."""
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
        """Set up a new connection: commits are synced to disk."""
        connection.autocommit = True
        if "synchronous_commit" not in self._options:
            self._execute_within(_OPENING_S, connection, _DURABLE)

    def check(self) -> None:
        """Do nothing: the server keeps what it has committed."""

    check_before = check_commit = check

    def problem(self, connection: Any) -> Optional[str]:
        """Why this database cannot be used; None if it can."""
        encoding, name = connection.info.parameter_status("server_encoding"), connection.info.dbname
        if encoding != "UTF8":
            return (
                f"the PostgreSQL database {name!r} has the encoding {encoding}, it must have UTF8:"
                " make another one (CREATE DATABASE … ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
                " TEMPLATE template0), and name it in database.args, or for us alone in"
                " regsys.database"
            )
        if self._is_found_by_name(connection.info.user) and self._would_hide(connection):
            return (
                f"the role {self.schema!r} has a table of users in the database {name!r}, and would"
                " find ours in its place, since PostgreSQL looks first in the schema of the role's"
                " name: write another name as regsys.database_schema"
            )
        return self._wants_schema(connection)

    def _is_found_by_name(self, role: str) -> bool:
        """Whether PostgreSQL looks first in our schema for this role's tables, unless a homeserver
        with the same arguments says where it should."""
        return role == self.schema and "search_path" not in self._options

    def _would_hide(self, connection: Any) -> bool:
        """Whether this role owns a homeserver's tables, and ours are not there yet."""
        with connection.cursor() as cursor:
            cursor.execute(_THEIRS_ALONE, (f"{self.quoted_schema}.users",))
            return bool(cursor.fetchone()[0])

    def _wants_schema(self, connection: Any) -> Optional[str]:
        """What an administrator must do to have our schema made; None if it is there, or if we can
        make it."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT quote_ident(current_user), has_database_privilege(current_database(),"
                " 'CREATE') OR EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %s)",
                (self.schema,),
            )
            role, has_schema = cursor.fetchone()
        if has_schema:
            return None
        return (
            f"the PostgreSQL database {connection.info.dbname!r} has no schema {self.quoted_schema}"
            f" for our tables, and the role {role} may not make it: let an administrator of the"
            f" database run CREATE SCHEMA {self.quoted_schema} AUTHORIZATION {role}, or name"
            " another place in regsys.database"
        )

    def explain(self, error: Exception) -> str:
        """An error in words for the operator."""
        return str(error).strip()

    def is_alive(self, connection: Any) -> bool:
        """Whether the server answers a query on this connection within ``SILENCE_S``."""
        import psycopg2

        try:
            self._execute_within(SILENCE_S, connection, "SELECT 1")
        except psycopg2.Error:
            return False
        return True

    def _execute_within(self, seconds: float, connection: Any, sql: str) -> None:
        """Execute a trivial statement; cut the connection if no answer comes in time.

        ``Database`` cannot cut it, because it does not have this connection yet.
        """

        def cut() -> None:
            with contextlib.suppress(Exception):  # it may have ended just now
                self.cut(connection)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            timer.cancel()
            # So that it cannot cut the next owner of this file descriptor.
            timer.join()

    def text(self, sql: str) -> str:
        return sql.replace("?", "%s")

    def cut(self, connection: Any) -> None:
        """Shut the socket down: nothing else frees a thread that waits for a stalled server."""
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    def redact(self, error: Exception) -> None:
        """Reduce a server's error to its first line, since it will be logged: the other lines quote
        the statement and the row, hashes included."""
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
        # libpq's own error, such as "server closed the connection unexpectedly". The connection may
        # not know yet that it is closed.
        if type(error) is psycopg2.DatabaseError and not code:
            return Trouble.LOST
        return Trouble.BUG

    def is_lock_conflict(self, error: Exception) -> bool:
        """Whether a retry may work once another transaction has ended."""
        return getattr(error, "pgcode", None) in _LOCK_CONFLICTS
