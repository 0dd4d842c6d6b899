"""A read-only connection to a Synapse's database, which may be in use. Nothing of it is written."""

from __future__ import annotations

import itertools
import os
import sqlite3
from importlib import import_module
from typing import Any, Mapping, Optional, Protocol, Sequence, Union
from urllib.parse import quote

import attr

from regsys.config import DatabaseConfig

Row = Sequence[Any]
# How long a statement waits for another program's lock on an SQLite file.
BUSY_S = 10.0

# What is read: tables and their columns.
READ: Mapping[str, Sequence[str]] = {
    "users": (
        *("name", "password_hash", "creation_ts", "admin", "upgrade_ts", "is_guest"),
        *("appservice_id", "consent_version", "consent_ts", "user_type", "deactivated"),
        *("shadow_banned", "approved", "locked"),
    ),
    "devices": ("user_id", "device_id", "display_name", "last_seen", "hidden"),
    "access_tokens": (
        *("id", "user_id", "device_id", "token", "valid_until_ms", "puppets_user_id"),
        *("refresh_token_id", "used"),
    ),
    "refresh_tokens": (
        *("id", "user_id", "device_id", "token", "next_token_id", "expiry_ts"),
        "ultimate_session_expiry_ts",
    ),
    "user_threepids": ("user_id", "medium", "address", "validated_at", "added_at"),
    "user_external_ids": ("user_id", "auth_provider"),
    "registration_tokens": ("token", "uses_allowed", "completed", "expiry_time"),
    "schema_version": ("version",),
}


class Unreadable(Exception):
    """The database cannot be read, or is not the one of this server's Synapse; the text says why,
    for an operator."""


