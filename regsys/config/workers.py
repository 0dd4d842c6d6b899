"""Master and workers: ``worker_…`` and ``instance_map``."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.database import DatabaseConfig
from regsys.config.values import Reader
from regsys.model import Secret

# What the main process may call itself.
_MAIN = (None, "", "synapse.app.homeserver")


@attr.frozen(kw_only=True)
class MasterConfig:
    """Where the master listens for workers: ``host`` and ``port``, or the Unix socket ``path``."""

    host: Optional[str] = None
    port: Optional[int] = None
    tls: bool = False
    path: Optional[str] = None


@attr.frozen(kw_only=True)
class WorkerConfig:
    """This process is a worker, which has its ``master`` make the accounts. ``app`` is its
    ``worker_app``."""

    name: str
    app: str = ""
    master: MasterConfig
    secret: Secret


def is_worker(reader: Reader) -> bool:
    return reader.peek("worker_app") not in _MAIN


def read_worker(
    reader: Reader, secret: Optional[Secret], database: DatabaseConfig
) -> Optional[WorkerConfig]:
    """None for a main process."""
    app = reader.text("worker_app")
    # A main process may share the file with its workers.
    section = reader.section("instance_map").section("main")
    master = MasterConfig(
        host=section.text("host"),
        port=section.whole("port", 1, 65535),
        tls=section.flag("tls"),
        path=section.text("path"),
    )
    if not is_worker(reader):
        return None
    for main_alone in ("listeners", "log_config", "pid_file"):
        reader.take(main_alone)
    _check_master(reader, master)
    if database.engine != "postgres":
        mend = "move to PostgreSQL (database: {name: psycopg2, …}), or run one process alone"
        reader.problem("worker_app", "workers cannot share an SQLite database", mend, app)
    if secret is None:
        mend = "give the master and all workers the same long random value"
        reader.problem("worker_replication_secret", "missing, and the master asks for it", mend)
    name = reader.text("worker_name") or app or ""
    return WorkerConfig(app=app or "", name=name, master=master, secret=secret or Secret(""))


def _check_master(reader: Reader, master: MasterConfig) -> None:
    by_host = (master.host is not None, master.port is not None)
    by_path = master.path is not None
    if by_host != (not by_path, not by_path):
        reader.problem(
            "instance_map.main",
            "it does not say where the master listens",
            "write its host and port, or the path of its Unix socket, as in the master's listener"
            " with the resource replication",
        )
    if by_path and master.tls:
        mend = "leave it out"
        reader.problem("instance_map.main.tls", "not possible on a Unix socket", mend)
