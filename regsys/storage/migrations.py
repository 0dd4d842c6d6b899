"""Numbered schema files, applied in order, once, under a lock."""

from __future__ import annotations

import re
import secrets
from importlib import resources
from typing import Any, Iterator

from regsys.storage.dialects import Dialect, PostgreSQL, SQLite

# Any two processes that migrate one database take this lock; the number means nothing.
_LOCK = 8_206_420_947


class NewerSchema(Exception):
    """The database has been migrated by a newer regsys than this one."""


def schema_files() -> list[tuple[int, str]]:
    """(number, SQL) of every schema file, in order."""
    found = []
    for item in resources.files("regsys.storage").joinpath("schema").iterdir():
        match = re.fullmatch(r"(\d{3})_\w+\.sql", item.name)
        if match:
            found.append((int(match[1]), item.read_text("utf-8")))
    return sorted(found)


def statements(sql: str, dialect_name: str) -> Iterator[str]:
    """The statements of a schema file for one dialect.

    A statement that begins with a line ``-- only: <dialect>`` is for that dialect alone.
    """
    for chunk in sql.split(";\n"):
        only = re.search(r"^-- only: (\w+)$", chunk, re.MULTILINE)
        body = re.sub(r"^--.*$", "", chunk, flags=re.MULTILINE).strip().rstrip(";")
        if body and (only is None or only[1] == dialect_name):
            yield body


def migrate(connection: Any, dialect: Dialect) -> list[int]:
    """Bring the schema up to date; returns the numbers that were applied.

    Blocks: call it before the reactor runs, or in a thread. Several processes may call it
    at once. Raises NewerSchema, with nothing changed.
    """
    cursor = connection.cursor()
    if isinstance(dialect, PostgreSQL):
        # Large tables take their time, and so does the wait for another process.
        cursor.execute("SET statement_timeout = 0")
        # Not in the transaction below, because CREATE SCHEMA can race itself.
        cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        # A role that may make no schema may have been given one: IF NOT EXISTS would refuse it.
        cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (dialect.schema,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE SCHEMA {dialect.quoted_schema}")
    try:
        cursor.execute(dialect.begin)
        try:
            applied = _apply(cursor, dialect)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
    finally:
        if isinstance(dialect, PostgreSQL):
            cursor.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
        cursor.close()
    return applied


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
    for number, sql in todo:
        for statement in statements(sql, dialect.name):
            cursor.execute(statement)
        cursor.execute(dialect.text("INSERT INTO schema_versions VALUES (?)"), (number,))
    return [number for number, _ in todo]


def _sign(cursor: Any) -> None:
    """Give the file a number of its own, by which another one that is copied over it is known
    (``DatabaseFile``)."""
    cursor.execute("PRAGMA user_version")
    if not cursor.fetchone()[0]:
        cursor.execute(f"PRAGMA user_version = {1 + secrets.randbelow(2**31 - 1)}")
