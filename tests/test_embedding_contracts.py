"""The example's own tests run as docs/embedding.md says, and its store passes the suites."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.examples import EXAMPLES

COMMAND = "python -m twisted.trial test_store test_homeserver"
SUITES = (
    "AccountTests",
    "DeviceTests",
    "AuthTests",
    "UserTests",
    "ThreepidTests",
    "HomeserverTests",
    "DoorCodeTests",
    "WelcomeTests",
    "DoorTests",
)


class SuiteTests(SynchronousTestCase):
    def test_passed(self) -> None:
        """The command in the document runs every suite that it names, and all tests pass."""
        document = (EXAMPLES.parent / "embedding.md").read_text()
        self.assertIn(f"    {COMMAND}\n", document)
        _, *trial, suites, tests = COMMAND.split()
        folder = os.path.abspath(self.mktemp())
        done = subprocess.run(
            [sys.executable, *trial, f"--temp-directory={folder}", suites, tests],
            cwd=EXAMPLES,
            env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        for suite in SUITES:
            self.assertRegex(done.stdout, rf"  {suite}\n    test_\w+ \.\.\. +\[OK\]")
        self.assertTrue(re.search(r"PASSED \(successes=\d\d\)", done.stdout), done.stdout)
