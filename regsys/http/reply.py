"""Replies: what handlers return, what errors become, and the headers of each kind of body.

All security headers of pages are here (contract B8.10, threat A12).
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any, AsyncGenerator, Callable, Iterable, Mapping, Optional, Union

import attr
from twisted.web.iweb import IRequest

from regsys.errors import RegistrationError

CORS_HEADERS = (
    (b"Access-Control-Allow-Origin", [b"*"]),
    (b"Access-Control-Allow-Methods", [b"GET, HEAD, POST, PUT, DELETE, OPTIONS"]),
    (b"Access-Control-Allow-Headers", [b"X-Requested-With, Content-Type, Authorization"]),
)
Headers = tuple[tuple[bytes, list[bytes]], ...]

# Answers hold tokens, and pages lead to them: no cache may keep them.
NO_STORE = (b"Cache-Control", [b"no-cache, no-store, must-revalidate"])
NOSNIFF = (b"X-Content-Type-Options", [b"nosniff"])
JSON_HEADERS: Headers = (
    *CORS_HEADERS,
    NO_STORE,
    NOSNIFF,
    (b"Content-Type", [b"application/json"]),
)
# No Cross-Origin-Opener-Policy: it would cut a fallback page off from the client that opened it.
PAGE_HEADERS: Headers = (
    NO_STORE,
    NOSNIFF,
    (b"Content-Type", [b"text/html; charset=utf-8"]),
    (b"X-Frame-Options", [b"DENY"]),
    (b"Referrer-Policy", [b"no-referrer"]),
)
# What every page may do: load our styles and pictures, and send its form to us.
PAGE_POLICY: Mapping[str, tuple[str, ...]] = {
    "default-src": ("'none'",),
    "style-src": ("'self'",),
    "img-src": ("'self'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'none'",),
    "base-uri": ("'none'",),
}
# Without CORS: no web page may read it.
TEXT_HEADERS: Headers = (NO_STORE, NOSNIFF)
# Static files hold no secrets, and their URLs change with their content.
FILE_HEADERS: Headers = (
    (b"Cache-Control", [b"public, max-age=604800, immutable"]),
    NOSNIFF,
)
# An SVG is a document: one that is opened by itself could run a script of its author's as ours.
SVG = "image/svg+xml"
SVG_POLICY = (
    b"Content-Security-Policy",
    [b"default-src 'none'; style-src 'unsafe-inline'; sandbox"],
)

# ASCII only, so that any string can be encoded.
encode_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


@attr.frozen
class Page:
    """An HTML page. ``sources``: what it may load or run besides ``PAGE_POLICY``, by directive."""

    html: str = attr.field(repr=False)
    sources: Mapping[str, tuple[str, ...]] = attr.field(factory=dict)


@attr.frozen
class File:
    """A static file of pages; ``type`` is its media type."""

    content: bytes = attr.field(repr=False)
    type: str


@attr.frozen
class Text:
    """Text for programs other than clients; ``type`` is its media type."""

    content: bytes = attr.field(repr=False)
    type: str


@attr.frozen
class LongJSON:
    """JSON that is too long to be made at once. Other requests are served whenever ``pieces``
    awaits something, and no more pieces are made once the client has disconnected."""

    pieces: AsyncGenerator[str, None] = attr.field(repr=False)


Body = Union[Mapping[str, Any], Page, File, Text, LongJSON]


@attr.frozen
class Reply:
    """An answer: its body (a mapping becomes JSON), its status, and headers besides those of its
    kind of body. ``refused``: why it is a refusal, for the log alone; None if it is none, or if the
    body has an ``errcode``."""

    body: Body = attr.field(factory=dict, repr=False)
    status: int = 200
    headers: Mapping[str, str] = attr.field(factory=dict)
    refused: Optional[str] = attr.field(default=None, repr=False)


INTERNAL_ERROR = Reply({"errcode": "M_UNKNOWN", "error": "Internal server error"}, 500)


def refusal(error: RegistrationError) -> Reply:
    """The answer for an error; ``retry_after_ms`` is also a header, in seconds, rounded up."""
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    reason = f"{error.errcode}: {error.reason or error.text}"
    return Reply(error.body, error.status, headers, reason)


async def render(reply: Reply, is_wanted: Callable[[], bool]) -> tuple[bytes, Headers]:
    """As ``rendered``, also for LongJSON, as long as it ``is_wanted``."""
    if not isinstance(reply.body, LongJSON):
        return rendered(reply)
    pieces: list[str] = []
    async with aclosing(reply.body.pieces) as more:
        async for piece in more:
            if not is_wanted():
                break
            pieces.append(piece)
    return "".join(pieces).encode("ascii"), JSON_HEADERS


def rendered(reply: Reply) -> tuple[bytes, Headers]:
    """The bytes of a body and the headers of its kind. ValueError if it cannot be JSON."""
    body = reply.body
    if isinstance(body, LongJSON):
        raise TypeError("LongJSON must be awaited: use render")
    if isinstance(body, Page):
        policy = (b"Content-Security-Policy", [_policy(body.sources).encode("ascii")])
        return body.html.encode("utf-8"), (*PAGE_HEADERS, policy)
    if isinstance(body, (File, Text)):
        headers = FILE_HEADERS if isinstance(body, File) else TEXT_HEADERS
        headers = (*headers, SVG_POLICY) if body.type == SVG else headers
        return body.content, (*headers, (b"Content-Type", [body.type.encode("ascii")]))
    return encode_json(body).encode("ascii"), JSON_HEADERS


def write(request: IRequest, reply: Reply, content: bytes, headers: Headers) -> None:
    """Send ``reply``, which was rendered as ``content`` and ``headers``; the caller finishes the
    request."""
    request.setResponseCode(reply.status)
    set_header = request.responseHeaders.setRawHeaders
    for name, values in headers:
        set_header(name, values)
    set_header(b"Content-Length", [b"%d" % len(content)])
    for extra, value in reply.headers.items():
        set_header(extra, [value])
    request.write(content)


def _policy(sources: Mapping[str, Iterable[str]]) -> str:
    merged = {name: list(own) for name, own in PAGE_POLICY.items()}
    for name, more in sources.items():
        merged.setdefault(name, []).extend(more)
    return "; ".join(f"{name} {' '.join(dict.fromkeys(own))}" for name, own in merged.items())
