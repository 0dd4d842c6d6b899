"""What systemd does for a service with ``Type=notify``: it hears how that is."""

from __future__ import annotations

import os
import secrets
import socket
import unittest
from typing import Sequence

from tests.support.patience import until


class NotifySocket:
    """``path``: where the socket is; without it the socket has an abstract name."""

    def __init__(self, case: unittest.TestCase, path: str = "") -> None:
        self.address = path or f"@regsys-test-{os.getpid()}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        case.addCleanup(self._socket.close)
        self._socket.bind(path or f"\0{self.address[1:]}")
        self._socket.setblocking(False)
        self._heard: list[str] = []

    @property
    def heard(self) -> Sequence[str]:
        """All messages so far."""
        while True:
            try:
                self._heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self._heard

    def wait_for(self, count: int) -> Sequence[str]:
        """All messages, once there are so many."""
        until(lambda: len(self.heard) >= count, lambda: f"heard only {self.heard}")
        return self.heard
