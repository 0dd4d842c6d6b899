"""``python -m tests [lint] [types] [tests]``: all checks, or those named; non-zero if one fails.

This is the one place that knows what a check is: tox and .ci/run call it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from typing import Callable, Sequence

import attr

PYTHON = sys.executable


@attr.frozen
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def lint() -> Tally:
    return _commands(
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
    )


def types() -> Tally:
    return _commands([PYTHON, "-m", "mypy"])


def tests() -> Tally:
    """Run all trial tests in this process; an unexpected success counts as a failure."""
    from twisted.trial.runner import TestLoader, TrialRunner

    from tests.support.reporter import Reporter

    result = TrialRunner(Reporter).run(TestLoader().loadByName("tests", recurse=True))
    for reason, count in Counter(str(reason) for _, reason in result.skips).items():
        print(f"\n*** {count} tests were SKIPPED: {reason}")
    return Tally(
        passed=result.successes + len(result.expectedFailures),
        failed=len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses),
        skipped=len(result.skips),
    )


def _commands(*commands: Sequence[str]) -> Tally:
    failed = sum(subprocess.run(command).returncode != 0 for command in commands)
    return Tally(passed=len(commands) - failed, failed=failed)


CHECKS: dict[str, Callable[[], Tally]] = {"lint": lint, "types": types, "tests": tests}


def main(names: Sequence[str]) -> int:
    """Run the checks of these names (none: all); returns the exit code.

    The last line that is printed counts tests, and each command of lint and types as one.
    """
    unknown = sorted(set(names) - set(CHECKS))
    if unknown:
        print(f"no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}")
        return 2
    total = Tally()
    times = []
    for name in names or CHECKS:
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        total += CHECKS[name]()
        times.append(f"{name} {time.monotonic() - started:.1f} s")
    print(f"\n{', '.join(times)}\n{total}", flush=True)
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
