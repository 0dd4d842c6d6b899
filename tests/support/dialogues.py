"""Clients that register by a dialogue of several requests, again and again, and that only know how
to repeat a request: what a restart of the service must not disturb."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterator
from urllib.parse import urlsplit

import attr

from tests.support.patience import PATIENCE_S

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
# Between two requests of a client, as users take their time: so dialogues span restarts.
PAUSE_S = 0.1
# Before a request is repeated.
RETRY_S = 0.1


@attr.frozen
class Dialogue:
    """One that has ended with an account. ``retries``: how many requests had to be repeated."""

    user_id: str
    began_s: float
    ended_s: float
    retries: int


class Lost(Exception):
    """A dialogue that plain retry did not bring to its end."""


@attr.define
class _Client:
    """Each request has a connection of its own, and so may reach another process."""

    place: str
    retries: int = 0

    def ask(self, expect: int, path: str, body: Any = None, token: str = "") -> Any:
        """The parsed answer, which must have this status. After a lost connection, or a 503, the
        same request is sent again."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            status, answer = self._once(path, body, token)
            if status == expect:
                return answer
            if status not in (0, 503):
                raise Lost(f"{path}: {status} {answer} in place of {expect}")
            if status == 503 and "errcode" not in answer:
                raise Lost(f"{path}: {status} {answer} has no errcode")
            self.retries += 1
            time.sleep(RETRY_S)
        raise Lost(f"{path}: not answered within {PATIENCE_S} s")

    def _once(self, path: str, body: Any, token: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.place, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            method = "GET" if body is None else "POST"
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (http.client.HTTPException, ConnectionError):
            return 0, None
        finally:
            connection.close()


class Dialogues:
    """``size`` clients of the service at ``base_url``, whose only flow has stages that need no
    answer, such as ``m.login.terms`` and ``m.login.dummy``. They begin at once, and end with
    ``end``. ``repeats_body``: each request of a dialogue has the name and the password, as some
    clients send them; else only the first one."""

    def __init__(self, base_url: str, size: int, *, repeats_body: bool = False) -> None:
        self._repeats_body = repeats_body
        self._place = urlsplit(base_url).netloc
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        self._threads = ThreadPoolExecutor(size)
        self._running = [self._threads.submit(self._work) for _ in range(size)]

    def end(self) -> list[Dialogue]:
        """Let each client finish what it has begun; returns all dialogues. Raises Lost."""
        self.close()
        return [dialogue for work in self._running for dialogue in work.result()]

    def close(self) -> None:
        """The same without a result."""
        self._is_over.set()
        self._threads.shutdown()

    def _work(self) -> list[Dialogue]:
        return list(self._dialogues())

    def _dialogues(self) -> Iterator[Dialogue]:
        while not self._is_over.is_set():
            yield self._dialogue(f"user{next(self._numbers)}")

    def _dialogue(self, name: str) -> Dialogue:
        """Register, use the token, log in again."""
        client, began_s = _Client(self._place), time.monotonic()
        body = {"username": name, "password": PASSWORD}
        challenge = client.ask(401, f"{V3}/register", body)
        (flow,) = challenge["flows"]
        auth = {"session": challenge["session"]}
        more = body if self._repeats_body else {}
        for stage in flow["stages"][:-1]:
            time.sleep(PAUSE_S)
            client.ask(401, f"{V3}/register", {**more, "auth": {**auth, "type": stage}})
        time.sleep(PAUSE_S)
        last = {**more, "auth": {**auth, "type": flow["stages"][-1]}}
        made = client.ask(200, f"{V3}/register", last)
        who = client.ask(200, f"{V3}/account/whoami", token=made["access_token"])
        if not who["user_id"] == made["user_id"] == f"@{name}:{who['user_id'].partition(':')[2]}":
            raise Lost(f"{name}: {made} {who}")
        login = {"type": "m.login.password", "user": name, "password": PASSWORD}
        client.ask(200, f"{V3}/login", login)
        return Dialogue(made["user_id"], began_s, time.monotonic(), client.retries)
