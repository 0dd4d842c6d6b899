"""The service manager, such as systemd, that has started this process and wants to know how it is
(``Type=notify``): by systemd's protocol, datagrams to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from typing import Iterator, MutableMapping

import attr

# A manager that does not read must not hold up requests.
_PATIENCE_S = 1.0


@attr.frozen
class Manager:
    """``address``: a path, or "@" and an abstract name; "" if nobody wants to know. A message that
    cannot be sent is reported, and nothing else: the service goes on."""

    address: str = ""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Manager:
        """The variable is removed, so that no program that this one starts speaks for it."""
        return cls(environment.pop("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """The service serves."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The service has begun to end."""
        self._tell("STOPPING=1")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """The service reads its files again within this context, and is ready after it."""
        # The manager compares the time with that of its own signal.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self.ready()

    def _tell(self, text: str) -> None:
        if not self.address:
            return
        place = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(_PATIENCE_S)
                sending.sendto(text.encode(), place)
        except OSError as error:
            # Not by a logger: the parent of several processes has none that is begun.
            print(
                f"regsys: the service manager at {self.address} (NOTIFY_SOCKET) was not told"
                f" {text.splitlines()[0]}: {error.strerror or error}",
                file=sys.stderr,
                flush=True,
            )


# No manager wants to know.
NOBODY = Manager()
