"""Where our tables are: always apart from a homeserver's (contract B15)."""

from __future__ import annotations

import os
import re
from typing import Any, Literal, Mapping, Optional

import attr

from regsys.config.values import Reader

_IDENTIFIER = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_ENGINES = ("sqlite3", "psycopg2")


# Connections. Each has a thread, of which Python runs one at a time: three commit more than one
# process can ask for, and more would only contend.
FEWEST, MOST = 1, 3


@attr.frozen(kw_only=True)
class DatabaseConfig:
    """The database and its pool of connections.

    ``path``: the SQLite file, or ``:memory:``; None for PostgreSQL. ``args``: the arguments of
    psycopg2.connect; empty for SQLite. ``schema``: the PostgreSQL schema of our tables.
    """

    engine: Literal["sqlite", "postgres"]
    path: Optional[str] = None
    args: Mapping[str, Any] = attr.field(factory=dict, repr=False)
    schema: str = "regsys"
    pool_min: int = FEWEST
    pool_max: int = MOST


def read_database(reader: Reader) -> DatabaseConfig:
    """``regsys.database``; else the homeserver's database, with our tables in a schema or file of
    their own."""
    own = reader.section("regsys")
    schema = own.text("database_schema") or "regsys"
    if not _IDENTIFIER.fullmatch(schema) or schema in ("public", "information_schema"):
        own.problem(
            "database_schema",
            "not a name for a schema of our own",
            "write lower-case letters, digits and _, not beginning with pg_, and not public",
            schema,
        )
    ours = own.section("database")
    if ours.data:
        _refuse_theirs(ours, reader.peek("database.args.database"))
        return _read_one(ours, schema)
    chosen, old_path = _homeserver_section(reader), reader.text("database_path")
    if chosen is not None:
        return _read_one(chosen, schema, beside=True)
    return DatabaseConfig(engine="sqlite", path=_beside(old_path or "homeserver.db"), schema=schema)


def read_homeserver_database(reader: Reader) -> DatabaseConfig:
    """The homeserver's own database, which ``regsys adopt`` reads. What is wrong with its section
    is reported by ``read_database``."""
    section = _homeserver_section(Reader(reader.data))
    if section is None:
        path = reader.data.get("database_path") or "homeserver.db"
        return DatabaseConfig(engine="sqlite", path=str(path))
    args = section.data.get("args")
    args = args if isinstance(args, Mapping) else {}
    if section.data.get("name") == "sqlite3":
        return DatabaseConfig(engine="sqlite", path=str(args.get("database") or "homeserver.db"))
    connect = {key: value for key, value in args.items() if not str(key).startswith("cp_")}
    return DatabaseConfig(engine="postgres", args=connect)


def _refuse_theirs(ours: Reader, theirs: Any) -> None:
    """Report a ``regsys.database`` that is the homeserver's own SQLite file."""
    path = ours.peek("args.database")
    if path == ":memory:" or not (isinstance(path, str) and isinstance(theirs, str)):
        return
    if ours.peek("name") == "sqlite3" and os.path.realpath(path) == os.path.realpath(theirs):
        mend = "name a file of its own for regsys"
        ours.section("args").problem("database", "the homeserver's own database", mend, path)


def _homeserver_section(reader: Reader) -> Optional[Reader]:
    """The section that describes the homeserver's main database; None if there is none."""
    one, several = reader.section("database"), reader.section("databases")
    if one.data and several.data:
        reader.problem("databases", "given beside database", "keep one of the two")
    if not several.data:
        return one if one.data else None
    for name in several.data:
        stores = several.section(name).texts("data_stores")
        if not stores or "main" in stores:
            return several.section(name)
    reader.problem("databases", "no data_stores holds main", "add main to one of them")
    return None


def _read_one(section: Reader, schema: str, beside: bool = False) -> DatabaseConfig:
    name = section.choice("name", _ENGINES)
    if section.data.get("name") is None:
        section.problem("name", "missing", "write sqlite3 or psycopg2")
    args = section.section("args")
    pool_min, pool_max = args.whole("cp_min", 1, 1000), args.whole("cp_max", 1, 1000)
    # If only one bound is set, the other's default follows it.
    pool_min = pool_min or FEWEST
    pool_max = pool_max or max(MOST, pool_min)
    if pool_min > pool_max:
        args.problem("cp_min", f"more than cp_max, which is {pool_max}", "lower it", pool_min)
    if name == "psycopg2":
        connect = {key: args.take(key) for key in args.data if not str(key).startswith("cp_")}
        return DatabaseConfig(
            engine="postgres", args=connect, schema=schema, pool_min=pool_min, pool_max=pool_max
        )
    path = args.text("database")
    if name and args.data.get("database") in (None, ""):
        args.problem("database", "missing", "name the SQLite file")
    return DatabaseConfig(
        engine="sqlite",
        path=_beside(path or "homeserver.db") if beside else path,
        schema=schema,
        pool_min=pool_min,
        pool_max=pool_max,
    )


def _beside(path: str) -> str:
    """The path of our own file next to a homeserver's, whose tables we neither read nor alter."""
    if path == ":memory:":
        return path
    root, extension = os.path.splitext(path)
    return f"{root}-regsys{extension}"
