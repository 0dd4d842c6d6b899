"""Bodies, JSON's and forms': parsed strictly, then read by key and type (contract B13, B16.2).

A refusal names the key and never the value. Null for a key that may be left out counts as left
out, because known tools send it; for a required key it is a wrong type.
"""

from __future__ import annotations

import json
import math
from typing import Any, Mapping, NoReturn, Optional, TypeVar
from urllib.parse import parse_qsl

from regsys.errors import BadJSON, InvalidParam, InvalidUsername, MissingParam, NotJSON

T = TypeVar("T")

# No honest request nests deeper, and what is remembered of one is written as JSON again.
MAX_DEPTH = 64
# No form of ours has as many fields.
MAX_FIELDS = 100
# Characters of a user name and of a password, at most (contract B13).
MAX_NAME = 512
MAX_PASSWORD = 512
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
# These may be left out, but null is a wrong type for them (contract B13).
NEVER_NULL = frozenset({"username", "refresh_token"})


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object that ``raw`` holds; of duplicate keys the last wins.

    NotJSON: not UTF-8 (a byte order mark included), not JSON (NaN and Infinity included),
    numbers or nesting without measure. BadJSON: JSON, but no object. InvalidParam, or
    InvalidUsername for ``username``: a string or key holds NUL or a lone surrogate.
    """
    try:
        body = _decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NotJSON() from None  # its cause would quote the body
    if not isinstance(body, dict):
        raise BadJSON("The body must be a JSON object.")
    # Only an escape can bring NUL or a surrogate into a string, because the bytes were
    # UTF-8 and JSON allows no control characters; only brackets make depth.
    if b"\\u" in raw or raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _inspect(body)
    return body


def parse_form(raw: bytes) -> dict[str, str]:
    """The fields of an urlencoded form; of duplicates the last wins.

    InvalidParam: not UTF-8, or NUL in it, or fields without number.
    """
    try:
        pairs = parse_qsl(
            raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise InvalidParam("This form cannot be read.") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise InvalidParam("A field contains a character that is not allowed.")
    return dict(pairs)


def has(body: Mapping[str, Any], key: str) -> bool:
    """Whether the body brings this key, which may be left out: as null it does not."""
    return key in body and (body[key] is not None or key in NEVER_NULL)


def given(body: Mapping[str, Any]) -> set[str]:
    """The keys that the body brings, as ``has`` tells of each."""
    return {key for key, value in body.items() if value is not None or key in NEVER_NULL}


def string(body: Mapping[str, Any], key: str, *, limit: Optional[int] = None) -> Optional[str]:
    """The string under ``key``, at most ``limit`` characters long; None if there is none.

    BadJSON: not a string. InvalidParam: too long.
    """
    value = _typed(body, key, str, "a string")
    if value is not None and limit is not None and len(value) > limit:
        raise InvalidParam(f"'{key}' must have at most {limit} characters.")
    return value


def required_string(body: Mapping[str, Any], key: str, *, limit: Optional[int] = None) -> str:
    """As ``string``; MissingParam if there is none, BadJSON for null."""
    return _required(body, key, string(body, key, limit=limit), "a string")


def boolean(body: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """The boolean under ``key``, or ``default``. BadJSON: something else."""
    value = _typed(body, key, bool, "true or false")
    return default if value is None else value


def integer(body: Mapping[str, Any], key: str) -> Optional[int]:
    """The integer under ``key``; None if there is none.

    BadJSON: something else (booleans and floats included). InvalidParam: it does not fit
    64 bits.
    """
    value = _typed(body, key, int, "an integer")
    if value is not None and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise InvalidParam(f"'{key}' is out of range.")
    return value


def required_integer(body: Mapping[str, Any], key: str) -> int:
    """As ``integer``; MissingParam if there is none, BadJSON for null."""
    return _required(body, key, integer(body, key), "an integer")


def mapping(body: Mapping[str, Any], key: str) -> Optional[dict[str, Any]]:
    """The object under ``key``; None if there is none. BadJSON: something else."""
    return _typed(body, key, dict, "an object")


def _typed(body: Mapping[str, Any], key: str, kind: type[T], name: str) -> Optional[T]:
    value = body.get(key)
    if value is None and not has(body, key):
        return None
    if type(value) is not kind:  # isinstance would take True for an integer
        raise BadJSON(f"'{key}' must be {name}.")
    return value


def _required(body: Mapping[str, Any], key: str, value: Optional[T], name: str) -> T:
    if value is not None:
        return value
    if key in body:
        raise BadJSON(f"'{key}' must be {name}.")
    raise MissingParam(f"'{key}' is missing.")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    """1e999 is JSON, but as infinity it could not be written as JSON again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError("out of range")
    return number


_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def _inspect(body: dict[str, Any]) -> None:
    """Look at every string, a level at a time: recursion could be driven too deep."""
    username = body.get("username")
    if isinstance(username, str) and not _is_text(username):
        raise InvalidUsername()
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inside = [item for container in level for item in _items(container)]
        if not all(_is_text(item) for item in inside if isinstance(item, str)):
            raise InvalidParam("A string contains a character that is not allowed.")
        level = [item for item in inside if isinstance(item, (dict, list))]
        if not level:
            return
    raise NotJSON("The JSON is nested too deeply.")


def _items(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else container


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in value
