"""The SQL that chooses devices of a user."""

from __future__ import annotations

from regsys.model.devices import WhichDevices


def condition(column: str, which: WhichDevices) -> tuple[str, tuple[str, ...]]:
    """What is added to a WHERE that names the user, and its values; ``column`` has the device."""
    if which.ids is not None:
        # No id is the empty string: this list must not be empty.
        ids = sorted(which.ids) or [""]
        return f" AND {column} IN ({', '.join('?' * len(ids))})", tuple(ids)
    if which.keeping is not None:
        return f" AND {column} <> ?", (which.keeping,)
    return "", ()
