"""A failed test is told with what its witnesses have to say."""

from __future__ import annotations

from io import StringIO
from typing import Any, Callable

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.reporter import Reporter, witness


def gone() -> str:
    raise OSError("it is gone")


def broken(case: Any) -> None:
    raise RuntimeError("broken")


class ReporterTests(SynchronousTestCase):
    def told(self, base: Any, end: Callable[[Any], None]) -> str:
        """What is told of a test that has witnesses and ends like this."""

        def test(case: Any) -> None:
            witness(case, "a service", lambda: "100% sure")
            witness(case, "a page", gone)
            end(case)

        stream = StringIO()
        type("Case", (base,), {"test": test})("test")(Reporter(stream))
        return stream.getvalue()

    def test_failed(self) -> None:
        """What they say is told, be it a failure or an error; also that one cannot tell."""
        for end in (lambda case: case.fail("refused"), broken):
            for base in (SynchronousTestCase, TestCase):
                told = self.told(base, end)
                self.assertIn("--- a service:\n100% sure\n", told)
                self.assertIn("--- a page:\n(cannot tell: it is gone)\n", told)

    def test_passed(self) -> None:
        """Of a test that passes they are not asked."""
        self.assertNotIn("---", self.told(SynchronousTestCase, lambda case: None))
