"""A company's SMS gateway on a socket of loopback, which may refuse, stall or be down."""

from __future__ import annotations

import json
import queue
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Optional

from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

AUTHORIZATION = "Bearer of-the-gateway"
# In the place of a status: no answer until the double stops.
STALL = 0


class SmsDouble:
    """``messages`` are (number, text) of each accepted request; ``faults``: the statuses of the
    next ones instead. It keeps its port after ``stop`` and ``start``."""

    def __init__(self, case: unittest.TestCase) -> None:
        self.messages: queue.Queue[tuple[str, str]] = queue.Queue()
        self.faults: queue.Queue[int] = queue.Queue()
        self.port = free_port()
        self._server: Optional[ThreadingHTTPServer] = None
        self._stopped = threading.Event()
        case.addCleanup(self.stop)
        self.start()

    def options(self) -> dict[str, Any]:
        """The content of ``regsys.sms``."""
        return {
            "url": f"http://127.0.0.1:{self.port}/send",
            "fields": {"messages": [{"to": "%(number)s", "body": "%(text)s"}]},
            "authorization": AUTHORIZATION,
        }

    def start(self) -> None:
        double = self
        self._stopped.clear()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                self.send_response(double.response_status(self.headers, self.rfile.read(length)))
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                """Nowhere."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be down: nothing listens."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def next_message(self) -> tuple[str, str]:
        """The next message: the number and the text."""
        return self.messages.get(timeout=PATIENCE_S)

    def response_status(self, headers: Any, body: bytes) -> int:
        """The status for this request."""
        if headers["Authorization"] != AUTHORIZATION:
            return 401
        try:
            fault = self.faults.get_nowait()
        except queue.Empty:
            (message,) = json.loads(body)["messages"]
            self.messages.put((message["to"], message["body"]))
            return 200
        if fault == STALL:
            self._stopped.wait()
        return fault or 503
