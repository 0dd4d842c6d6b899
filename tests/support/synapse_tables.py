"""Those of a Synapse's tables that an adoption reads, as they were seen in one of version 1.163,
with rows that a test wants, or with very many."""

from __future__ import annotations

import atexit
import sqlite3
from typing import Any, Iterable, Optional, Sequence

import attr
import bcrypt

from regsys.adoption.connections import PostgresSource, Source, SQLiteSource
from tests.support import postgres

SERVER = "test.example"
CREATED_S = 1_600_000_000
SEEN_MS = 1_700_000_000_000

# Types are those of PostgreSQL; SQLite takes any.
TABLES = """
CREATE TABLE schema_version (
    lock CHAR(1) NOT NULL DEFAULT 'X' UNIQUE, version INTEGER NOT NULL, upgraded BOOL NOT NULL);
INSERT INTO schema_version (version, upgraded) VALUES (94, TRUE);
CREATE TABLE users (
    name TEXT UNIQUE, password_hash TEXT, creation_ts BIGINT, admin SMALLINT DEFAULT 0 NOT NULL,
    upgrade_ts BIGINT, is_guest SMALLINT DEFAULT 0 NOT NULL, appservice_id TEXT,
    consent_version TEXT, consent_server_notice_sent TEXT, user_type TEXT,
    deactivated SMALLINT DEFAULT 0 NOT NULL, shadow_banned BOOLEAN, consent_ts BIGINT,
    approved BOOLEAN, locked BOOLEAN DEFAULT FALSE NOT NULL,
    suspended BOOLEAN DEFAULT FALSE NOT NULL);
CREATE TABLE devices (
    user_id TEXT NOT NULL, device_id TEXT NOT NULL, display_name TEXT, last_seen BIGINT, ip TEXT,
    user_agent TEXT, hidden BOOLEAN DEFAULT FALSE, UNIQUE (user_id, device_id));
CREATE TABLE refresh_tokens (
    id BIGINT PRIMARY KEY, user_id TEXT NOT NULL, device_id TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE, next_token_id BIGINT REFERENCES refresh_tokens ON DELETE CASCADE,
    expiry_ts BIGINT, ultimate_session_expiry_ts BIGINT);
CREATE TABLE access_tokens (
    id BIGINT PRIMARY KEY, user_id TEXT NOT NULL, device_id TEXT, token TEXT NOT NULL UNIQUE,
    valid_until_ms BIGINT, puppets_user_id TEXT, last_validated BIGINT,
    refresh_token_id BIGINT REFERENCES refresh_tokens ON DELETE CASCADE, used BOOLEAN);
CREATE INDEX access_tokens_device_id ON access_tokens (user_id, device_id);
CREATE TABLE user_threepids (
    user_id TEXT NOT NULL, medium TEXT NOT NULL, address TEXT NOT NULL,
    validated_at BIGINT NOT NULL, added_at BIGINT NOT NULL, UNIQUE (medium, address));
CREATE INDEX user_threepids_user_id ON user_threepids (user_id);
CREATE TABLE user_external_ids (
    auth_provider TEXT NOT NULL, external_id TEXT NOT NULL, user_id TEXT NOT NULL,
    UNIQUE (auth_provider, external_id));
CREATE INDEX user_external_ids_user_id_idx ON user_external_ids (user_id);
CREATE TABLE registration_tokens (
    token TEXT NOT NULL, uses_allowed INT, pending INT NOT NULL, completed INT NOT NULL,
    expiry_time BIGINT, UNIQUE (token));
"""
NAMES = (
    "users devices refresh_tokens access_tokens user_threepids user_external_ids"
    " registration_tokens schema_version"
).split()


# Databases with these tables that no test uses now.
_free: list[postgres.Args] = []


def _connected(args: postgres.Args) -> Any:
    import psycopg2

    connection = psycopg2.connect(**args)
    connection.autocommit = True
    return connection


def user_id(name: str) -> str:
    return name if name.startswith("@") else f"@{name}:{SERVER}"


