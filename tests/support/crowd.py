"""Many concurrent clients of real services, each in a thread with a connection of its own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Optional, Sequence
from urllib.parse import urlsplit

import attr

from tests.support.patience import PATIENCE_S


@attr.frozen
class Answer:
    """``status`` 0: the connection was closed without an answer. ``took_s`` counts from the
    sending."""

    status: int
    content: bytes
    took_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def errcode(self) -> Optional[str]:
        return self.json.get("errcode") if self.status else None


class Caller:
    """One client, with one connection that is kept open and reopened after it was closed.

    ``sent`` is set while nothing is left to be sent of its latest request.
    """

    def __init__(self, base_url: str) -> None:
        place = urlsplit(base_url).netloc
        self._connection = http.client.HTTPConnection(place, timeout=PATIENCE_S)
        self._connection.connect()
        self.sent = threading.Event()

    def ask(self, method: str, path: str, body: Any = None, token: Optional[str] = None) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body)
        self.sent.clear()
        started_s = time.monotonic()
        try:
            self._connection.request(method, path, data, headers)
            self.sent.set()
            response = self._connection.getresponse()
            status, content = response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            status, content = 0, b""
        return Answer(status, content, time.monotonic() - started_s)

    def close(self) -> None:
        self._connection.close()


class Crowd:
    """``size`` clients, spread evenly over the services at ``base_urls``. ``close`` it."""

    def __init__(self, base_urls: Sequence[str], size: int) -> None:
        self.size = size
        self._callers = [Caller(base_urls[number % len(base_urls)]) for number in range(size)]
        self._threads = ThreadPoolExecutor(size)

    def start(self, method: str, path: str, body: Callable[[int], Any]) -> list[Future[Answer]]:
        """Every client sends a request, all at the same moment; ``body`` of its number is the
        body."""
        barrier = threading.Barrier(self.size)
        for caller in self._callers:
            caller.sent.clear()

        def ask(number: int) -> Answer:
            barrier.wait()
            return self._callers[number].ask(method, path, body(number))

        return [self._threads.submit(ask, number) for number in range(self.size)]

    def wait_until_sent(self) -> None:
        """Return once all have sent their requests."""
        for caller in self._callers:
            assert caller.sent.wait(PATIENCE_S), "not sent"

    def ask(self, method: str, path: str, body: Callable[[int], Any]) -> list[Answer]:
        """The same, and wait for all answers."""
        return [answer.result() for answer in self.start(method, path, body)]

    def close(self) -> None:
        for caller in self._callers:
            caller.close()
        self._threads.shutdown()
