"""GET /health and GET /metrics, for those who run the service."""

from __future__ import annotations

from typing import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from regsys.errors import Unavailable
from regsys.http import Call, Endpoint, Reply
from regsys.http.reply import Text


def health(is_lost: Callable[[], bool]) -> Endpoint:
    """``is_lost``: whether nothing can be stored until an operator intervenes. A database that is
    only away for a while leaves the process healthy."""

    async def get(call: Call) -> Reply:
        if is_lost():
            raise Unavailable()
        return Reply({"status": "ok"})

    return Endpoint("health", ("/health",), {"GET": get})


def exposition(metrics: Collector) -> Endpoint:
    """For scrapers only: the listener decides who may reach it. Scrapers of homeservers use the
    first path, Prometheus by default the second."""

    async def get(call: Call) -> Reply:
        return Reply(Text(generate_latest(metrics), CONTENT_TYPE_LATEST))

    return Endpoint("metrics", ("/_synapse/metrics", "/metrics"), {"GET": get})
