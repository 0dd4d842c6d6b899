"""Measures costs in alternation with the baseline, so that drift affects both."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Callable, Optional, Sequence

import attr

from benchmarks.floors import hash_once
from benchmarks.load import Operation, close
from benchmarks.operations import Measured, hello
from benchmarks.servers import Server


@attr.frozen
class Effort:
    """``count``: operations per round. The baseline is cheaper, and runs three times as often."""

    rounds: int
    count: int


@attr.frozen
class Round:
    """CPU milliseconds per operation, without hashes. ``database_ms`` is None if unknown."""

    hello_ms: float
    server_ms: float
    database_ms: Optional[float] = None


@attr.frozen
class Cost:
    """The result of all rounds: medians, and the range of the ratio."""

    rounds: Sequence[Round]

    @property
    def server_ms(self) -> float:
        return statistics.median(round.server_ms for round in self.rounds)

    @property
    def database_ms(self) -> Optional[float]:
        known = [round.database_ms for round in self.rounds if round.database_ms is not None]
        return statistics.median(known) if known else None

    @property
    def ratios(self) -> Sequence[float]:
        """The cost of each round in hellos, sorted."""
        return sorted(round.server_ms / round.hello_ms for round in self.rounds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


async def measure(baseline: Server, server: Server, what: Measured, effort: Effort) -> Cost:
    """Run hello, operation, hello, operation, … hello, and compare each operation with the hellos
    before and after it."""
    await batch(server, what.operation, effort.count)
    await batch(baseline, hello, effort.count)
    hellos, others = [], []
    for _ in range(effort.rounds):
        hellos.append((await batch(baseline, hello, 3 * effort.count))[0])
        ours_ms, database_ms = await batch(server, what.operation, effort.count)
        others.append((ours_ms - what.hashes * cpu_ms(hash_once, effort.count), database_ms))
    hellos.append((await batch(baseline, hello, 3 * effort.count))[0])
    beside = [(before + after) / 2 for before, after in itertools.pairwise(hellos)]
    return Cost([Round(hello_ms, *ours) for hello_ms, ours in zip(beside, others, strict=True)])


async def batch(server: Server, operation: Operation, count: int) -> tuple[float, Optional[float]]:
    """CPU milliseconds per operation, of the server and of its database."""
    connections = await server.load.connect()
    try:
        clocks = [server.cpu_s, *([server.database_cpu_s] if server.database_cpu_s else [])]
        before = [clock() for clock in clocks]
        await server.load.run(connections, operation, count)
        spent = [
            (clock() - start) * 1000 / count for clock, start in zip(clocks, before, strict=True)
        ]
    finally:
        await close(connections)
    return spent[0], spent[1] if len(spent) > 1 else None


def cpu_ms(work: Callable[[], object], count: int) -> float:
    """CPU milliseconds of this process per call."""
    before = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - before) * 1000 / count
