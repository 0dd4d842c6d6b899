"""GET /health: the process answers, and its database is not lost."""

from __future__ import annotations

from typing import Callable

from regsys.errors import Unavailable
from regsys.http import Call, Endpoint, Reply


def health(is_lost: Callable[[], bool]) -> Endpoint:
    """``is_lost``: whether nothing can be stored until an operator intervenes. A database that is
    only away for a while leaves the process healthy."""

    async def get(call: Call) -> Reply:
        if is_lost():
            raise Unavailable()
        return Reply({"status": "ok"})

    return Endpoint("health", ("/health",), {"GET": get})
