"""GET /health: the process answers."""

from __future__ import annotations

from regsys.http import Call, Endpoint, Reply


def health() -> Endpoint:
    async def get(call: Call) -> Reply:
        return Reply({"status": "ok"})

    return Endpoint("health", ("/health",), {"GET": get})
