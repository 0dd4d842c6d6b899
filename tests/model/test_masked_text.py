"""Mail addresses in somebody's words are masked before the words are logged."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from regsys.model import masked_text


class MaskedTextTests(SynchronousTestCase):
    def test_masked(self) -> None:
        """Each address is, whatever stands around it; other words stay as they are."""
        text = "<alice@mail.example>: unknown; ask 'bob@mail.example' @ once (a@b@c)"
        told = masked_text(text)
        for address in ("alice@", "bob@", "a@b"):
            self.assertNotIn(address, told)
        self.assertIn("unknown; ask", told)

    def test_longWord(self) -> None:
        """A very long word takes no more time than its length."""
        began_s = time.thread_time()
        self.assertEqual(masked_text("x" * 300_000), "x" * 300_000)
        self.assertLess(time.thread_time() - began_s, 5)
