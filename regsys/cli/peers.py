"""What ``check-config --connect`` asks, and what can come of it."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Sequence
from urllib.parse import urlsplit

import attr

# For each request; all peers are asked at the same time.
DEADLINE_S = 5.0


class Unreachable(Exception):
    """A peer cannot be used; the text says why."""


class NotAsked(Exception):
    """Whether a peer can be used cannot be told now; the text says why, and what to do."""


@attr.frozen
class Peer:
    """``option``: the one that names it. ``ask`` raises Unreachable, NotAsked or NoAnswer, and may
    return warnings about a peer that can be used, a sentence each."""

    option: str
    place: str
    ask: Callable[[], Awaitable[Optional[Sequence[str]]]]


def without_secrets(url: str) -> str:
    """The URL without what may be a secret: a login, or a key in the path or the query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port: Optional[int] = parts.port
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"
