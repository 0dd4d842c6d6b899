"""TCP ports for tests."""

from __future__ import annotations

import socket
import sys
from collections import deque

# On Linux: the latest ports, each bound by a socket that does not listen. A server can bind such a
# port all the same (all of ours set SO_REUSEADDR), and the system gives it to no other socket. On
# other systems a server could not bind it, so the port is only likely to stay free.
_kept: deque[socket.socket] = deque(maxlen=64)


def free_port() -> int:
    """A port of the IPv4 loopback address that nothing listens on, and that is given to no one
    else."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    port = int(keeper.getsockname()[1])
    if sys.platform == "linux":
        _kept.append(keeper)
    else:
        keeper.close()
    return port


def is_open(port: int) -> bool:
    """Whether something accepts connections at this port of the IPv4 loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
