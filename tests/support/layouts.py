"""The ways in which several processes serve together (docs/workers.md), over one PostgreSQL."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import attr
import yaml

from tests.support.ports import free_port
from tests.support.service_process import ServiceProcess, psycopg2, write_config

SECRET = "the secret of master and workers"
ON_LOOPBACK = {"bind_addresses": ["127.0.0.1"], "type": "http"}
CLIENTS = {**ON_LOOPBACK, "port": 0, "resources": [{"names": ["client", "health"]}]}


@attr.define(eq=False, kw_only=True)
class Layout:
    """One process, or several by ``processes``. ``services`` are those that run, as ``start`` has
    started them; it may be called again once they have ended. ``args`` are those of the database,
    ``options`` further ones of the configuration."""

    case: unittest.TestCase
    args: Mapping[str, Any]
    options: Mapping[str, Any] = attr.field(factory=dict)
    processes: int = 1
    config: Path = attr.field(init=False)
    services: list[ServiceProcess] = attr.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        folder = Path(self.case.mktemp()).resolve()  # type: ignore[attr-defined]
        folder.mkdir()
        self.config = self._write(folder)

    def _write(self, folder: Path) -> Path:
        return write_config(folder, psycopg2(self.args), listeners=[CLIENTS], **self.options)

    def start(self) -> None:
        options = ("--processes", str(self.processes))
        self.services = [ServiceProcess(self.case, self.config, options=options)]

    @property
    def base_urls(self) -> Sequence[str]:
        """Where clients may ask."""
        return [service.base_url for service in self.services]

    def stop(self) -> None:
        """End all orderly."""
        for service in self.services:
            service.stop()


@attr.define(eq=False, kw_only=True)
class MasterAndWorkers(Layout):
    """A master and so many ``workers``; ``services[0]`` is the master. ``reached_at``: the port at
    which workers look for the master, if it is not the master's own."""

    workers: int = 2
    port: int = attr.field(factory=free_port)
    reached_at: Optional[int] = None

    def _write(self, folder: Path) -> Path:
        replication = {
            **ON_LOOPBACK,
            "port": self.port,
            "resources": [{"names": ["replication"]}],
        }
        main = {"host": "127.0.0.1", "port": self.reached_at or self.port}
        for number in range(1, self.workers + 1):
            worker = {
                "worker_app": "regsys.worker",
                "worker_name": f"worker{number}",
                "worker_listeners": [CLIENTS],
                "instance_map": {"main": main},
            }
            (folder / f"worker{number}.yaml").write_text(yaml.safe_dump(worker))
        return write_config(
            folder,
            psycopg2(self.args),
            listeners=[CLIENTS, replication],
            worker_replication_secret=SECRET,
            **self.options,
        )

    def start(self) -> None:
        """The master first: it brings the database up to date."""
        self.services = [self.start_master(), *map(self.start_worker, self.names)]

    def start_master(self) -> ServiceProcess:
        return ServiceProcess(self.case, self.config)

    def start_worker(self, name: str) -> ServiceProcess:
        return ServiceProcess(self.case, self.config, self.config.parent / f"{name}.yaml")

    @property
    def names(self) -> Sequence[str]:
        return [f"worker{number}" for number in range(1, self.workers + 1)]
