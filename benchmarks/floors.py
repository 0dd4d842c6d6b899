"""The cost of the parts by themselves, in this process: the lower bounds of a request's cost."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Union

import attr
import bcrypt
from twisted.internet.defer import Deferred

from regsys.model import Login, LoginTerms, NewAccount, NewDevice, Secret, UserID
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.storage.users import UserStore
from regsys.testing.database import inline_database

ROUNDS = 4


def hash_once() -> None:
    bcrypt.hashpw(b"correct horse battery staple", bcrypt.gensalt(ROUNDS))


@attr.frozen
class Floor:
    """``once`` runs it one time; ``database_cpu_s`` as in Server."""

    name: str
    once: Callable[[], object]
    database_cpu_s: Optional[Callable[[], float]] = None


def hash_floor() -> Floor:
    return Floor(f"one bcrypt hash, {ROUNDS} rounds", hash_once)


def transaction_on_sqlite(folder: Path) -> Floor:
    return Floor(
        "account transaction, SQLite", _accounts(SQLite(str(folder / "floor.db")), sqlite3)
    )


def transaction_on_postgres(
    args: Mapping[str, Any], database_cpu_s: Optional[Callable[[], float]]
) -> Floor:
    import psycopg2

    work = _accounts(PostgreSQL(args), psycopg2)
    return Floor("account transaction, PostgreSQL", work, database_cpu_s)


def _accounts(dialect: Union[SQLite, PostgreSQL], driver: Any) -> Callable[[], object]:
    """Each call makes an account in one transaction, without threads, reactor and HTTP."""
    database = inline_database(dialect, driver.connect)
    numbers = itertools.count()

    def make() -> object:
        number = next(numbers)
        login = Login(terms=LoginTerms(device_id="FLOOR"), access_token=Secret(f"token {number}"))
        new = NewAccount(
            key=f"key {number}",
            user_id=UserID(f"floor{number}", "test.example"),
            created_ms=number,
            password_hash="$2b$04$",
            display_name=f"floor{number}",
            device=NewDevice(login=login),
        )
        return Deferred.fromCoroutine(UserStore(database).create_account(new)).result

    return make
