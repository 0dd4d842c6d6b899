"""``python -m benchmarks.processes [--quick]``: what a second process adds, over PostgreSQL.

Load, database and processes share this machine's cores, so the requests a second depend on how many
there are. What the service needs does not: the CPU seconds of its busiest process bound what it can
do, whatever else runs. Both are printed. Exits with 1 if two processes do less than 1.8 times as
much as one by that measure, or if less than 93 % of their CPU time is hashing at twelve rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Sequence

import attr

from benchmarks import measuring
from benchmarks.load import Load
from benchmarks.operations import ONE_SHOT, operations
from benchmarks.servers import Cleanups, process_cpu_s
from regsys.credentials.hashing import usable_cores
from regsys.credentials.passwords import hash_password
from tests.support import postgres, service_process
from tests.support.ports import free_port

AT_LEAST, HASHED_AT_LEAST = 1.8, 0.93
FAKED, REAL = 4, 12


@attr.frozen
class Service:
    """``regsys serve``; ``pids`` are the processes that serve."""

    pids: Sequence[int]
    load: Load

    def cpu_s(self) -> list[float]:
        return [process_cpu_s(pid) for pid in self.pids]


def start(cleanups: Cleanups, processes: int, rounds: int) -> Service:
    folder = Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="regsys-bench-")))
    args = postgres.shared().create_database()
    cleanups.addCleanup(postgres.shared().drop_database, args)
    port = free_port()
    listener = {"port": port, "bind_addresses": ["127.0.0.1"], "x_forwarded": True}
    config = service_process.write_config(
        folder,
        service_process.psycopg2(args),
        bcrypt_rounds=rounds,
        listeners=[{**listener, "resources": [{"names": ["client", "health"]}]}],
    )
    made = service_process.ServiceProcess(
        cleanups,  # type: ignore[arg-type]
        config,
        options=("--processes", str(processes)),
    )
    found = re.findall(rf"process \d+ of {processes} is (\d+)", made.output)
    return Service([int(pid) for pid in found] or [made.process.pid], Load(port))


@attr.frozen
class Run:
    """``count`` registrations: how long they took, and the CPU seconds of each process."""

    count: int
    took_s: float
    cpu_s: Sequence[float]

    @property
    def a_second(self) -> float:
        return self.count / self.took_s

    @property
    def possible(self) -> float:
        """A second, if the busiest process had a core for itself."""
        return self.count / max(self.cpu_s)


async def register(service: Service, count: int) -> Run:
    connections = await service.load.connect()
    (one_shot,) = (what for what in operations(()) if what.name == ONE_SHOT)
    before, started_s = service.cpu_s(), time.monotonic()
    await service.load.run(connections, one_shot.operation, count)
    took_s = time.monotonic() - started_s
    spent = [after - then for after, then in zip(service.cpu_s(), before, strict=True)]
    await measuring.close(connections)
    return Run(count, took_s, spent)


async def compare(cleanups: Cleanups, rounds: int, count: int) -> float:
    """Print both in turns; returns the median of the ratio."""
    services = [start(cleanups, processes, FAKED) for processes in (1, 2)]
    for service in services:
        await register(service, count)
    print(f"{'processes':>9}  {'a second':>8}  {'possible':>8}  CPU-ms a request, by process")
    ratios = []
    for _ in range(rounds):
        runs = [await register(service, count) for service in services]
        for number, run in enumerate(runs, 1):
            costs = " ".join(f"{spent * 1000 / run.count:.2f}" for spent in run.cpu_s)
            print(f"{number:9}  {run.a_second:8.0f}  {run.possible:8.0f}  {costs}", flush=True)
        ratios.append(runs[1].possible / runs[0].possible)
    print("two over one: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))
    return statistics.median(ratios)


async def hash_share(cleanups: Cleanups, count: int) -> float:
    """The part of the CPU time of two processes that goes into real hashes. On a machine that does
    nothing else, the registrations a second over what the cores can hash come to the same."""
    service = start(cleanups, 2, REAL)
    before_s = measuring.cpu_ms(_hash, 3) / 1000
    run = await register(service, count)
    hash_s = (before_s + measuring.cpu_ms(_hash, 3) / 1000) / 2
    share = run.count * hash_s / sum(run.cpu_s)
    most = usable_cores() / hash_s
    print(
        f"{run.a_second:.2f} registrations a second at {REAL} rounds, where {usable_cores()} cores"
        f" hash {most:.2f}: {run.a_second / most:.1%}; of the CPU time {share:.1%} is hashing"
    )
    return share


def _hash() -> object:
    return hash_password(b"correct horse battery staple", REAL, False)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="check that it runs; no useful figures"
    )
    quick = parser.parse_args(arguments).quick
    with Cleanups() as cleanups:
        ratio = asyncio.run(compare(cleanups, 1 if quick else 7, 20 if quick else 600))
        share = asyncio.run(hash_share(cleanups, 4 if quick else 96))
    if quick or (ratio >= AT_LEAST and share >= HASHED_AT_LEAST):
        return 0
    print(f"too little: {ratio:.2f} of {AT_LEAST}, {share:.1%} of {HASHED_AT_LEAST:.0%}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
