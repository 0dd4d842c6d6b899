"""What one process owns, and what it shares with others on its machine."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.credentials import hashing
from regsys.credentials.hashing import LEAST_WAITING, WAITING, HashingThreads
from regsys.testing import config
from regsys.wiring.process import hashing_pool


class SharedCoresTests(SynchronousTestCase):
    def test_threads(self) -> None:
        """Several processes divide the cores: each has a thread at least."""
        self.patch(hashing, "usable_cores", lambda: 4)
        sizes = [HashingThreads(None, processes=count).size for count in (1, 2, 3, 8)]  # type: ignore[arg-type]
        self.assertEqual(sizes, [4, 2, 1, 1])

    def test_waiting(self) -> None:
        """They divide the places for passwords that wait, too."""
        limits = [
            hashing_pool(config(), lambda: None, 1, processes=count).waiting_limit
            for count in (1, 2, 64)
        ]
        self.assertEqual(limits, [WAITING, WAITING // 2, LEAST_WAITING])
