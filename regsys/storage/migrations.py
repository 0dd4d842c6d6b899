"""Numbered schema files, applied in order, once, under a lock."""

from __future__ import annotations

import re
import secrets
import time
from importlib import resources
from typing import Any, Callable, Iterator

from twisted.logger import Logger

from regsys.storage.dialects import Dialect
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite

log = Logger()

# The advisory lock of a migration; the number is arbitrary.
_LOCK = 8_206_420_947

# How long one attempt may wait for its locks altogether: other transactions on these tables wait
# behind it (longer than PostgreSQL takes to cancel its own vacuum). An attempt that has already
# spent this time on large tables may still wait LAST_LOCK_S for each further lock.
LOCKS_S = 1.2
LAST_LOCK_S = 0.3
# Between attempts the other transactions go on. Pauses of this length are reported to the operator.
REPORTED_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0

_HOLDERS = """
    SELECT pid, application_name, usename,
        CAST(EXTRACT(EPOCH FROM clock_timestamp() - xact_start) AS DOUBLE PRECISION)
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND pid IN (
        SELECT locks.pid FROM pg_locks locks
            JOIN pg_class ON pg_class.oid = locks.relation
            JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
            JOIN pg_database ON pg_database.oid = locks.database
        WHERE locks.granted AND nspname = %s AND datname = current_database()
    )
    ORDER BY xact_start LIMIT 3
"""


class NewerSchema(Exception):
    """The database was migrated by a newer regsys than this one."""


def schema_files() -> list[tuple[int, str]]:
    """(number, SQL) of every schema file, in order."""
    files = []
    for item in resources.files("regsys.storage").joinpath("schema").iterdir():
        match = re.fullmatch(r"(\d{3})_\w+\.sql", item.name)
        if match:
            files.append((int(match[1]), item.read_text("utf-8")))
    return sorted(files)


def statements(sql: str, dialect_name: str) -> Iterator[str]:
    """The statements of a schema file that are for this dialect.

    A statement that begins with a line ``-- only: <dialect>`` is for that dialect alone.
    """
    for chunk in sql.split(";\n"):
        only = re.search(r"^-- only: (\w+)$", chunk, re.MULTILINE)
        body = re.sub(r"^--.*$", "", chunk, flags=re.MULTILINE).strip().rstrip(";")
        if body and (only is None or only[1] == dialect_name):
            yield body


def warn(sentence: str) -> None:
    """Report to the operator by the log."""
    log.warn("{sentence}", sentence=sentence)


def migrate(
    connection: Any,
    dialect: Dialect,
    report: Callable[[str], None] = warn,
    wait: Callable[[float], None] = time.sleep,
) -> list[int]:
    """Bring the schema up to date; returns the numbers that were applied.

    Blocks: call it before the reactor runs, or in a thread. Several processes may call it at once,
    and others may serve requests meanwhile. ``report`` is called with a sentence for the operator
    that says what the migration waits for. Raises NewerSchema; then nothing was changed.
    """
    cursor = connection.cursor()
    try:
        if isinstance(dialect, PostgreSQL):
            return _migrate_beside_others(cursor, dialect, report, wait)
        return _migrate_once(cursor, dialect)
    finally:
        cursor.close()


def _migrate_beside_others(
    cursor: Any, dialect: PostgreSQL, report: Callable[[str], None], wait: Callable[[float], None]
) -> list[int]:
    # A statement on a large table may take long.
    cursor.execute("SET statement_timeout = 0")
    pauses_s = _pauses_s()
    # Locked outside the transaction, because concurrent CREATE SCHEMA statements can fail.
    while not _locked(cursor):
        pause_s = next(pauses_s)
        if pause_s >= REPORTED_PAUSE_S:
            report("migrating waits: another process of regsys is migrating this database")
        wait(pause_s)
    try:
        # Looked up first, because IF NOT EXISTS fails for a role that may not create schemas, even
        # if the schema exists.
        cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (dialect.schema,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE SCHEMA {dialect.quoted_schema}")
        while True:
            try:
                return _migrate_once(cursor, dialect)
            except Exception as error:
                if not dialect.is_lock_conflict(error):
                    raise
            pause_s = max(next(pauses_s), REPORTED_PAUSE_S)
            report(_waits_for(cursor, dialect, pause_s))
            wait(pause_s)
    finally:
        cursor.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _locked(cursor: Any) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
    return bool(cursor.fetchone()[0])


def _pauses_s() -> Iterator[float]:
    pause_s = 0.05
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _waits_for(cursor: Any, dialect: PostgreSQL, pause_s: float) -> str:
    """A sentence on the transactions that may have held a lock, as far as our role may see them,
    and without their statements, which may contain secrets."""
    cursor.execute(_HOLDERS, (dialect.schema,))
    others = [
        f"process {pid} ({application or 'without a name'}, user {role},"
        f" in a transaction{'' if seconds is None else f' for {seconds:.0f} s'})"
        for pid, application, role, seconds in cursor.fetchall()
    ]
    return (
        "migrating waits for a table that is in use"
        f"{' by ' if others else ''}{', '.join(others)}; other processes go on meanwhile,"
        f" and it is tried again in {pause_s:.0f} s"
    )


def _migrate_once(cursor: Any, dialect: Dialect) -> list[int]:
    cursor.execute(dialect.begin)
    try:
        applied = _apply(cursor, dialect)
        cursor.execute("COMMIT")
        return applied
    except BaseException:
        cursor.execute("ROLLBACK")
        raise


def _apply(cursor: Any, dialect: Dialect) -> list[int]:
    if isinstance(dialect, SQLite):
        _sign(cursor)
    cursor.execute("CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY)")
    cursor.execute("SELECT COALESCE(MAX(version), 0) FROM schema_versions")
    current = int(cursor.fetchone()[0])
    files = schema_files()
    if current > files[-1][0]:
        raise NewerSchema(
            f"the database has schema {current}, this regsys knows schemas up to "
            f"{files[-1][0]}: run the newer regsys, or restore the backup made before it"
        )
    todo = [(number, sql) for number, sql in files if number > current]
    ends_s = time.monotonic() + LOCKS_S
    for number, sql in todo:
        for statement in statements(sql, dialect.name):
            if isinstance(dialect, PostgreSQL):
                left_s = max(ends_s - time.monotonic(), LAST_LOCK_S)
                cursor.execute(f"SET LOCAL lock_timeout = {left_s * 1000:.0f}")
            cursor.execute(statement)
        cursor.execute(dialect.text("INSERT INTO schema_versions VALUES (?)"), (number,))
    return [number for number, _ in todo]


def _sign(cursor: Any) -> None:
    """Give the file a random number of its own, so that ``DatabaseFile`` notices when another file
    is copied over it."""
    cursor.execute("PRAGMA user_version")
    if not cursor.fetchone()[0]:
        cursor.execute(f"PRAGMA user_version = {1 + secrets.randbelow(2**31 - 1)}")
