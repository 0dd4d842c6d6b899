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
    """This process is a worker, which has its ``master`` make the accounts."""

    name: str
    master: MasterConfig
    secret: Secret


def is_worker(reader: Reader) -> bool:
    return reader.peek("worker_app") not in _MAIN


def read_worker(
    reader: Reader, secret: Optional[Secret], database: DatabaseConfig
) -> Optional[WorkerConfig]:
    """None for a main process."""
    app = reader.text("worker_app")
    if not is_worker(reader):
        # Its workers need it, and may read it in the same file.
        reader.take("instance_map")
        return None
    for main_alone in ("listeners", "log_config", "pid_file"):
        reader.take(main_alone)
    master = _read_master(reader)
    if database.engine != "postgres":
        mend = "move to PostgreSQL (database: {name: psycopg2, …}), or run one process alone"
        reader.problem("worker_app", "workers cannot share an SQLite database", mend, app)
    if secret is None:
        mend = "give the master and all workers the same long random value"
        reader.problem("worker_replication_secret", "missing, and the master asks for it", mend)
    name = reader.text("worker_name") or app or ""
    return WorkerConfig(name=name, master=master, secret=secret or Secret(""))


def _read_master(reader: Reader) -> MasterConfig:
    section = reader.section("instance_map").section("main")
    host, port = section.text("host"), section.whole("port", 1, 65535)
    path, tls = section.text("path"), section.flag("tls")
    is_host = host is not None and port is not None
    if is_host == (path is not None) or (path is not None and (host or port)):
        reader.problem(
            "instance_map.main",
            "it does not say where the master listens",
            "write its host and port, or the path of its Unix socket, as in the master's listener"
            " with the resource replication",
        )
    if path is not None and tls:
        section.problem("tls", "not possible on a Unix socket", "leave it out")
    return MasterConfig(host=host, port=port, tls=tls, path=path)
