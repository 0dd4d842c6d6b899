"""The public names: few enough to be read in one sitting, and all that the examples need."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

import regsys

PUBLIC = (
    "regsys",
    "regsys.interfaces",
    "regsys.model",
    "regsys.errors",
    "regsys.http",
    "regsys.testing",
    "regsys.testing.contracts",
)
# The values of the contract suites, for tests beside them.
VALUES = "regsys.testing.contracts.case"
EXAMPLES = Path(__file__).parent.parent / "docs/examples"
MOST = 135


def imported(source: str) -> Iterator[tuple[str, str]]:
    """The names of regsys that a program imports, each with its module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "regsys":
            for alias in node.names:
                yield str(node.module), alias.name


class PublicNameTests(SynchronousTestCase):
    def test_count(self) -> None:
        """An embedder has this many names to choose from. One more needs a reason."""
        names = [name for module in PUBLIC for name in importlib.import_module(module).__all__]
        self.assertLessEqual(len(names), MOST, sorted(names))

    def test_exist(self) -> None:
        """Each exists, and the modules' docstring lists these modules."""
        for module in PUBLIC:
            for name in importlib.import_module(module).__all__:
                self.assertTrue(hasattr(importlib.import_module(module), name), name)
        for module in PUBLIC[1:-1]:
            self.assertIn(f"``{module}``", str(regsys.__doc__))

    def test_examples(self) -> None:
        """The examples, which are written as an embedder writes, import nothing else."""
        for path in EXAMPLES.glob("*.py"):
            for module, name in imported(path.read_text()):
                if module == VALUES:
                    continue
                self.assertIn(module, PUBLIC, path.name)
                self.assertIn(name, importlib.import_module(module).__all__, path.name)
