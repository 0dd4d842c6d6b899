"""The measured processes, and their CPU clocks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import attr
import yaml

from benchmarks.load import Load
from benchmarks.operations import BRIDGE
from tests.support import postgres, service_process
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent


class Cleanups(contextlib.ExitStack):
    """Takes the place of a test case in calls of the tests' helpers."""

    def addCleanup(self, function: Callable[..., object], *args: Any) -> None:
        self.callback(function, *args)


@attr.frozen
class Server:
    """``database_cpu_s`` returns the CPU seconds of the database server; None if there is none, or
    it runs elsewhere."""

    name: str
    pid: int
    load: Load
    database_cpu_s: Optional[Callable[[], float]] = None

    def cpu_s(self) -> float:
        """The CPU seconds, user and system, of all threads of the process."""
        return process_cpu_s(self.pid)


def process_cpu_s(pid: int) -> float:
    # The number of another process's CPU clock on Linux: see clock_getcpuclockid(3).
    return time.clock_gettime(~pid << 3 | 2)


def start_hello(cleanups: Cleanups) -> Server:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hello", str(port)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    cleanups.addCleanup(process.communicate)
    cleanups.addCleanup(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return Server("hello", process.pid, Load(port))


def start_on_sqlite(cleanups: Cleanups, name: str = "SQLite", **options: Any) -> Server:
    """``options`` are more of the configuration."""
    folder = folder_for(cleanups)
    return _start(name, cleanups, folder, service_process.sqlite(folder), **options)


def start_on_postgres(cleanups: Cleanups, name: str = "PostgreSQL", **options: Any) -> Server:
    """Raises tests.support.postgres.NotFound. ``options`` are more of the configuration."""
    server = postgres.shared()
    args = server.create_database()
    cleanups.addCleanup(server.drop_database, args)
    section = service_process.psycopg2(args)
    clock = postgres_clock(server)
    return _start(name, cleanups, folder_for(cleanups), section, clock, **options)


def postgres_clock(server: postgres.Server) -> Optional[Callable[[], float]]:
    """The CPU seconds of all processes of a PostgreSQL server; None if the tests did not start
    it."""
    if server.log is None:
        return None
    postmaster = (server.log.parent / "data/postmaster.pid").read_text().split()[0]

    def cpu_s() -> float:
        total = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # The fields after the command: state, then the parent's id.
                if stat.read_text().rpartition(")")[2].split()[1] == postmaster:
                    total += process_cpu_s(int(stat.parent.name))
        return total

    return cpu_s


def folder_for(cleanups: Cleanups) -> Path:
    return Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="regsys-bench-")))


def _start(
    name: str,
    cleanups: Cleanups,
    folder: Path,
    database: Mapping[str, Any],
    database_cpu_s: Optional[Callable[[], float]] = None,
    **options: Any,
) -> Server:
    """``regsys serve`` without limits, behind a proxy (``x_forwarded``)."""
    port = free_port()
    resources = [{"names": ["client", "health"]}]
    listener = {"port": port, "bind_addresses": ["127.0.0.1"], "x_forwarded": True}
    bridge = folder / "bridge.yaml"
    bridge.write_text(yaml.safe_dump(BRIDGE))
    config = service_process.write_config(
        folder,
        database,
        listeners=[{**listener, "resources": resources}],
        app_service_config_files=[str(bridge)],
        **options,
    )
    service = service_process.ServiceProcess(cleanups, config)  # type: ignore[arg-type]
    return Server(name, service.process.pid, Load(port), database_cpu_s)
