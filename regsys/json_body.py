"""JSON bodies and forms: parsed strictly, then read by key and type (contract B13, B16.2).

An error names the key, never the value. Null for an optional key counts as left out, because known
tools send it; for a required key it is a wrong type.
"""

from __future__ import annotations

import json
import math
from typing import Any, Mapping, NoReturn, Optional, TypeVar
from urllib.parse import parse_qsl

from regsys.errors import BadJSON, InvalidParam, InvalidUsername, MissingParam, NotJSON

T = TypeVar("T")

# No real request nests deeper; sessions write parts of one as JSON again.
MAX_DEPTH = 64
# No form of ours has as many fields.
MAX_FIELDS = 100
# The most characters of a user name and of a password (contract B13).
MAX_NAME = 512
MAX_PASSWORD = 512
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
# Optional keys for which null is a wrong type all the same (contract B13).
NEVER_NULL = frozenset({"username", "refresh_token"})


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in ``raw``; the last of duplicate keys wins.

    Raises NotJSON for what is not UTF-8 (or has a byte order mark), not JSON (NaN and Infinity
    included), too large a number or too deep; BadJSON for JSON that is no object; InvalidParam, or
    InvalidUsername for ``username``, if a string or key holds NUL or a lone surrogate.
    """
    try:
        body = _decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NotJSON() from None  # the cause would quote the body
    if not isinstance(body, dict):
        raise BadJSON("The body must be a JSON object.")
    # The bytes are UTF-8, and JSON allows no control characters: only an escape can make a NUL or a
    # surrogate, and only brackets nest.
    if b"\\u" in raw or raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _inspect(body)
    return body


def parse_form(raw: bytes) -> dict[str, str]:
    """The fields of an urlencoded form; the last of duplicates wins.

    Raises InvalidParam if it is not UTF-8, holds NUL or has too many fields.
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
    """Whether the body has this optional key, other than as null."""
    return key in body and (body[key] is not None or key in NEVER_NULL)


def given(body: Mapping[str, Any]) -> set[str]:
    """The keys that the body brings, as ``has`` tells of each."""
    return {key for key, value in body.items() if value is not None or key in NEVER_NULL}


def string(body: Mapping[str, Any], key: str, *, limit: Optional[int] = None) -> Optional[str]:
    """The string under ``key``; None if there is none.

    Raises BadJSON if it is not a string, InvalidParam if it has more than ``limit`` characters.
    """
    value = _typed(body, key, str, "a string")
    if value is not None and limit is not None and len(value) > limit:
        raise InvalidParam(f"'{key}' must have at most {limit} characters.")
    return value


def required_string(body: Mapping[str, Any], key: str, *, limit: Optional[int] = None) -> str:
    """As ``string``; MissingParam if there is none, BadJSON for null."""
    return _required(body, key, string(body, key, limit=limit), "a string")


def boolean(body: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """The boolean under ``key``, or ``default``; BadJSON for any other type."""
    value = _typed(body, key, bool, "true or false")
    return default if value is None else value


def integer(body: Mapping[str, Any], key: str) -> Optional[int]:
    """The integer under ``key``; None if there is none.

    Raises BadJSON for any other type (booleans and floats included), InvalidParam if it does not
    fit 64 bits.
    """
    value = _typed(body, key, int, "an integer")
    if value is not None and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise InvalidParam(f"'{key}' is out of range.")
    return value


def required_integer(body: Mapping[str, Any], key: str) -> int:
    """As ``integer``; MissingParam if there is none, BadJSON for null."""
    return _required(body, key, integer(body, key), "an integer")


def mapping(body: Mapping[str, Any], key: str) -> Optional[dict[str, Any]]:
    """The object under ``key``; None if there is none. BadJSON for any other type."""
    return _typed(body, key, dict, "an object")


def _typed(body: Mapping[str, Any], key: str, kind: type[T], name: str) -> Optional[T]:
    value = body.get(key)
    if value is None and (key not in NEVER_NULL or key not in body):
        return None  # as ``has``, which would be one more call for each key of each request
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
    """The number; ValueError for one such as 1e999, as infinity could not be written as JSON."""
    number = float(text)
    if math.isinf(number):
        raise ValueError("out of range")
    return number


_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def _inspect(body: dict[str, Any]) -> None:
    """Check every string, level by level: a client could drive recursion too deep."""
    username = body.get("username")
    if isinstance(username, str) and not is_text(username):
        raise InvalidUsername()
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inside = [item for container in level for item in _items(container)]
        if not all(is_text(item) for item in inside if isinstance(item, str)):
            raise InvalidParam("A string contains a character that is not allowed.")
        level = [item for item in inside if isinstance(item, (dict, list))]
        if not level:
            return
    raise NotJSON("The JSON is nested too deeply.")


def _items(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else container


def is_text(value: str) -> bool:
    """Whether a string can be stored: it has neither NUL nor a lone surrogate."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in value
