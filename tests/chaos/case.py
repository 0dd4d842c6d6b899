"""What the proofs under faults share.

An everyday run does a tenth of each; ``python -m tests chaos`` does the whole, and prints what it
has reached.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests.support import checker, invariants
from tests.support.checker import Told
from tests.support.dialogues import Dialogues, Try
from tests.support.layouts import Layout
from tests.support.scale import SCALE

# Within it a client has an answer, whatever has become of the processes behind.
ANSWERED_S = 10.0


class ChaosCase(SynchronousTestCase):
    def clients(self, size: int, base_urls: Sequence[str], **more: Any) -> Dialogues:
        made = Dialogues(base_urls, size, **more)
        self.addCleanup(made.close)
        return made

    def assertKept(self, layout: Layout, told: Iterable[Told]) -> None:
        """Nothing is half-made, nothing that a client was told of is lost, nothing is double."""
        with contextlib.closing(connect(load([str(layout.config)]).database)) as connection:
            self.assertEqual(checker.broken(told, invariants.Tables(connection)), {})

    def assertNoTraceback(self, outputs: Iterable[str]) -> None:
        for output in outputs:
            self.assertNotIn("Traceback", output)

    def report(self, **figures: Any) -> None:
        """Print what was reached, in the long form."""
        if SCALE > 1:
            texts = [
                f"{name}={value:.2f}" if isinstance(value, float) else f"{name}={value}"
                for name, value in figures.items()
            ]
            print(f"\n*** {self.id().rpartition('chaos.')[2]}: {', '.join(texts)}", flush=True)


def slowest_s(tries: Iterable[Try], status: int) -> float:
    """How long the slowest answer of this status took; 0.0 if there was none."""
    return max((item.took_s for item in tries if item.status == status), default=0.0)
