"""Answers: what handlers return, what refusals become, and the headers of all of them."""

from __future__ import annotations

import json
from typing import Any, Mapping

import attr
from twisted.web.iweb import IRequest

from regsys.errors import RegistrationError

CORS_HEADERS = (
    (b"Access-Control-Allow-Origin", [b"*"]),
    (b"Access-Control-Allow-Methods", [b"GET, HEAD, POST, PUT, DELETE, OPTIONS"]),
    (b"Access-Control-Allow-Headers", [b"X-Requested-With, Content-Type, Authorization"]),
)
# Answers hold tokens: nothing on the way may keep or reinterpret them.
SAFETY_HEADERS = (
    (b"Cache-Control", [b"no-cache, no-store, must-revalidate"]),
    (b"X-Content-Type-Options", [b"nosniff"]),
)
JSON_HEADERS = (*CORS_HEADERS, *SAFETY_HEADERS, (b"Content-Type", [b"application/json"]))

# ASCII only, so that no string, however odd, can fail to be written.
encode_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


@attr.frozen
class Reply:
    """An answer: its JSON body, its status, and headers beside those that all have."""

    body: Mapping[str, Any] = attr.field(factory=dict, repr=False)
    status: int = 200
    headers: Mapping[str, str] = attr.field(factory=dict)


INTERNAL_ERROR = Reply({"errcode": "M_UNKNOWN", "error": "Internal server error"}, 500)


def refusal(error: RegistrationError) -> Reply:
    """How a client is told; ``retry_after_ms`` is a header too, in seconds rounded up."""
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    body = {"errcode": error.errcode, "error": error.text, **error.extra}
    return Reply(body, error.status, headers)


def write(request: IRequest, reply: Reply, content: bytes) -> None:
    """Send ``reply``, whose body is ``content`` in JSON. The request is not finished by it."""
    request.setResponseCode(reply.status)
    set_header = request.responseHeaders.setRawHeaders
    for name, values in JSON_HEADERS:
        set_header(name, values)
    set_header(b"Content-Length", [b"%d" % len(content)])
    for extra, value in reply.headers.items():
        set_header(extra, [value])
    request.write(content)
