"""Answers: what handlers return, what refusals become, and the headers of all of them.

The headers that keep pages safe are here and nowhere else (contract B8.10, threat A12).
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

# Answers hold tokens, and pages the way to them: nobody on the way may keep them.
KEPT_BY_NOBODY = (b"Cache-Control", [b"no-cache, no-store, must-revalidate"])
AS_IT_SAYS = (b"X-Content-Type-Options", [b"nosniff"])
JSON_HEADERS: Headers = (
    *CORS_HEADERS,
    KEPT_BY_NOBODY,
    AS_IT_SAYS,
    (b"Content-Type", [b"application/json"]),
)
# No Cross-Origin-Opener-Policy: it would cut a fallback page off from the client that opened it.
PAGE_HEADERS: Headers = (
    KEPT_BY_NOBODY,
    AS_IT_SAYS,
    (b"Content-Type", [b"text/html; charset=utf-8"]),
    (b"X-Frame-Options", [b"DENY"]),
    (b"Referrer-Policy", [b"no-referrer"]),
)
# What a page may do unless it asks for more: be styled and send its form, both with us alone.
PAGE_POLICY: Mapping[str, tuple[str, ...]] = {
    "default-src": ("'none'",),
    "style-src": ("'self'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'none'",),
    "base-uri": ("'none'",),
}
# For programs that are no browsers: no web page may read it.
TEXT_HEADERS: Headers = (KEPT_BY_NOBODY, AS_IT_SAYS)
# The files of pages hold no secrets, and their addresses change with them.
FILE_HEADERS: Headers = (
    (b"Cache-Control", [b"public, max-age=604800, immutable"]),
    AS_IT_SAYS,
)

# ASCII only, so that no string, however odd, can fail to be written.
encode_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


@attr.frozen
class Page:
    """A page for people, in HTML. ``sources`` are what it may load or run beside
    ``PAGE_POLICY``, by directive."""

    html: str = attr.field(repr=False)
    sources: Mapping[str, tuple[str, ...]] = attr.field(factory=dict)


@attr.frozen
class File:
    """A file that belongs to pages; ``type`` is its media type."""

    content: bytes = attr.field(repr=False)
    type: str


@attr.frozen
class Text:
    """Text for programs other than clients; ``type`` is its media type."""

    content: bytes = attr.field(repr=False)
    type: str


@attr.frozen
class LongJSON:
    """JSON that is too long to be made at once, piece by piece: others are served in between, as
    often as ``pieces`` waits for something, and no more is made once the client has left."""

    pieces: AsyncGenerator[str, None] = attr.field(repr=False)


Body = Union[Mapping[str, Any], Page, File, Text, LongJSON]


@attr.frozen
class Reply:
    """An answer: its body (a mapping becomes JSON), its status, and headers beside those that
    its kind of body brings. ``refused``: why it is a refusal, for the log alone; None where it is
    none, or where the body has an ``errcode`` and tells."""

    body: Body = attr.field(factory=dict, repr=False)
    status: int = 200
    headers: Mapping[str, str] = attr.field(factory=dict)
    refused: Optional[str] = attr.field(default=None, repr=False)


INTERNAL_ERROR = Reply({"errcode": "M_UNKNOWN", "error": "Internal server error"}, 500)


def refusal(error: RegistrationError) -> Reply:
    """How a client is told; ``retry_after_ms`` is a header too, in seconds rounded up."""
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    body = {"errcode": error.errcode, "error": error.text, **error.extra}
    return Reply(body, error.status, headers, f"{error.errcode}: {error.reason or error.text}")


async def render(reply: Reply, is_wanted: Callable[[], bool]) -> tuple[bytes, Headers]:
    """As ``rendered``, also what takes its time, as long as it ``is_wanted``."""
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
    """The bytes of a body and the headers of its kind. ValueError: it cannot be JSON."""
    body = reply.body
    if isinstance(body, LongJSON):
        raise TypeError("it takes its time: await render")
    if isinstance(body, Page):
        policy = (b"Content-Security-Policy", [_policy(body.sources).encode("ascii")])
        return body.html.encode("utf-8"), (*PAGE_HEADERS, policy)
    if isinstance(body, (File, Text)):
        headers = FILE_HEADERS if isinstance(body, File) else TEXT_HEADERS
        return body.content, (*headers, (b"Content-Type", [body.type.encode("ascii")]))
    return encode_json(body).encode("ascii"), JSON_HEADERS


def write(request: IRequest, reply: Reply, content: bytes, headers: Headers) -> None:
    """Send ``reply``, which was rendered as ``content`` and ``headers``. The request is not
    finished by it."""
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
