"""A failed test is printed with its reports."""

from __future__ import annotations

from io import StringIO
from typing import Any, Callable

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.reporter import Reporter, report_on_failure


def gone() -> str:
    raise OSError("it is gone")


def broken(case: Any) -> None:
    raise RuntimeError("broken")


class ReporterTests(SynchronousTestCase):
    def failed_output(self, base: Any, end: Callable[[Any], None]) -> str:
        """The output of a test that has reports and ends like this."""

        def test(case: Any) -> None:
            report_on_failure(case, "a service", lambda: "100% sure")
            report_on_failure(case, "a page", gone)
            end(case)

        stream = StringIO()
        type("Case", (base,), {"test": test})("test")(Reporter(stream))
        return stream.getvalue()

    def test_failed(self) -> None:
        """The reports are printed after a failure or an error; a report that fails prints its
        error."""
        for end in (lambda case: case.fail("refused"), broken):
            for base in (SynchronousTestCase, TestCase):
                failed_output = self.failed_output(base, end)
                self.assertIn("--- a service:\n100% sure\n", failed_output)
                self.assertIn("--- a page:\n(failed: it is gone)\n", failed_output)

    def test_passed(self) -> None:
        """After a test that passes they are not made."""
        self.assertNotIn("---", self.failed_output(SynchronousTestCase, lambda case: None))
