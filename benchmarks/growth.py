"""Registers many ghosts in a row: compares the cost of the last with the first, and shows the
memory."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from benchmarks.load import Operation, close
from benchmarks.operations import hello, operations
from benchmarks.servers import Cleanups, Server, start_hello

STEPS = 10


def resident_mb(server: Server) -> float:
    """The process's resident memory, in MB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def show_growth(cleanups: Cleanups, start: Callable[[Cleanups], Server], count: int) -> None:
    """Register ``count`` ghosts, and print the cost of each tenth of them, compared with hello."""
    server, baseline = start(cleanups), start_hello(cleanups)
    (ghost,) = (item for item in operations([]) if item.name == "ghost")
    print(f"\n{server.name}: ghosts in a row   CPU-ms each   in hellos   MB resident")
    for step in range(1, STEPS + 1):
        hello_ms = await _cpu_ms(baseline, hello, count // STEPS)
        spent_ms = await _cpu_ms(server, ghost.operation, count // STEPS)
        ratio, made = spent_ms / hello_ms, step * count // STEPS
        print(f"{made:27} {spent_ms:13.3f} {ratio:11.1f} {resident_mb(server):13.1f}", flush=True)


async def _cpu_ms(server: Server, operation: Operation, count: int) -> float:
    """CPU milliseconds of the server per operation."""
    connections = await server.load.connect()
    before = server.cpu_s()
    await server.load.run(connections, operation, count)
    spent_ms = (server.cpu_s() - before) * 1000 / count
    await close(connections)
    return spent_ms
