"""How much the long tests do: REGSYS_TEST_SCALE times the amount of an everyday run."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

SCALE = int(os.environ.get("REGSYS_TEST_SCALE", "1"))

# For races that no requirement gives a number of rounds, beside siblings that run twenty.
FEW_ROUNDS = 5 * SCALE


def examples(count: int, **more: Any) -> Any:
    """Hypothesis' settings for so many examples, however long each takes: the same each time, so
    that a failure is caused by the change; with a scale above 1 more, and different ones."""
    return settings(
        max_examples=count * SCALE,
        derandomize=SCALE == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
