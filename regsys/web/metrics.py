"""What is counted, for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from regsys.http import Call, Endpoint, Reply, Text
from regsys.metrics import Metrics


def exposition(metrics: Metrics) -> Endpoint:
    """For scrapers alone: the listener decides who may reach it. The first path is the one that
    scrapers of homeservers know, the second Prometheus' own."""

    async def get(call: Call) -> Reply:
        return Reply(Text(generate_latest(metrics.registry), CONTENT_TYPE_LATEST))

    return Endpoint("metrics", ("/_synapse/metrics", "/metrics"), {"GET": get})
