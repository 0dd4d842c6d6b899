"""What a registration costs whose limits are counted over several processes.

Three services on PostgreSQL, which differ in where they count, are measured in turn.
"""

from __future__ import annotations

import statistics
from typing import Mapping, Sequence

from benchmarks.floors import hash_once
from benchmarks.measuring import Effort, batch, close, cpu_ms
from benchmarks.operations import ONE_SHOT, Measured, operations, settle_residents
from benchmarks.servers import Cleanups, Server, start_on_postgres
from tests.support import redis

# A shared limit may cost so many times what a registration costs without.
MOST = 1.15
# Many short rounds, because the difference is smaller than what other programs of the machine do
# to a long one.
SHORTER = 5


async def show_limits(cleanups: Cleanups, effort: Effort) -> list[str]:
    """Measure and print; returns a sentence for each place that costs too much. Raises
    tests.support.postgres.NotFound, and FileNotFoundError without a redis-server."""
    own = {"rc_availability": False}
    server = redis.Server()
    cleanups.addCleanup(server.remove)
    servers = [
        start_on_postgres(cleanups, "this process"),
        start_on_postgres(cleanups, "PostgreSQL", regsys={**own, "shared_limits": True}),
        start_on_postgres(cleanups, "Redis", redis={"enabled": True, "path": server.path}),
    ]
    costs = await costs_of(servers, effort)
    print("one-shot, hash not counted     CPU-ms  times  (by the median)")
    complaints = []
    baseline = costs[servers[0].name]
    for one in servers:
        ours = costs[one.name]
        ratio = quiet(ours) / quiet(baseline)
        by_median = statistics.median(ours) / statistics.median(baseline)
        print(f"limits in {one.name:16}     {quiet(ours):6.3f}  {ratio:.3f}  ({by_median:.3f})")
        if ratio > MOST:
            complaints.append(f"limits in {one.name}: {ratio:.2f} > {MOST}")
    return complaints


def quiet(costs: Sequence[float]) -> float:
    """What it costs in the quietest quarter of the rounds: others only ever add to it."""
    return statistics.quantiles(costs)[0]


async def costs_of(servers: Sequence[Server], effort: Effort) -> Mapping[str, Sequence[float]]:
    """CPU milliseconds a registration, by server, one of each round."""
    count, few = effort.count // SHORTER, len(servers)
    ways: dict[str, Measured] = {}
    for server in servers:
        connections = await server.load.connect()
        tokens = await settle_residents(connections[0])
        await close(connections)
        (ways[server.name],) = (what for what in operations(tokens) if what.name == ONE_SHOT)
        await batch(server, ways[server.name].operation, effort.count)
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(SHORTER * effort.rounds):
        # In another order each time, so that drift affects all.
        for server in [*servers[number % few :], *servers[: number % few]]:
            spent_ms, _ = await batch(server, ways[server.name].operation, count)
            costs[server.name].append(spent_ms - cpu_ms(hash_once, count))
    return costs
