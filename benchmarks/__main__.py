"""``python -m benchmarks [--quick] [--ghosts N] [--limits] [--audit] [--workers] [NAME …]``: the
cost of requests, compared with hello and the floors.

Exits with 1 if an operation exceeds its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Callable, Optional, Sequence

from benchmarks import audit, floors, growth, limits, measuring, namespaces, servers, workers
from benchmarks.measuring import Cost, Effort, cpu_ms
from benchmarks.operations import ONE_SHOT, Measured, operations, settle_residents
from benchmarks.servers import Cleanups, Server
from tests.support import postgres

WHOLE = Effort(rounds=7, count=300)
QUICK = Effort(rounds=2, count=20)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="check that it runs; no useful figures"
    )
    parser.add_argument("--ghosts", type=int, metavar="N", help="only register N ghosts in a row")
    parser.add_argument(
        "--limits",
        action="store_true",
        help="only compare registrations whose limits are counted over several processes",
    )
    parser.add_argument(
        "--audit",
        action="store_true",
        help="only compare registrations with the audit log and without",
    )
    parser.add_argument(
        "--workers",
        action="store_true",
        help="only compare registrations at a master and through its worker",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these operations")
    chosen = parser.parse_args(arguments)
    effort = QUICK if chosen.quick else WHOLE
    with Cleanups() as cleanups:
        if chosen.ghosts:
            for start in _starters():
                asyncio.run(growth.show_growth(cleanups, start, chosen.ghosts))
            return 0
        if chosen.limits:
            too_dear = asyncio.run(limits.show_limits(cleanups, effort))
            return _exit_status(too_dear, chosen.quick)
        if chosen.audit:
            too_dear = asyncio.run(audit.show_audit(cleanups, effort))
            return _exit_status(too_dear, chosen.quick)
        if chosen.workers:
            too_dear = asyncio.run(workers.show_workers(cleanups, effort))
            return _exit_status(too_dear, chosen.quick)
        show_floors(cleanups, effort)
        too_dear = asyncio.run(show_operations(cleanups, effort, chosen.names))
    return _exit_status(too_dear, chosen.quick)


def _exit_status(too_dear: Sequence[str], is_quick: bool) -> int:
    for complaint in too_dear:
        print(f"too dear: {complaint}")
    return 1 if too_dear and not is_quick else 0


def show_floors(cleanups: Cleanups, effort: Effort) -> None:
    folder = Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="regsys-bench-")))
    measured = [floors.hash_floor(), floors.transaction_on_sqlite(folder)]
    try:
        server = postgres.shared()
        args = server.create_database()
        cleanups.addCleanup(server.drop_database, args)
        clock = servers.postgres_clock(server)
        measured.append(floors.transaction_on_postgres(args, clock))
    except postgres.NotFound:
        print(postgres.NOT_FOUND)
    print("CPU-ms                          client  database")
    for floor in measured:
        floor.once()
        before = floor.database_cpu_s() if floor.database_cpu_s else None
        spent_ms = cpu_ms(floor.once, effort.count)
        database_ms = None
        if floor.database_cpu_s is not None and before is not None:
            database_ms = (floor.database_cpu_s() - before) * 1000 / effort.count
        print(f"{floor.name:31} {spent_ms:6.3f}  {_number(database_ms)}")


async def show_operations(cleanups: Cleanups, effort: Effort, names: Sequence[str]) -> list[str]:
    """Measure and print each operation; returns a sentence for each that exceeds its limit."""
    too_dear = []
    added_ms = namespaces.added_ms(10 * effort.count)
    baseline = servers.start_hello(cleanups)
    heads = ("CPU-ms a request", "hashes not counted", "server", "database", "in hellos (range)")
    print("\n{:20} {:20} {:>7}  {:>8}  {:17}  at most".format(*heads))
    for start in _starters():
        server = start(cleanups)
        connections = await server.load.connect()
        tokens = await settle_residents(connections[0])
        await measuring.close(connections)
        for what in operations(tokens):
            if names and what.name not in names:
                continue
            cost = await measuring.measure(baseline, server, what, effort)
            print(_row(server, what, cost), flush=True)
            if what.most is not None and cost.ratio > what.most:
                too_dear.append(f"{what.name} on {server.name}: {cost.ratio:.1f} > {what.most}")
            if what.name == ONE_SHOT:
                percent = 100 * added_ms / cost.server_ms
                print(f"  {namespaces.COUNT} namespaces would add {percent:.1f} %")
                if percent > namespaces.MOST_PERCENT:
                    too_dear.append(f"{namespaces.COUNT} namespaces: {percent:.1f} %")
    return too_dear


def _starters() -> Sequence[Callable[[Cleanups], Server]]:
    try:
        postgres.shared()
    except postgres.NotFound:
        return (servers.start_on_sqlite,)
    return (servers.start_on_sqlite, servers.start_on_postgres)


def _row(server: Server, what: Measured, cost: Cost) -> str:
    low, high = cost.ratios[0], cost.ratios[-1]
    ratio = f"{cost.ratio:5.1f} ({low:.1f}–{high:.1f})"
    most = "" if what.most is None else f"{what.most:g}"
    return (
        f"{what.name:20} {server.name:20} {cost.server_ms:7.3f}  {_number(cost.database_ms):>8}"
        f"  {ratio:17}  {most}"
    )


def _number(value: Optional[float]) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
