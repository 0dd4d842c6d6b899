"""Clients that register by a dialogue of several requests, again and again, and that only know how
to repeat a request: what a restart of the service must not disturb."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterator, Mapping, Optional, Sequence
from urllib.parse import urlsplit

import attr

from tests.support.checker import Told
from tests.support.patience import PATIENCE_S

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
# Between two requests of a client, as users take their time: so dialogues span restarts.
PAUSE_S = 0.1
# Before a request is repeated.
RETRY_S = 0.1


@attr.frozen
class Try:
    """One answer. ``status`` 0: the connection was refused or closed without one."""

    path: str
    status: int
    ended_s: float
    took_s: float


@attr.frozen
class Dialogue:
    """One that has ended with an account. ``retries``: how many requests had to be repeated;
    ``longest_s``: how long it took until a request had its answer, repetitions included."""

    told: Told
    began_s: float
    ended_s: float
    retries: int
    longest_s: float

    @property
    def user_id(self) -> str:
        return self.told.user_id


class Lost(Exception):
    """A dialogue that plain retry did not bring to its end, or an answer that no client knows what
    to do with."""


@attr.define
class _Client:
    """Each request has a connection of its own, to the next of these places."""

    places: Iterator[str]
    tries: list[Try]
    retries: int = 0
    longest_s: float = 0.0

    def ask(self, expect: int, path: str, body: Any = None, token: str = "") -> Any:
        """The parsed answer, which must have this status. After a lost connection, or if the
        service says that it is away or busy, the same request is sent again."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + PATIENCE_S:
            status, answer = self._once(path, body, token)
            if status == expect:
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                return answer
            if status not in (0, 429, 503):
                raise Lost(f"{path}: {status} {answer} in place of {expect}")
            self.retries += 1
            time.sleep(RETRY_S)
        raise Lost(f"{path}: not answered within {PATIENCE_S} s")

    def _once(self, path: str, body: Any, token: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(next(self.places), timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        began_s = time.monotonic()
        status, answer = 0, None
        try:
            method = "GET" if body is None else "POST"
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            content = response.read()
            if response.headers.get("Content-Length") is None:
                raise ConnectionError("the answer was cut within its headers")
            status, answer = response.status, json.loads(content)
            check_refusal(status, response.headers, answer)
        except (http.client.HTTPException, ConnectionError):
            pass
        finally:
            connection.close()
        ended_s = time.monotonic()
        self.tries.append(Try(path, status, ended_s, ended_s - began_s))
        return status, answer


def check_refusal(status: int, headers: Mapping[str, str], body: Any) -> None:
    """Raises Lost if the service is away or busy, and does not say what a client needs in order to
    come back."""
    if status in (429, 503) and not (
        isinstance(body, dict)
        and isinstance(body.get("errcode"), str)
        and isinstance(body.get("error"), str)
        and headers["Content-Type"] == "application/json"
        and headers.get("Retry-After", "").isdigit()
    ):
        raise Lost(f"{status} {dict(headers.items())} {body}")


class Dialogues:
    """``size`` clients of the services at ``base_urls``, whose only flow has stages that need no
    answer, such as ``m.login.terms`` and ``m.login.dummy``. They begin at once, and end with
    ``end``, or after ``most`` dialogues.

    Each request goes to the next service. ``repeats_body``: each request of a dialogue has the name
    and the password, as some clients send them; else only the first one. Users are numbered from
    ``first``. ``tries`` and ``done`` fill meanwhile.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        size: int,
        *,
        repeats_body: bool = False,
        pause_s: float = PAUSE_S,
        first: int = 0,
        most: Optional[int] = None,
    ) -> None:
        self.tries: list[Try] = []
        self.done: list[Dialogue] = []
        self._repeats_body = repeats_body
        self._pause_s = pause_s
        self._places = [urlsplit(base_url).netloc for base_url in base_urls]
        numbers = itertools.count(first) if most is None else range(first, first + most)
        self._names = iter(numbers)
        self._is_over = threading.Event()
        self._threads = ThreadPoolExecutor(size)
        self._running = [self._threads.submit(self._work, number) for number in range(size)]

    def end(self) -> list[Dialogue]:
        """Let each client finish what it has begun; returns all dialogues. Raises Lost."""
        self.close()
        return self.wait()

    def wait(self) -> list[Dialogue]:
        """The same with ``most``: let the clients do all of them."""
        for work in self._running:
            work.result()
        return self.done

    @property
    def is_over(self) -> bool:
        """Whether all clients have ended, or one has failed."""
        ended = [work for work in self._running if work.done()]
        return len(ended) == len(self._running) or any(work.exception() for work in ended)

    def close(self) -> None:
        """The same without a result."""
        self._is_over.set()
        self._threads.shutdown()

    def _work(self, number: int) -> None:
        places = itertools.cycle(self._places)
        turns = itertools.islice(places, number % len(self._places), None)
        while not self._is_over.is_set():
            name = next(self._names, None)
            if name is None:
                return
            self.done.append(self._dialogue(f"user{name}", _Client(turns, self.tries)))

    def _dialogue(self, name: str, client: _Client) -> Dialogue:
        """Register, use the token, log in again."""
        began_s = time.monotonic()
        body = {"username": name, "password": PASSWORD}
        challenge = client.ask(401, f"{V3}/register", body)
        (flow,) = challenge["flows"]
        auth = {"session": challenge["session"]}
        more = body if self._repeats_body else {}
        for stage in flow["stages"][:-1]:
            time.sleep(self._pause_s)
            client.ask(401, f"{V3}/register", {**more, "auth": {**auth, "type": stage}})
        time.sleep(self._pause_s)
        last = {**more, "auth": {**auth, "type": flow["stages"][-1]}}
        made = client.ask(200, f"{V3}/register", last)
        who = client.ask(200, f"{V3}/account/whoami", token=made["access_token"])
        if not who["user_id"] == made["user_id"] == f"@{name}:{who['user_id'].partition(':')[2]}":
            raise Lost(f"{name}: {made} {who}")
        login = {"type": "m.login.password", "user": name, "password": PASSWORD}
        retries = client.retries
        logged_in = client.ask(200, f"{V3}/login", login)
        tokens = {answer["device_id"]: answer["access_token"] for answer in (made, logged_in)}
        # Who repeats a login may get a device each time; a registration is repeated as the same.
        told = Told(made["user_id"], tokens, unsure=client.retries - retries)
        return Dialogue(told, began_s, time.monotonic(), client.retries, client.longest_s)
