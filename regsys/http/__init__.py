"""HTTP: requests become Calls, handlers return Replies, and errors become Replies here.

This package is the only place that writes a status or a header. Handlers are plain
``async def handler(call: Call) -> Reply`` and know nothing of twisted.web.
"""

from regsys.http.addresses import (
    first_forwarded,
    peer_address,
    rightmost_untrusted,
)
from regsys.http.call import (
    Call,
)
from regsys.http.reply import (
    Reply,
)
from regsys.http.routing import (
    Endpoint,
    resource,
)
from regsys.http.server import (
    site,
)
from regsys.http.serving import (
    Handler,
)

__all__ = [
    "Call",
    "Endpoint",
    "Handler",
    "Reply",
    "first_forwarded",
    "peer_address",
    "resource",
    "rightmost_untrusted",
    "site",
]
