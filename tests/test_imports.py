"""What importing regsys must not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

MODULES = ("regsys", "regsys.cli.commands", "regsys.interfaces", "regsys.service", "regsys.wiring")


class ImportTests(SynchronousTestCase):
    def test_noReactor(self) -> None:
        """No reactor is installed: an embedder may choose one afterwards, and ``--processes``
        forks before there is one."""
        program = (
            f"import sys, {', '.join(MODULES)}\nprint('twisted.internet.reactor' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual(done.stdout, "False\n")
