"""How much the long tests do: REGSYS_TEST_SCALE times what is enough for a run of every day."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

SCALE = int(os.environ.get("REGSYS_TEST_SCALE", "1"))

# Of races whose rounds nothing demands, beside siblings that are run twenty times.
FEW_ROUNDS = 5 * SCALE


def examples(count: int, **more: Any) -> Any:
    """Hypothesis' settings for so many examples, however long each takes: the same each time, so
    that a failure is the change's own; with a scale above 1 more, and other ones."""
    return settings(
        max_examples=count * SCALE,
        derandomize=SCALE == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
