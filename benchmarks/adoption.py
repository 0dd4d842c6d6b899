"""``python -m benchmarks.adoption [--users N] [--quick]``: how long ``regsys adopt`` takes.

N users (100,000), each with a password hash, a device and a token, half of them with an address,
are adopted on SQLite and on PostgreSQL; then once more, when all are known. Exits with 1 if the
first adoption takes longer than a minute for 100,000 users, or more memory than it may.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Mapping, Sequence

import attr
import yaml

from tests.support import service_process
from tests.support.synapse_tables import SERVER, SynapseTables

USERS, QUICK = 100_000, 10_000
MOST_S, MOST_MB = 60.0, 200.0

# Runs the command, and prints the CPU seconds and the most memory (KiB) of its process.
CHILD = """
import resource, sys
from regsys.cli import main
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@attr.frozen
class Run:
    seconds: float
    cpu_s: float
    memory_mb: float


def adopt(folder: Path) -> Run:
    started_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "adopt", "-c", str(folder / "homeserver.yaml")],
        env={**os.environ, "PYTHONPATH": str(service_process.ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu_s, memory_kib = map(float, done.stderr.splitlines()[-1].split())
    return Run(time.monotonic() - started_s, cpu_s, memory_kib / 1024)


def measure(
    there: SynapseTables, section: Mapping[str, Any], folder: Path, users: int
) -> list[Run]:
    """An adoption of so many users, and another one that finds nothing new."""
    there.fill(users)
    config = {
        "server_name": SERVER,
        "database": dict(section),
        "macaroon_secret_key": "a key",
        "password_config": {"pepper": "a pepper"},
    }
    (folder / "homeserver.yaml").write_text(yaml.safe_dump(config))
    return [adopt(folder), adopt(folder)]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adoption")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} users")
    given = parser.parse_args(arguments)
    users = QUICK if given.quick else given.users
    case, slow = unittest.TestCase(), False
    print(f"{users:,} users{'':6}{'seconds':>10}{'CPU':>8}{'MB':>8}{'again':>10}")
    with tempfile.TemporaryDirectory(prefix="regsys-bench-") as name:
        for database in ("SQLite", "PostgreSQL"):
            folder = Path(name, database)
            folder.mkdir()
            try:
                if database == "SQLite":
                    section = service_process.sqlite(folder)
                    there = SynapseTables.in_file(case, section["args"]["database"])
                else:
                    there = SynapseTables.in_postgres(case)
                    # Synapse's role is called otherwise: ours would see our schema first.
                    path = {"options": "-c search_path=public"}
                    section = service_process.psycopg2({**there.where, **path})
            except unittest.SkipTest as skipped:
                print(skipped)
                continue
            first, again = measure(there, section, folder, users)
            slow |= first.seconds > MOST_S * users / USERS or first.memory_mb > MOST_MB
            print(
                f"{database:18}{first.seconds:10.1f}{first.cpu_s:8.1f}{first.memory_mb:8.0f}"
                f"{again.seconds:10.1f}"
            )
    case.doCleanups()
    return int(slow)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
