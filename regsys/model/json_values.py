"""JSON that an embedder hands to regsys, checked where it comes in."""

from __future__ import annotations

import math
from typing import Any, Mapping

# As deep as a request's body may be.
MAX_DEPTH = 64


def json_object(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the object ``name``, as JSON would give it back: mappings are dicts, tuples lists.

    Raises TypeError or ValueError for what JSON cannot hold; the text names the place.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a JSON object (a dict), not {type(value).__name__}")
    return _object(name, value, MAX_DEPTH)


def _object(place: str, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{place} must have keys of type str, not {type(key).__name__}")
    return {key: _copy(f"{place}[{key!r}]", item, depth - 1) for key, item in value.items()}


def _copy(place: str, value: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError(f"{place} is nested too deeply, or contains itself")
    if value is None or isinstance(value, (str, int)):  # bool is an int
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{place} must be a number that JSON has, not {value}")
        return value
    if isinstance(value, Mapping):
        return _object(place, value, depth)
    if isinstance(value, (list, tuple)):
        return [_copy(f"{place}[{at}]", item, depth - 1) for at, item in enumerate(value)]
    raise TypeError(f"{place} must be JSON, which has no {type(value).__name__}")
