"""HTTP: requests become Calls, handlers return Replies, and errors become Replies here.

This package is the only place that writes a status or a header. Handlers are plain
``async def handler(call: Call) -> Reply`` and know nothing of twisted.web.
"""

from regsys.http.addresses import first_forwarded, peer_address, rightmost_untrusted
from regsys.http.call import BODY_LIMIT, Call
from regsys.http.connections import (
    MOST_CONNECTIONS,
    Connections,
    PeerKeys,
    counted_by_address,
    most_connections,
)
from regsys.http.refusals import RefusalLog
from regsys.http.reply import File, LongJSON, Page, Reply, Text, encode_json, refusal
from regsys.http.routing import Endpoint, resource
from regsys.http.server import site
from regsys.http.serving import Handler, InFlight

__all__ = [
    "BODY_LIMIT",
    "MOST_CONNECTIONS",
    "Call",
    "Connections",
    "Endpoint",
    "File",
    "Handler",
    "InFlight",
    "LongJSON",
    "Page",
    "PeerKeys",
    "RefusalLog",
    "Reply",
    "Text",
    "counted_by_address",
    "encode_json",
    "first_forwarded",
    "most_connections",
    "peer_address",
    "refusal",
    "resource",
    "rightmost_untrusted",
    "site",
]
