"""What importing regsys must not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

MODULES = (
    "regsys",
    "regsys.cli.commands",
    "regsys.interfaces",
    "regsys.processes.service",
    "regsys.wiring",
)


# Each is asked for when it is not there yet, and is the module itself.
SUBMODULES_PROGRAM = """
import regsys, sys
for name in ("errors", "model", "interfaces", "http", "testing"):
    assert name in dir(regsys), name
    assert "regsys." + name not in sys.modules, name
    assert getattr(regsys, name) is sys.modules["regsys." + name], name
"""


def run(program: str) -> str:
    """What another Python prints that runs this."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
        text=True,
    ).stdout


class ImportTests(SynchronousTestCase):
    def test_noReactor(self) -> None:
        """No reactor is installed: an embedder may choose one afterwards, and ``--processes``
        forks before there is one."""
        program = (
            f"import sys, {', '.join(MODULES)}\nprint('twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual(run(program), "False\n")

    def test_submodules(self) -> None:
        """``import regsys`` is enough for each public module, and imports none of them itself."""
        run(SUBMODULES_PROGRAM)
