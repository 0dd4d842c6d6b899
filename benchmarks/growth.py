"""Many ghosts in a row: what the last cost beside the first, and what stays in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from benchmarks.load import close
from benchmarks.operations import operations
from benchmarks.servers import Cleanups, Server

STEPS = 10


def resident_mb(server: Server) -> float:
    """The memory that the process has in use now, in MB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def show_growth(cleanups: Cleanups, start: Callable[[Cleanups], Server], count: int) -> None:
    """Register ``count`` ghosts, and print what each tenth of them cost."""
    server = start(cleanups)
    (ghost,) = (item for item in operations([]) if item.name == "ghost")
    connections = await server.load.connect()
    print(f"\n{server.name}: ghosts in a row   CPU-ms each   MB resident")
    print(f"{0:20} {'':20} {resident_mb(server):10.1f}")
    for step in range(1, STEPS + 1):
        before = server.cpu_s()
        await server.load.run(connections, ghost.operation, count // STEPS)
        spent_ms = (server.cpu_s() - before) * 1000 / (count // STEPS)
        print(
            f"{step * count // STEPS:20} {spent_ms:20.3f} {resident_mb(server):10.1f}", flush=True
        )
    await close(connections)
