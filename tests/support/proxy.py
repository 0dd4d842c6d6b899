"""A TCP proxy that cuts, stalls and forgets connections, between any client and any server.

``with Proxy(port) as proxy`` listens on ``proxy.port`` of loopback, and passes everything on to
that port; the path of a Unix socket may stand in its place. Of several servers each connection gets
the next one that takes it. ``proxy.cut(Cut("answer", 20))`` cuts the next answer after 20 bytes.

It knows no protocol. Whatever a client sends after an answer begins an exchange: a request, and the
answer to it. Each connection has a thread, so client and server may be of any kind, also in this
process.

This file needs nothing but Python.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import struct
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Literal, Union

HOST = "127.0.0.1"
BLOCK = 65536
# A port of loopback, or the path of a Unix socket.
Server = Union[int, str]
Side = Literal["request", "answer"]
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Cut:
    """Where an exchange ends: after so many bytes of its request or of its answer.

    ``Cut("request", 0)`` cuts it before anything has arrived, ``Cut("answer", 0)`` when the server
    has done its work and nobody has heard of it. Who has sent those bytes sees a reset, the other
    one gets what was allowed, and then the end. With ``stalls`` both see nothing: the connection
    stays open, and falls silent.
    """

    side: Side
    after: int
    stalls: bool = False


class Proxy:
    """``passed`` counts the bytes of each side, ``made`` the connections, ``taken`` those of each
    server, ``cuts`` the exchanges that were cut. While ``is_stalled`` all data is dropped."""

    def __init__(self, *servers: Server) -> None:
        self.is_stalled = False
        self.made = self.cuts = 0
        self.passed: Counter[str] = Counter()
        self.taken: Counter[Server] = Counter(dict.fromkeys(servers, 0))
        self._lock = threading.Lock()
        self._turns = itertools.cycle(servers)
        self._planned: deque[Union[Cut, None]] = deque()
        self._open: set[_Connection] = set()
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def cut(self, *cuts: Union[Cut, None]) -> None:
        """Each of the next exchanges gets one of these, those of earlier calls first. None leaves
        one alone."""
        with self._lock:
            self._planned.extend(cuts)

    def cut_all(self) -> None:
        """Cut all connections now, in use or not."""
        for connection in self._connections():
            connection.end()

    def forget(self) -> None:
        """Drop all data of the present connections from now on, as a firewall does that has
        forgotten them. New connections work."""
        for connection in self._connections():
            connection.is_silent = True

    def close(self) -> None:
        """Take no more connections, and cut those that there are."""
        # Closing alone does not wake the thread.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        for connection in self._connections():
            connection.end()
            connection.thread.join()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    # --- For its connections -------------------------------------------------------------

    def next_cut(self) -> Union[Cut, None]:
        with self._lock:
            return self._planned.popleft() if self._planned else None

    def count_cut(self) -> None:
        with self._lock:
            self.cuts += 1

    def count_bytes(self, side: Side, count: int) -> None:
        with self._lock:
            self.passed[side] += count

    def discard(self, connection: _Connection) -> None:
        with self._lock:
            self._open.discard(connection)

    def connect(self) -> Union[socket.socket, None]:
        """A connection to the next server that takes one; None if none does."""
        for _ in self.taken:
            with self._lock:
                server = next(self._turns)
            try:
                made = _connect(server)
            except OSError:
                continue
            with self._lock:
                self.taken[server] += 1
            return made
        return None

    def _connections(self) -> list[_Connection]:
        with self._lock:
            return list(self._open)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            connection = _Connection(self, client)
            with self._lock:
                self.made += 1
                self._open.add(connection)
            connection.thread.start()


class _Connection:
    """A client's connection, and ours to its server. Used by its thread alone, but for ``end``."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.is_silent = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self._proxy = proxy
        self._client = client
        self._cut: Union[Cut, None] = None
        # Of the present exchange: which side has sent last, and how many bytes.
        self._side: Side = "answer"
        self._sent = 0

    def end(self) -> None:
        """The thread wakes up, and closes both ends."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        try:
            with self._client:
                server = self._proxy.connect()
                if server is not None:
                    with server, contextlib.suppress(OSError):
                        self._pass_on(server)
        finally:
            self._proxy.discard(self)

    def _pass_on(self, server: socket.socket) -> None:
        """Pass on what arrives at either end, until the first of them ends or is cut."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ, ("request", server))
            selector.register(server, selectors.EVENT_READ, ("answer", self._client))
            while True:
                for key, _ in selector.select():
                    source: Any = key.fileobj
                    side, to = key.data
                    data = source.recv(BLOCK)
                    if not data:
                        return
                    if not self._take(side, data, source, to):
                        return

    def _take(self, side: Side, data: bytes, source: socket.socket, to: socket.socket) -> bool:
        """Pass on as much as is allowed; whether the connection goes on."""
        if self._proxy.is_stalled or self.is_silent:
            return True
        if side != self._side:
            if side == "request":
                self._cut = self._proxy.next_cut()
            self._side, self._sent = side, 0
        cut = self._cut
        if cut is None or cut.side != side or self._sent + len(data) < max(cut.after, 1):
            self._sent += len(data)
            self._proxy.count_bytes(side, len(data))
            to.sendall(data)
            return True
        to.sendall(data[: cut.after - self._sent])
        self._proxy.count_cut()
        self.is_silent = cut.stalls
        if not cut.stalls:
            source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return cut.stalls


def _connect(server: Server) -> socket.socket:
    if isinstance(server, int):
        return socket.create_connection((HOST, server))
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(server)
    except OSError:
        made.close()
        raise
    return made
