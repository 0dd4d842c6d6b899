"""How much the long tests do: REGSYS_TEST_SCALE times what is enough for a run of every day."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("REGSYS_TEST_SCALE", "1"))

# Of races whose rounds nothing demands, beside siblings that are run twenty times.
FEW_ROUNDS = 5 * SCALE
