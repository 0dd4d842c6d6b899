"""How long tests wait for what must happen. It is a safety net and measures nothing: what has not
happened by then, on the slowest of machines, will not happen at all."""

from __future__ import annotations

import time
from typing import Callable

PATIENCE_S = 100.0
LOOK_S = 0.02


def until(done: Callable[[], object], describe: Callable[[], str] = str) -> None:
    """Return once ``done`` returns something true; if it never does, fail with ``describe()``."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {describe()}"
        time.sleep(LOOK_S)
