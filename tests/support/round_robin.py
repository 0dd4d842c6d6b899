"""A TCP proxy that sends each connection to the next of several services.

It knows nothing of HTTP, so it may stand before any program. Like a reverse proxy it leaves out
backends that refuse a connection; what is under way when a backend dies is cut.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import unittest
from typing import Optional, Sequence

BLOCK = 65536


class RoundRobin:
    """Listens on a free loopback ``port`` until ``case`` ends; ``backends`` are loopback ports.
    ``passed`` counts the connections that each has got."""

    def __init__(self, case: unittest.TestCase, backends: Sequence[int]) -> None:
        self.passed = dict.fromkeys(backends, 0)
        self._turns = itertools.cycle(backends)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        case.addCleanup(self.close)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Take no more connections; those that there are end with their clients."""
        # Closing alone does not wake the thread.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            backend = self._connect()
            if backend is not None:
                with backend:
                    _pass_on(client, backend)

    def _connect(self) -> Optional[socket.socket]:
        """A connection to the next backend that takes one; None if none does."""
        for _ in self.passed:
            port = next(self._turns)
            try:
                made = socket.create_connection(("127.0.0.1", port))
            except ConnectionError:
                continue
            self.passed[port] += 1
            return made
        return None


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Pass on what arrives at either, until the first of them ends."""
    to = {one: other, other: one}
    try:
        while True:
            for source in select.select(list(to), [], [])[0]:
                data = source.recv(BLOCK)
                if not data:
                    return
                to[source].sendall(data)
    except OSError:
        return
