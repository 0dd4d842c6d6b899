"""All tests in several processes: none is left out, none is run twice, none dies unseen."""

from __future__ import annotations

import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Iterator

from twisted.trial import unittest

import tests
from tests.support import shares


def _folders(path: Path, root: Path) -> Iterator[Path]:
    """Those that hold this file, up to the root."""
    return takewhile(lambda folder: folder != root.parent, path.parents)


class SharesTests(unittest.TestCase):
    def _plan(self, *names: str) -> Path:
        plan = Path(self.mktemp()).absolute()
        plan.write_text("".join(f"{name}\n" for name in names))
        return plan

    def test_modules(self) -> None:
        """Every file of tests is a module of the plan, once."""
        root = Path(tests.__path__[0])
        files = [
            ".".join(path.relative_to(root.parent).with_suffix("").parts)
            for path in root.rglob("test_*.py")
            if all((folder / "__init__.py").exists() for folder in _folders(path, root))
        ]
        self.assertEqual(sorted(shares.modules()), sorted(files))
        self.assertTrue(all(any(name.startswith(it) for name in files) for it in shares.LONGEST))
        self.assertEqual(set(shares.ALONE) - set(files), set())

    def test_eachOnce(self) -> None:
        """Two processes that take modules in turn get each of them once, and then none."""
        plan = self._plan("a", "b", "c")
        one, other = shares.taken(plan), shares.taken(plan)
        self.assertEqual([next(one), next(other), next(one)], ["a", "b", "c"])
        self.assertEqual([*one, *other], [])

    def test_counted(self) -> None:
        """What a process has run is counted, a module that cannot be imported as a failure."""
        plan = self._plan("tests.model.test_networks", "tests.test_there_is_none")
        share = shares.Share.start(plan, Path(self.mktemp()).absolute())
        with open(share.output or "", encoding="utf-8") as output:
            tally = share.wait()
            self.assertIn("test_there_is_none", output.read())
        self.assertEqual(tally.failed, 1)
        self.assertGreater(tally.passed, 0)
        self.assertIn("test_there_is_none does not exist", "".join(tally.reports))

    def test_death(self) -> None:
        """A process that dies is a failure, whatever it has run before."""
        share = shares.Share(
            subprocess.Popen([sys.executable, "-c", "raise SystemExit(0)"]),
            Path(self.mktemp()),
            None,
        )
        tally = share.wait()
        self.assertEqual((tally.failed, len(tally.reports)), (1, 1))
