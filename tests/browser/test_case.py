"""What happens on a machine without a browser."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import npm
from tests.browser import case
from tests.browser.case import BrowserCase


class AbsentTests(SynchronousTestCase):
    def set_up(self, ci: str) -> None:
        missing = mock.patch.object(case, "browser", side_effect=case.Missing("no browser"))
        with missing, mock.patch.dict(os.environ, {"CI": ci}):
            BrowserCase("setUp").setUp()

    def test_skipped(self) -> None:
        """Tests that need one are skipped, and say why."""
        with self.assertRaisesRegex(SkipTest, "no browser"):
            self.set_up("")

    def test_failedInCI(self) -> None:
        """In CI, where a skip would go unnoticed, they fail."""
        with self.assertRaisesRegex(self.failureException, "no browser"):
            self.set_up("true")

    def test_missing(self) -> None:
        """Neither a browser nor npm is required to exist."""
        with mock.patch.object(case.shutil, "which", return_value=None):
            with mock.patch.dict(os.environ, {"REGSYS_TEST_CHROMIUM": ""}):
                self.assertRaises(case.Missing, case.browser.__wrapped__)
            empty = Path(self.mktemp())
            empty.mkdir()
            (empty / "package-lock.json").touch()
            nowhere = mock.patch.object(npm, "HERE", empty)
            with nowhere, mock.patch.object(npm, "_wheel", return_value=None):
                self.assertRaises(case.Missing, npm.packages.__wrapped__)
                self.assertRaises(case.Missing, npm.node)