class Source(Protocol):
    """A Synapse's database. ``schema``: where its tables are, as an SQL name; "" in SQLite."""

    place: str
    is_sqlite: bool
    schema: str

    def begin(self) -> None:
        """Begin a read-only transaction, which sees one state of all tables."""

    def end(self) -> None:
        """End the transaction."""

    def all(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        """The rows of a SELECT, with ``?`` as the placeholder. Raises Unreadable."""

    def close(self) -> None: ...


def grants(role: str = "regsys_adoption") -> str:
    """The statements that give a role of its own all that an adoption needs, and nothing else."""
    return (
        f"CREATE ROLE {role} LOGIN PASSWORD '…';\n"
        f"GRANT USAGE ON SCHEMA public TO {role};\n"
        f"GRANT SELECT ON {', '.join(READ)} TO {role};"
    )


@attr.define(eq=False)
class SQLiteSource:
    path: str
    is_sqlite = True
    schema = ""
    place: str = attr.field(init=False)
    _connection: Any = attr.field(init=False, default=None, repr=False)
    _is_stopped: bool = attr.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.place = f"the SQLite file {self.path}"
        if not os.path.isfile(self.path):
            raise Unreadable(
                f"{self.place}: there is no such file: name Synapse's database by --from"
            )
        # A file that no program has open is opened as one that nobody changes: otherwise SQLite
        # would make files beside it, which a Synapse of another user could not write to.
        self._is_stopped = not self._in_use()
        mode = "immutable=1" if self._is_stopped else "mode=ro"
        try:
            self._connection = sqlite3.connect(
                f"file://{quote(os.path.abspath(self.path))}?{mode}",
                uri=True,
                isolation_level=None,
                timeout=BUSY_S,
            )
            self._connection.execute("PRAGMA query_only = ON")
            # Text that is not UTF-8 must not end the whole run.
            self._connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _in_use(self) -> bool:
        return os.path.exists(f"{self.path}-wal") or os.path.exists(f"{self.path}-journal")

    def begin(self) -> None:
        if self._is_stopped and self._in_use():
            raise Unreadable(
                f"{self.place}: Synapse has been started meanwhile: run the command again, which"
                " goes on from here"
            )
        self.all("BEGIN")

    def end(self) -> None:
        self.all("ROLLBACK")

    def all(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        try:
            rows: Sequence[Row] = self._connection.execute(*_bindable(sql, values)).fetchall()
            return rows
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def close(self) -> None:
        self._connection.close()

    def _unreadable(self, error: Exception) -> Unreadable:
        text = str(error)
        if "no such" in text:
            return _wrong_schema(self.place, text)
        advice = {
            "locked": "another program has locked it: try again once that has ended",
            "not a database": "it is no SQLite database",
            "malformed": "it is damaged",
            "unable to open": "the user that runs this command must be able to read it, and to"
            " write to its folder while Synapse runs",
        }
        mend = next((mend for words, mend in advice.items() if words in text), None)
        return Unreadable(f"{self.place}: {text}{f': {mend}' if mend else ''}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _bindable(sql: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """The same for the driver, which binds no text that is not valid UTF-8."""
    odd = [isinstance(value, str) and not _is_utf8(value) for value in values]
    if not any(odd):
        return sql, values
    parts = sql.split("?")
    marks = ["CAST(? AS TEXT)" if is_odd else "?" for is_odd in odd]
    text = "".join(itertools.chain(*zip(parts, marks, strict=False), parts[-1:]))
    return text, [
        value.encode("utf-8", "surrogateescape") if is_odd else value
        for value, is_odd in zip(values, odd, strict=True)
    ]


@attr.define(eq=False)
class PostgresSource:
    """``connect``: the arguments of psycopg2.connect, or a connection string."""

    connect: Union[str, Mapping[str, Any]] = attr.field(repr=False)
    is_sqlite = False
    place: str = attr.field(init=False, default="PostgreSQL")
    schema: str = attr.field(init=False, default="public")
    _connection: Any = attr.field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            driver = import_module("psycopg2")
        except ImportError:
            raise Unreadable(
                "PostgreSQL needs its driver: run pip install 'regsys[postgres]'"
            ) from None
        more = {"connect_timeout": 10, "application_name": "regsys adopt"}
        more["client_encoding"] = "UTF8"
        try:
            if isinstance(self.connect, str):
                self._connection = driver.connect(self.connect, **more)
            else:
                self._connection = driver.connect(**{**more, **self.connect})
        except driver.Error as error:
            raise Unreadable(f"{self.place}: {str(error).strip()}") from None
        info = self._connection.info
        self.place = f"PostgreSQL, database {info.dbname}, as the role {info.user}"
        encoding = info.parameter_status("server_encoding")
        if encoding != "UTF8":
            self.close()
            raise Unreadable(f"{self.place}: its encoding is {encoding}, and not UTF8")
        self._choose_schema()
        self._connection.set_session(isolation_level="REPEATABLE READ", readonly=True)

    def _choose_schema(self) -> None:
        """Look at the schema that has Synapse's tables: a role called regsys would see ours."""
        self._connection.autocommit = True
        rows = self.all(
            "SELECT quote_ident(tables.schemaname) FROM pg_tables tables"
            " WHERE tables.tablename = 'access_tokens'"
            " AND tables.schemaname = ANY (current_schemas(FALSE))"
            " ORDER BY array_position(current_schemas(FALSE), tables.schemaname)"
        )
        if rows:
            with self._connection.cursor() as cursor:
                self.schema = rows[0][0]
                cursor.execute(f"SET search_path TO {self.schema}")
        self._connection.autocommit = False

    def begin(self) -> None:
        """Do nothing: the driver begins a transaction with the first statement."""

    def end(self) -> None:
        self._connection.rollback()

    def all(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql.replace("?", "%s"), values)
                rows: Sequence[Row] = cursor.fetchall()
                return rows
        except psycopg2.Error as error:
            raise self._unreadable(error) from None

    def close(self) -> None:
        self._connection.close()

    def _unreadable(self, error: Any) -> Unreadable:
        text = error.diag.message_primary or str(error).strip()
        if error.pgcode == "42501":
            return Unreadable(
                f"{self.place}: {text}. A role of its own needs these rights, which the owner of"
                f" the tables gives:\n{grants()}"
            )
        if error.pgcode in ("42P01", "42703"):
            return _wrong_schema(self.place, text)
        return Unreadable(f"{self.place}: {text}")


def _wrong_schema(place: str, text: str) -> Unreadable:
    return Unreadable(
        f"{place}: {text}: these are not the tables of a Synapse, or of one that is too old:"
        " update it first (delegation needs 1.136 or newer)"
    )


def open_source(given: Optional[str], configured: DatabaseConfig) -> Source:
    """``given``: a connection string of PostgreSQL or the path of an SQLite file; None for
    ``configured``. Raises Unreadable."""
    if given is not None:
        is_string = given.startswith(("postgres://", "postgresql://")) or (
            "=" in given and not os.path.exists(given)
        )
        return PostgresSource(given) if is_string else SQLiteSource(given)
    if configured.path is not None:
        return SQLiteSource(configured.path)
    return PostgresSource(configured.args)
