"""Type checkers know every public name: right uses pass, wrong ones are reported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Invalid

import regsys
import twisted
from regsys.interfaces import IAuth
from regsys.testing import provides
from tests.typing import parts

ROOT = Path(__file__).parent.parent.parent
USES = Path(__file__).with_name("uses.py")
ERROR = re.compile(r"^\S+:(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)


def mypy(*arguments: str) -> str:
    """The output of ``mypy --strict``, with the project's own settings."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout


class PublicNameTests(SynchronousTestCase):
    if tuple(map(int, twisted.__version__.split(".")[:2])) < (26, 4):
        skip = "mypy judges us by Twisted's own types, which are others before 26.4."

    def judged(self, path: Path) -> None:
        """mypy refuses exactly those lines of the file that are marked as mistakes."""
        lines = path.read_text("utf-8").splitlines()
        marked = {
            (number, line.rpartition("# error: ")[2])
            for number, line in enumerate(lines, 1)
            if "  # error: " in line
        }
        output = mypy(str(path.relative_to(ROOT)))
        found = {(int(match["line"]), match["code"]) for match in ERROR.finditer(output)}
        self.assertEqual(found, marked, output)

    def test_usesAreJudged(self) -> None:
        """Of the uses in uses.py mypy refuses exactly those that are marked as mistakes."""
        self.judged(USES)

    def test_partsAreJudged(self) -> None:
        """Of the parts of a homeserver in parts.py, too; ``provides`` finds what it overlooks."""
        self.judged(USES.with_name("parts.py"))
        provides(IAuth, parts.Deferring())
        for overlooked in (parts.Renamed(), parts.Untyped()):
            with self.assertRaises((AssertionError, Invalid, TypeError)):
                provides(IAuth, overlooked)

    def test_examples(self) -> None:
        """The programs of docs/examples pass, with the options that docs/typing.md has."""
        sources = sorted((ROOT / "docs/examples").glob("*.py"))
        # In regsys itself some ignores are for untyped calls.
        options = ("--allow-untyped-calls", "--no-warn-unused-ignores")
        output = mypy(*options, *(str(path.relative_to(ROOT)) for path in sources))
        self.assertIn("Success", output)

    def test_noNameIsAny(self) -> None:
        """mypy knows the type of every public name."""
        lines = ["import regsys", *(f"reveal_type(regsys.{name})" for name in regsys.__all__)]
        Path("names.py").write_text("\n".join(lines), "utf-8")
        output = mypy(str(Path("names.py").resolve()))
        types = re.findall(r'note: Revealed type is "(.*)"', output)
        self.assertEqual(len(types), len(regsys.__all__), output)
        self.assertNotIn("Any", types, output)

    def test_everyNameIsUsed(self) -> None:
        """uses.py has a use of each public name."""
        uses = USES.read_text("utf-8")
        self.assertEqual([name for name in regsys.__all__ if f"regsys.{name}" not in uses], [])

    def test_everyNameIsThere(self) -> None:
        """At run time each public name is imported when it is used, and listed by dir()."""
        for name in regsys.__all__:
            self.assertIsNotNone(getattr(regsys, name), name)
            self.assertIn(name, dir(regsys))
        with self.assertRaisesRegex(AttributeError, "regsys.*'registrate'"):
            regsys.registrate  # type: ignore[attr-defined]  # noqa: B018

    def test_nothingIsLoadedAhead(self) -> None:
        """Importing regsys loads none of its modules."""
        program = "import regsys, sys; print([m for m in sys.modules if m.startswith('regsys.')])"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout.strip(), "[]")
