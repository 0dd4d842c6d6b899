"""How long tests wait for what is sure to come. It is a net under them and no measure: what takes
so long on the slowest of machines will not come at all."""

from __future__ import annotations

import time
from typing import Callable

PATIENCE_S = 100.0
LOOK_S = 0.02


def until(done: Callable[[], object], told: Callable[[], str] = str) -> None:
    """Return once ``done`` says something true; if it never does, fail with what is ``told``."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {told()}"
        time.sleep(LOOK_S)
