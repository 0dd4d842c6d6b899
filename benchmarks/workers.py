"""What a registration costs that a worker has its master write.

A master and its worker over one PostgreSQL database are measured in turns: registrations at the
master, then at the worker, whose CPU time is that of both processes.
"""

from __future__ import annotations

import itertools
import statistics
from typing import Any, Sequence

import yaml

from benchmarks.floors import hash_once
from benchmarks.load import Load
from benchmarks.measuring import Effort, batch, close, cpu_ms
from benchmarks.operations import ONE_SHOT, operations, settle_residents
from benchmarks.servers import Cleanups, Server, folder_for, process_cpu_s
from tests.support import postgres, service_process
from tests.support.ports import free_port

# A registration through a worker may cost so many times what it costs at the master.
MOST = 1.6
SHORTER = 3


async def show_workers(cleanups: Cleanups, effort: Effort) -> list[str]:
    """Measure and print; returns a sentence if it costs too much. Raises
    tests.support.postgres.NotFound."""
    master, worker = start(cleanups)
    count = effort.count // SHORTER
    connections = await master.load.connect()
    (one_shot,) = (
        what for what in operations(await settle_residents(connections[0])) if what.name == ONE_SHOT
    )
    await close(connections)
    for server in (master, worker):
        await batch(server, one_shot.operation, effort.count)
    alone: list[float] = []
    both: list[float] = []
    shares: list[float] = []
    for number in range(SHORTER * effort.rounds):
        hash_ms = cpu_ms(hash_once, count)
        # In another order each time, so that drift affects both.
        for server in (master, worker) if number % 2 else (worker, master):
            before_s = process_cpu_s(master.pid)
            spent_ms, _ = await batch(server, one_shot.operation, count)
            masters_ms = (process_cpu_s(master.pid) - before_s) * 1000 / count
            if server is master:
                alone.append(spent_ms - hash_ms)
            else:
                both.append(spent_ms + masters_ms - hash_ms)
                shares.append(masters_ms)
    ratios = [
        statistics.quantiles(both)[0] / statistics.quantiles(alone)[0],
        statistics.median(both) / statistics.median(alone),
    ]
    print("one-shot, hash not counted     CPU-ms  times  (by the median)")
    print(f"at the master                  {statistics.quantiles(alone)[0]:6.3f}")
    print(
        f"through a worker               {statistics.quantiles(both)[0]:6.3f}"
        f"  {ratios[0]:.3f}  ({ratios[1]:.3f})"
    )
    print(f"  of which in the master       {statistics.quantiles(shares)[0]:6.3f}")
    return [f"through a worker: {ratios[0]:.2f} > {MOST}"] if ratios[0] > MOST else []


def start(cleanups: Cleanups) -> Sequence[Server]:
    """A master and its worker."""
    server = postgres.shared()
    args = server.create_database()
    cleanups.addCleanup(server.drop_database, args)
    folder = folder_for(cleanups)
    ports = [free_port() for _ in range(3)]
    config = service_process.write_config(
        folder,
        service_process.psycopg2(args),
        listeners=[_listener(ports[0], "client", "health"), _listener(ports[2], "replication")],
        worker_replication_secret="the secret of master and worker",
        instance_map={"main": {"host": "127.0.0.1", "port": ports[2]}},
        # Counting over both processes has a benchmark of its own.
        regsys={"rc_availability": False, "shared_limits": False},
    )
    own = folder / "worker.yaml"
    options = {
        "worker_app": "regsys.worker",
        "worker_name": "worker1",
        "worker_listeners": [_listener(ports[1], "client", "health")],
    }
    own.write_text(yaml.safe_dump(options))
    # No name is asked for twice, at either of them.
    numbers = itertools.count()
    servers = []
    for name, files, port in (("master", [config], ports[0]), ("worker", [config, own], ports[1])):
        service = service_process.ServiceProcess(cleanups, *files)  # type: ignore[arg-type]
        servers.append(Server(name, service.process.pid, Load(port, numbers)))
    return servers


def _listener(port: int, *names: str) -> Any:
    return {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "x_forwarded": True,
        "resources": [{"names": list(names)}],
    }
