"""GET /metrics, for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from regsys.http import Call, Endpoint, Reply, Text
from regsys.metrics import Metrics


def exposition(metrics: Metrics) -> Endpoint:
    """For scrapers only: the listener decides who may reach it. Scrapers of homeservers use the
    first path, Prometheus by default the second."""

    async def get(call: Call) -> Reply:
        return Reply(Text(generate_latest(metrics.registry), CONTENT_TYPE_LATEST))

    return Endpoint("metrics", ("/_synapse/metrics", "/metrics"), {"GET": get})
