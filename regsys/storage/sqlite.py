"""SQLite: connecting, locking, and what its errors mean. ``postgresql.py`` has the same."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Mapping, Optional
from urllib.parse import quote

import attr

from regsys.storage.sqlite_file import DatabaseFile, FileReplaced
from regsys.storage.trouble import Trouble

# How long a connection waits for another connection's lock.
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
    raise_number = "UPDATE user_number SET value = ? WHERE value < ?"

    def connect_args(self) -> Mapping[str, Any]:
        # With isolation_level None the driver leaves BEGIN and COMMIT to us. The only call that
        # comes from another thread is interrupt(), which SQLite allows.
        return {
            "database": self.path,
            "isolation_level": None,
            "check_same_thread": False,
            "timeout": _BUSY_S,
        }

    def pool_args(self) -> Mapping[str, Any]:
        """As ``connect_args``, for a database that exists: a missing file is not created."""
        if not self.file.is_on_disk:
            return self.connect_args()
        url = f"file://{quote(self.file.path)}?mode=rw"
        return {**self.connect_args(), "database": url, "uri": True}

    def opened(self, connection: Any) -> None:
        """Set up a new connection: commits are synced to disk, readers do not wait for writers."""
        self.file.open()
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    def check(self) -> None:
        """Raise FileReplaced, which is DOWN, if a commit would be lost now."""
        self.file.check()

    def check_before(self) -> None:
        """As ``check``, before a call: a result from a moment ago is good enough."""
        self.file.check_sometimes()

    def check_commit(self) -> None:
        """As ``check``, for a commit that has just been made."""
        self.file.check_commit()

    def problem(self, connection: Any) -> Optional[str]:
        """Why this database cannot be used; None if it can."""
        return None

    def explain(self, error: Exception) -> str:
        """An error in words for the operator."""
        return self.file.explain(error)

    def is_alive(self, connection: Any) -> bool:
        """Always True: there is no server that could be gone."""
        return True

    def text(self, sql: str) -> str:
        return sql

    def cut(self, connection: Any) -> None:
        """Interrupt the statement, to free the thread that waits on this connection."""
        connection.interrupt()

    def redact(self, error: Exception) -> None:
        """Do nothing: SQLite's messages quote no values."""

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
    """Switch to WAL, with retries: when several connections switch a new file at once, SQLite
    refuses all but one immediately and ignores their busy timeout."""
    give_up_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)
