"""What failed tests of real processes and pages report beyond their traceback."""

from __future__ import annotations

import unittest
from typing import Any, Callable

from twisted.trial.reporter import TreeReporter

# Where a test keeps its reports: (name, function that returns the text) of each.
_ATTRIBUTE = "_failure_reports"


def report_on_failure(case: unittest.TestCase, name: str, describe: Callable[[], str]) -> None:
    """If ``case`` fails, what ``describe`` returns at that moment is printed too."""
    vars(case).setdefault(_ATTRIBUTE, []).append((name, describe))


def failure_report(case: unittest.TestCase) -> str:
    """The texts of all reports of this test; for a function that fails, its error."""
    reports = []
    for name, describe in vars(case).get(_ATTRIBUTE, ()):
        try:
            report = describe()
        except Exception as error:  # Whatever it is, the failure of the test matters more.
            report = f"(failed: {error})"
        reports.append(f"--- {name}:\n{report}\n")
    return "".join(reports)


class Reporter(TreeReporter):
    """Prints the reports of a failed test below its traceback."""

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._append_report(test)

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._append_report(test)

    def _append_report(self, test: Any) -> None:
        # What failed may be no test, such as a module that cannot be imported.
        self._write("%s", failure_report(test) if isinstance(test, unittest.TestCase) else "")
