"""What ``check-config --connect`` asks the database: whether it can be used, and whether the
configuration fits the passwords that are in it. Nothing is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any, Iterator, Sequence
from urllib.parse import quote

import attr

from regsys.cli.peers import DEADLINE_S, Unreachable
from regsys.config import Config, DatabaseConfig, PasswordsConfig
from regsys.storage.database import Transaction
from regsys.storage.secrets import would_be_as_before
from regsys.wiring.process import CannotStart, cannot_start, connect, dialect

PEPPER = "password_config.pepper"
# The cost is what stands between the second dollar sign of a hash and the third.
_HIGHEST_ROUNDS = (
    "SELECT MAX(SUBSTR(u.password_hash, 5, 2)) FROM adopted_users a"
    " JOIN users u ON u.user_id = a.user_id WHERE SUBSTR(u.password_hash, 1, 2) = '$2'"
)


def where(config: DatabaseConfig) -> str:
    if config.engine == "sqlite":
        return str(config.path)
    host = config.args.get("host") or "this machine"
    return f"PostgreSQL at {host}, schema {config.schema}"


def ask(config: Config) -> Sequence[str]:
    """Blocks; returns warnings. Raises Unreachable and CannotStart."""
    if config.database.engine == "postgres":
        args = {"connect_timeout": int(DEADLINE_S), **config.database.args}
        with contextlib.closing(connect(attr.evolve(config.database, args=args))) as connection:
            return _warnings(config, connection)
    path = config.database.path or ""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise Unreachable(f"{directory} is not there, or cannot be written")
    if not os.path.exists(path):
        return ()  # the start makes it
    if not os.access(path, os.R_OK | os.W_OK):
        raise Unreachable("the file cannot be written")
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
        with contextlib.closing(connection):
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return _warnings(config, connection)
    except sqlite3.Error as error:
        raise Unreachable(str(error)) from None


def _warnings(config: Config, connection: Any) -> Sequence[str]:
    chosen = dialect(config.database)
    txn = Transaction(connection.cursor(), chosen)
    try:
        with cannot_start(chosen, "the tables cannot be read"):
            return list(_of_passwords(txn, config.passwords))
    except CannotStart:
        return ()  # they are not there, or of an older regsys: the start makes them


def _of_passwords(txn: Transaction, passwords: PasswordsConfig) -> Iterator[str]:
    """Whether a hash fits the pepper is known only by its password. Known is whether all that were
    made, and adopted, by a regsys had the same one."""
    if not would_be_as_before(txn, PEPPER, passwords.pepper.reveal()):
        yield (
            f"{PEPPER} is not the one of the regsys that was run before, so no password of then"
            " fits: write the same one, into the last file that has a password_config, as that"
            " replaces the others' whole"
        )
    (rounds,) = txn.one(_HIGHEST_ROUNDS) or (None,)
    if rounds is not None and int(rounds) > passwords.bcrypt_rounds:
        yield (
            f"bcrypt_rounds is {passwords.bcrypt_rounds}, and adopted passwords have {int(rounds)}:"
            f" new ones would be easier to guess. Write bcrypt_rounds: {int(rounds)}"
        )
