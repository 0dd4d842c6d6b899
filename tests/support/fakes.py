"""Whether a fake has the methods of the class that it replaces."""

from __future__ import annotations

import inspect
from typing import Any


def stands_for(real: type, fake: Any) -> None:
    """Raise AssertionError unless each public method that the fake has in common with ``real``
    takes the same arguments, and is awaited as that is; or if it has none in common."""
    shared = [
        name
        for name, method in inspect.getmembers(real, inspect.isfunction)
        if not name.startswith("_") and hasattr(fake, name)
    ]
    if not shared:
        raise AssertionError(f"{fake!r} has no method of {real.__name__}")
    for name in shared:
        ours, theirs = getattr(real, name), getattr(fake, name)
        wanted = list(inspect.signature(ours).parameters.values())[1:]
        given = list(inspect.signature(theirs).parameters.values())
        if [(it.name, it.kind, it.default) for it in wanted] != [
            (it.name, it.kind, it.default) for it in given
        ]:
            raise AssertionError(f"{real.__name__}.{name} takes {wanted}, the fake takes {given}")
        if inspect.iscoroutinefunction(ours) != inspect.iscoroutinefunction(theirs):
            raise AssertionError(f"only one of {real.__name__}.{name} and the fake is awaited")
