"""docs/examples/callers.py: callers of each kind get their accounts and devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.model import Secret
from regsys.testing import standalone
from tests.support.examples import EXAMPLES, callers
from tests.support.patience import PATIENCE_S


class CallerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registration = standalone(self)

    def owner_of(self, token: Deferred[Secret]) -> tuple[str, str]:
        """The user and the device of a token that was made by now."""
        whose = self.registration.auth.whose(self.successResultOf(token))
        owner = self.successResultOf(Deferred.fromCoroutine(whose))
        return str(owner.user_id), owner.device_id

    def test_await(self) -> None:
        """A coroutine awaits the calls, and catches their refusals."""
        for user_id in ("@alice:test.example", "@alice2:test.example"):
            call = callers.with_await(self.registration.handler, "alice")
            self.assertEqual(self.owner_of(Deferred.fromCoroutine(call)), (user_id, "PHONE"))

    def test_inlineCallbacks(self) -> None:
        """A function of inlineCallbacks yields Deferreds of the calls, and catches refusals."""
        for user_id in ("@alice:test.example", "@alice2:test.example"):
            call = callers.with_yield(self.registration.handler, "alice")
            self.assertEqual(self.owner_of(call), (user_id, "PHONE"))

    def test_asyncio(self) -> None:
        """A program on asyncio's loop awaits futures of the calls, and catches refusals."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "callers.py")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertEqual(done.stdout.split(), ["@alice:example.org", "@alice2:example.org"])
