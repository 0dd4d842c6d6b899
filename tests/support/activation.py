"""What systemd does for a ``.socket`` unit: it holds sockets, and hands them to each process that
is started for them."""

from __future__ import annotations

import socket
import unittest
from pathlib import Path
from typing import Sequence

from tests.support.service_process import ServiceProcess

# The process ID is known only in the process itself. Arguments: how many sockets, their
# descriptors, then the command.
_EXEC = """
import fcntl, os, sys
count = int(sys.argv[1])
held = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[2:2 + count]]
for place, number in enumerate(held):
    os.dup2(number, 3 + place)
names = ":".join(["regsys.socket"] * count)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, *sys.argv[2 + count:]])
"""


class Sockets:
    """``port``: that of the only one, on the IPv4 loopback address."""

    def __init__(self, case: unittest.TestCase, port: int = 0) -> None:
        self._case = case
        self._held = [socket.create_server(("127.0.0.1", port), backlog=512)]
        self.port: int = self._held[0].getsockname()[1]
        case.addCleanup(self.close)

    def serve(self, *config: Path, options: Sequence[str] = ()) -> ServiceProcess:
        """Start ``regsys serve`` with them."""
        numbers = [held.fileno() for held in self._held]
        words = (str(len(numbers)), *map(str, numbers), "-m", "regsys", "serve")
        program = ("-c", _EXEC, *words)
        return ServiceProcess(
            self._case, *config, options=options, program=program, pass_fds=numbers
        )

    def close(self) -> None:
        for held in self._held:
            held.close()