def hash_of(password: str) -> str:
    """As Synapse makes it, without a pepper; cheap."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()


@attr.define(eq=False)
class SynapseTables:
    """``connection``: of the driver, without a transaction."""

    connection: Any
    where: Any
    _ids: int = attr.field(init=False, default=1)

    @classmethod
    def in_file(cls, case: Any, path: str) -> SynapseTables:
        connection = sqlite3.connect(path, isolation_level=None)
        case.addCleanup(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(TABLES)
        return cls(connection, path)

    @classmethod
    def in_postgres(cls, case: Any) -> SynapseTables:
        """In a database of their own, which one test after the other uses."""
        if not _free:
            with postgres.needed_by(case):
                server = postgres.shared()
            args = server.create_database()
            atexit.register(server.drop_database, args)
            _connected(args).cursor().execute(TABLES)
            _free.append(args)
        args = _free.pop()
        connection = _connected(args)

        def empty() -> None:
            cursor = connection.cursor()
            cursor.execute(f"TRUNCATE {', '.join(NAMES[:-1])}")
            connection.close()
            _free.append(args)

        case.addCleanup(empty)
        return cls(connection, args)

    @property
    def is_sqlite(self) -> bool:
        return isinstance(self.where, str)

    def source(self, **more: Any) -> Source:
        """As an adoption opens it."""
        if isinstance(self.where, str):
            return SQLiteSource(self.where)
        return PostgresSource({**self.where, **more})

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(sql if self.is_sqlite else sql.replace("?", "%s"), values)
        return cursor

    def insert(self, table: str, rows: Iterable[Sequence[Any]], *columns: str) -> None:
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        cursor = self.connection.cursor()
        if self.is_sqlite:
            cursor.execute("BEGIN")
            cursor.executemany(sql, rows)
            cursor.execute("COMMIT")
        else:
            from psycopg2.extras import execute_values

            sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s"
            execute_values(cursor, sql, rows, page_size=1000)

    def _insert(self, table: str, **values: Any) -> None:
        self.insert(table, [tuple(values.values())], *values)

    def user(self, name: str, password: Optional[str] = None, **more: Any) -> str:
        """An account; further arguments are columns."""
        values = {
            "name": user_id(name),
            "password_hash": None if password is None else hash_of(password),
            "creation_ts": CREATED_S,
            "approved": True,
            "shadow_banned": False,
            **more,
        }
        self._insert("users", **values)
        return user_id(name)

    def device(self, name: str, device_id: str, **more: Any) -> None:
        self._insert("devices", user_id=user_id(name), device_id=device_id, **more)

    def token(self, name: str, device_id: Optional[str], token: str, **more: Any) -> int:
        """An access token; returns its id."""
        self._ids += 1
        values = {"id": self._ids, "user_id": user_id(name), "device_id": device_id, **more}
        self._insert("access_tokens", token=token, **values)
        return self._ids

    def refresh(self, name: str, device_id: str, token: str, **more: Any) -> int:
        """A refresh token; returns its id."""
        self._ids += 1
        values = {"id": self._ids, "user_id": user_id(name), "device_id": device_id, **more}
        self._insert("refresh_tokens", token=token, **values)
        return self._ids

    def address(self, name: str, address: str, medium: str = "email", at: int = 1) -> None:
        self._insert(
            "user_threepids",
            user_id=user_id(name),
            medium=medium,
            address=address,
            validated_at=at,
            added_at=at,
        )

    def registration_token(self, token: str, **more: Any) -> None:
        values = {"uses_allowed": None, "pending": 0, "completed": 0, **more}
        self._insert("registration_tokens", token=token, **values)

    def contents(self) -> dict[str, Any]:
        """Every row of every table."""
        return {
            table: sorted(self.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in NAMES
        }

    def fill(self, count: int) -> None:
        """So many users, each with a password hash, a device and a token, and half of them with an
        address. One user in ten has been renewing its tokens."""
        hashed = hash_of("in the looking glass")
        numbers = range(count)
        self.insert(
            "users",
            ((user_id(f"user{n:07}"), hashed, CREATED_S + n, True, False) for n in numbers),
            *("name", "password_hash", "creation_ts", "approved", "shadow_banned"),
        )
        self.insert(
            "devices",
            ((user_id(f"user{n:07}"), f"DEVICE{n}", "Phone", SEEN_MS) for n in numbers),
            *("user_id", "device_id", "display_name", "last_seen"),
        )
        self.insert(
            "refresh_tokens",
            ((n + 1, user_id(f"user{n:07}"), f"DEVICE{n}", f"syr_{n}") for n in numbers[::10]),
            *("id", "user_id", "device_id", "token"),
        )
        self.insert(
            "access_tokens",
            (
                (n + 1, user_id(f"user{n:07}"), f"DEVICE{n}", f"syt_{n}", None if n % 10 else n + 1)
                for n in numbers
            ),
            *("id", "user_id", "device_id", "token", "refresh_token_id"),
        )
        self.insert(
            "user_threepids",
            (
                (user_id(f"user{n:07}"), "email", f"user{n}@mail.example", SEEN_MS, SEEN_MS)
                for n in numbers[::2]
            ),
            *("user_id", "medium", "address", "validated_at", "added_at"),
        )
        if not self.is_sqlite:
            self.execute("ANALYZE")
