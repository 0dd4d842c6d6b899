"""All tests in several processes: each takes the next module when it is done with one.

``python -m tests.support.shares PLAN RESULT`` is such a process. PLAN is the file with the modules
that are left, RESULT the file for the counts of what it has run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import attr

import tests

# More than two wait for each other's CPU on small machines, and many tests wait for time.
PROCESSES = max(2, min(4, os.cpu_count() or 1))
CHAOS = "tests.chaos."
# Of a failed test, so many characters of its traceback are repeated at the end.
REPORTED = 2000
# What takes longest comes first, so that no process is left alone with it at the end.
LONGEST = (
    "tests.browser.",
    CHAOS,
    "tests.storage.test_database_threads",
    "tests.test_races",
    "tests.threepids.test_races",
    "tests.threepids.test_phone_races",
    "tests.test_homeserver_process",
    "tests.test_synapse_clients",
)
# What measures time, or needs the CPU for itself, runs when the others are done.
ALONE = (
    "tests.client_api.test_dialogue_process",
    "tests.test_crowded",
    "tests.test_hostile",
    "tests.test_responsive",
    "tests.test_shutdown",
    "tests.threepids.test_timing",
)


@attr.frozen
class Tally:
    """What became of tests. ``skips`` counts those that were skipped, by reason.

    ``reports`` has a text for each that failed: its name and why.
    """

    passed: int = 0
    failed: int = 0
    skips: Counter[str] = attr.field(factory=Counter)
    reports: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skips + other.skips,
            self.reports + other.reports,
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skips.total()} skipped"


def modules() -> list[str]:
    """The names of all test modules, in the order in which they are begun."""
    names = [
        module.name
        for module in pkgutil.walk_packages(tests.__path__, "tests.")
        if module.name.rpartition(".")[2].startswith("test_")
    ]
    return sorted(names, key=lambda name: (not name.startswith(LONGEST), name))


def run_all(processes: int = PROCESSES) -> Tally:
    """Run all tests. The first process prints as it goes, the others' output follows."""
    names = modules()
    return _run([name for name in names if name not in ALONE], processes) + _run(ALONE, 1)


def run_chaos() -> Tally:
    """Run the proofs under faults alone, each with the machine for itself."""
    return _run([name for name in modules() if name.startswith(CHAOS)], 1)


def _run(names: Sequence[str], processes: int) -> Tally:
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan")
        plan.write_text("".join(f"{name}\n" for name in names))
        shares = [Share.start(plan, Path(folder, str(number))) for number in range(processes)]
        return sum((share.wait() for share in shares), Tally())


@attr.frozen
class Share:
    """A process that runs tests. If ``output`` is None, it prints as it goes."""

    process: subprocess.Popen[bytes]
    result: Path
    output: Optional[Path]

    @classmethod
    def start(cls, plan: Path, result: Path) -> Share:
        output = None if result.name == "0" else result.with_suffix(".output")
        with contextlib.ExitStack() as files:
            stream = None if output is None else files.enter_context(output.open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.shares", str(plan), str(result)],
                cwd=Path(tests.__path__[0]).parent,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT if stream else None,
            )
        return cls(process, result, output)

    def wait(self) -> Tally:
        """Wait for its end. A process that dies before is counted as a failed test."""
        status = self.process.wait()
        if self.output is not None:
            print(self.output.read_text(errors="replace"), flush=True)
        if not self.result.exists():
            report = f"a process that ran tests ended with status {status}"
            return Tally(failed=1, reports=(report,))
        fields = json.loads(self.result.read_text())
        return Tally(
            fields["passed"], fields["failed"], Counter(fields["skips"]), tuple(fields["reports"])
        )


class _Rest(unittest.TestSuite):
    """The tests of the modules that no other process has taken."""

    def __init__(self, plan: Path) -> None:
        super().__init__()
        self._plan = plan

    def run(self, result: Any, debug: bool = False) -> Any:
        from twisted.trial.runner import TestLoader

        for name in taken(self._plan):
            if result.shouldStop:
                break
            TestLoader().loadByNames([name]).run(result)
        return result


def taken(plan: Path) -> Iterator[str]:
    """The first module of the plan, taken out of it, as long as there is one."""
    while True:
        with plan.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            names = file.read().splitlines()
            file.seek(0)
            file.truncate()
            file.writelines(f"{name}\n" for name in names[1:])
        if not names:
            return
        yield names[0]


def _report(test: Any, failure: Any) -> str:
    return f"{test.id()}\n{failure.getTraceback()[-REPORTED:]}"


def main(plan: str, result: str) -> None:
    """Run what is left; an unexpected success counts as a failure."""
    from twisted.trial.runner import TrialRunner

    from tests.support.reporter import Reporter

    ran = TrialRunner(Reporter).run(_Rest(Path(plan)))
    fields = {
        "passed": ran.successes + len(ran.expectedFailures),
        "failed": len(ran.failures) + len(ran.errors) + len(ran.unexpectedSuccesses),
        "skips": Counter(str(reason) for _, reason in ran.skips),
        "reports": [
            *(_report(test, failure) for test, failure in (*ran.failures, *ran.errors)),
            *(f"{test.id()}: passed, unexpectedly" for test, *_ in ran.unexpectedSuccesses),
        ],
    }
    Path(result).write_text(json.dumps(fields))


if __name__ == "__main__":
    main(*sys.argv[1:])
