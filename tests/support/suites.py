"""Runs suites within a test, to see what they say."""

from __future__ import annotations

import unittest
from typing import Any, Iterator

from twisted.trial.reporter import TestResult
from twisted.trial.runner import TestLoader


def first_failure(*suites: type[unittest.TestCase]) -> str:
    """The first test of these suites that fails, and why; empty if all pass."""
    result = TestResult()
    for suite in suites:
        for test in _tests(TestLoader().loadClass(suite)):
            test.run(result)
            if not result.wasSuccessful():
                return f"{test.id()}: {[*result.failures, *result.errors][0][1]}"
    return ""


def _tests(found: Any) -> Iterator[Any]:
    if isinstance(found, unittest.TestCase):
        yield found
    else:
        for item in found:
            yield from _tests(item)
