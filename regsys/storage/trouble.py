"""What an error of a database means for the caller."""

from __future__ import annotations

import enum


class Trouble(enum.Enum):
    """What a driver's exception means for the caller."""

    RETRY = "retry"  # a conflict with another transaction: a retry may work at once
    LOST = "lost"  # the connection is gone; whether a commit happened is unknown
    DOWN = "down"  # the database cannot do it now: full, read-only, locked, not reachable
    BUG = "bug"  # our statement is wrong
