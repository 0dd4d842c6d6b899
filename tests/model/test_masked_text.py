"""Mail addresses in texts of other programs are masked before the texts are logged."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from regsys.model.identity import masked_text


class MaskedTextTests(SynchronousTestCase):
    def test_masked(self) -> None:
        """Every address is masked, whatever surrounds it; other words are unchanged."""
        text = "<alice@mail.example>: unknown; ask 'bob@mail.example' @ once (a@b@c)"
        masked = masked_text(text)
        for address in ("alice@", "bob@", "a@b"):
            self.assertNotIn(address, masked)
        self.assertIn("unknown; ask", masked)

    def test_longWord(self) -> None:
        """A very long word takes time proportional to its length."""
        began_s = time.thread_time()
        self.assertEqual(masked_text("x" * 300_000), "x" * 300_000)
        self.assertLess(time.thread_time() - began_s, 5)
