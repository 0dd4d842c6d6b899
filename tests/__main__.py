"""``python -m tests [lint] [types] [tests]``: all checks, or those named; non-zero if one fails.

``python -m tests chaos`` is the long form of the proofs under faults, which nothing else includes.

This is the one place that knows what a check is: tox and .ci/run call it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Callable, Sequence

from tests.support import shares
from tests.support.shares import Tally

PYTHON = sys.executable
CHAOS_SCALE = 10


def lint() -> Tally:
    return _commands(
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
    )


def types() -> Tally:
    return _commands([PYTHON, "-m", "mypy"])


def tests() -> Tally:
    """Run all trial tests, in several processes."""
    tally = shares.run_all()
    for reason, count in tally.skips.items():
        print(f"\n*** {count} tests were SKIPPED: {reason}")
    return tally


def chaos() -> Tally:
    """Ten times as much as in an everyday run, one after the other."""
    os.environ["REGSYS_TEST_SCALE"] = str(CHAOS_SCALE)
    return shares.run_chaos()


def _commands(*commands: Sequence[str]) -> Tally:
    failed = sum(subprocess.run(command).returncode != 0 for command in commands)
    return Tally(passed=len(commands) - failed, failed=failed)


CHECKS: dict[str, Callable[[], Tally]] = {"lint": lint, "types": types, "tests": tests}
LONG: dict[str, Callable[[], Tally]] = {"chaos": chaos}


def main(names: Sequence[str]) -> int:
    """Run the checks of these names (none: all of CHECKS); returns the exit code.

    What failed is repeated at the end. The last line that is printed counts tests, and each command
    of lint and types as one.
    """
    known = {**CHECKS, **LONG}
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"no such check: {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    total = Tally()
    times = []
    for name in names or CHECKS:
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        total += known[name]()
        times.append(f"{name} {time.monotonic() - started:.1f} s")
    for report in total.reports:
        print(f"\n*** FAILED: {report}")
    print(f"\n{', '.join(times)}\n{total}", flush=True)
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
