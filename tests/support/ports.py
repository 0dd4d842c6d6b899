"""TCP ports for tests."""

from __future__ import annotations

import socket
import sys
from collections import deque

# On Linux: the latest, each bound and listened on by nobody. There a server can bind it all the
# same (all of them set SO_REUSEADDR), and nobody is given it by chance, for a connection of his or
# by another call of ours. Elsewhere a server could not: one must rely on its being left alone.
_kept: deque[socket.socket] = deque(maxlen=64)


def free_port() -> int:
    """A port of the IPv4 loopback address that nobody listens on, and nobody is given either."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    port = int(keeper.getsockname()[1])
    if sys.platform == "linux":
        _kept.append(keeper)
    else:
        keeper.close()
    return port
