"""What a registration costs whose entry is written into the audit log, beside one without."""

from __future__ import annotations

import statistics

from benchmarks.limits import costs_of, quiet
from benchmarks.measuring import Effort
from benchmarks.servers import Cleanups, start_on_postgres, start_on_sqlite
from tests.support import postgres

ON = {"regsys": {"audit": {"enabled": True}}}
# It may cost so many times what a registration costs without.
MOST = 1.2


async def show_audit(cleanups: Cleanups, effort: Effort) -> list[str]:
    """Measure and print; returns a sentence for each database on which it costs too much."""
    pairs = {
        "SQLite": [start_on_sqlite(cleanups, "off"), start_on_sqlite(cleanups, "on", **ON)],
    }
    try:
        off, on = start_on_postgres(cleanups, "off"), start_on_postgres(cleanups, "on", **ON)
        pairs["PostgreSQL"] = [off, on]
    except postgres.NotFound:
        print(postgres.NOT_FOUND)
    print("one-shot, hash not counted     CPU-ms: off      on  times  (by the median)")
    complaints = []
    for name, servers in pairs.items():
        costs = await costs_of(servers, effort)
        ratio = quiet(costs["on"]) / quiet(costs["off"])
        by_median = statistics.median(costs["on"]) / statistics.median(costs["off"])
        print(
            f"audit log on {name:16}     {quiet(costs['off']):6.3f}  {quiet(costs['on']):6.3f}"
            f"  {ratio:.3f}  ({by_median:.3f})"
        )
        if ratio > MOST:
            complaints.append(f"audit log on {name}: {ratio:.2f} > {MOST}")
    return complaints
