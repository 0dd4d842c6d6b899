"""The database of modules, beside ours: a schema of its own in PostgreSQL, a file of its own with
SQLite."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import attr

from regsys.storage.database import Database
from regsys.storage.dialects import Dialect
from regsys.storage.own_thread import OwnThread
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.storage.sqlite_file import create_private

# PostgreSQL cuts off what makes a name longer than 63 bytes.
_MOST_OF_NAME = 55


def beside(chosen: Dialect) -> Dialect:
    """Where the modules' tables are, if ours are in ``chosen``."""
    if isinstance(chosen, PostgreSQL):
        return attr.evolve(chosen, schema=f"{chosen.schema[:_MOST_OF_NAME]}_modules")
    if not chosen.file.is_on_disk:
        return SQLite(chosen.path)
    path = Path(chosen.path)
    return SQLite(str(path.with_name(f"{path.stem}.modules{path.suffix}")))


def connect(chosen: Dialect) -> Any:
    """A connection, with which the schema or the file exists. Raises what the driver raises."""
    if isinstance(chosen, SQLite):
        create_private(chosen.path)
    connection = import_module(chosen.module).connect(**chosen.pool_args())
    chosen.opened(connection)
    if isinstance(chosen, PostgreSQL):
        with connection.cursor() as cursor:
            # Looked up first: a role that may not create schemas can use one that exists.
            cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (chosen.schema,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {chosen.quoted_schema}")
    return connection


def opened(chosen: Dialect, reactor: Any) -> tuple[Database, OwnThread]:
    """The modules' database, beside ours in ``chosen``, and its thread. Nothing is opened before
    the first call."""
    own = beside(chosen)
    thread = OwnThread(reactor, lambda: connect(own))
    return Database(thread, own, reactor), thread
