"""Times in the output of commands."""

from __future__ import annotations

from datetime import datetime, timezone

# The last second of the year 9999, the latest that datetime has.
LAST_MS = 253_402_300_799_000


def utc(moment_ms: int) -> str:
    """The time in UTC, to the second; one after the year 9999 as the end of that year."""
    moment = datetime.fromtimestamp(min(moment_ms, LAST_MS) / 1000, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(moment_ms: int, now_ms: int) -> str:
    """How long ago this was, in its largest unit: ``12 min``."""
    seconds = max(0, now_ms - moment_ms) // 1000
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
