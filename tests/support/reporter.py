"""What failed tests of real processes and pages can tell beyond their traceback."""

from __future__ import annotations

import unittest
from typing import Any, Callable

from twisted.trial.reporter import TreeReporter

# Where a test keeps them: (name, what it has to say) of each.
_ATTRIBUTE = "_witnesses"


def witness(case: unittest.TestCase, name: str, tell: Callable[[], str]) -> None:
    """Where ``case`` fails, what ``tell`` returns at that moment is printed too."""
    vars(case).setdefault(_ATTRIBUTE, []).append((name, tell))


def testimony(case: unittest.TestCase) -> str:
    """What all witnesses of this test have to say now; those who cannot tell say why."""
    told = []
    for name, tell in vars(case).get(_ATTRIBUTE, ()):
        try:
            said = tell()
        except Exception as error:  # Whatever it is, the failure of the test is the news.
            said = f"(cannot tell: {error})"
        told.append(f"--- {name}:\n{said}\n")
    return "".join(told)


class Reporter(TreeReporter):
    """Prints below a failed test what its witnesses have to say."""

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._hear(test)

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._hear(test)

    def _hear(self, test: Any) -> None:
        # What failed may be no test, such as a module that cannot be imported.
        self._write("%s", testimony(test) if isinstance(test, unittest.TestCase) else "")
