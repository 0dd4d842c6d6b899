"""A client of a resource, without sockets."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

import attr
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

V3 = "/_matrix/client/v3"
# How often ``Client.wait`` looks for an answer.
LOOK_S = 0.002


@attr.frozen
class Answer:
    """An answer. ``json`` is the body: parsed if it is JSON, otherwise bytes. The names of
    ``headers`` are in lower case."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def errcode(self) -> Optional[str]:
        return self.json.get("errcode") if isinstance(self.json, dict) else None


class Client:
    """Sends requests to ``resource``, which is what a site would have at its root.

    Where all parts answer at once, as the fakes of ``regsys.testing`` do, ``ask``, ``get``,
    ``post`` and ``register`` return the answer. Otherwise await it, in a
    ``twisted.trial.unittest.TestCase``: ``await client.wait(client.start("GET", path))``.

    What waits for the next turn of the reactor, such as a password's hash after the first answer of
    a session, gets it: a ``clock`` is then advanced by 0. If it is None, it is the task.Clock of
    the subsystem whose resource this is, if that has one.
    """

    def __init__(
        self, case: SynchronousTestCase, resource: IResource, clock: Optional[Clock] = None
    ) -> None:
        self._case = case
        own = getattr(getattr(resource, "in_flight", None), "clock", None)
        self._clock = own if clock is None and isinstance(own, Clock) else clock
        self._treq: Any = StubTreq(resource)  # type: ignore[no-untyped-call]  # treq's

    def start(
        self, method: str, path: str, body: Any = None, token: Optional[str] = None, **headers: str
    ) -> Deferred[Answer]:
        """Send a request. ``body``: bytes, or what becomes JSON; ``token``: the access token;
        ``headers``: with ``_`` for ``-``."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return Deferred.fromCoroutine(self._send(method, path, data, headers))

    async def _send(
        self, method: str, path: str, data: Optional[bytes], headers: Mapping[str, str]
    ) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self._treq.request(
            method,
            f"http://test.example{path}",
            data=data,
            headers=names,
            allow_redirects=False,
        )
        content = await response.content()
        got = {
            name.decode().lower(): values[-1].decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        is_json = got.get("content-type") == "application/json" and content
        return Answer(response.code, json.loads(content) if is_json else content, got)

    def answer(self, started: Deferred[Answer]) -> Answer:
        """The answer to a request that was started; it must have come by now."""
        self._flush(started)
        return self._case.successResultOf(started)

    async def wait(self, started: Deferred[Answer]) -> Answer:
        """The answer to a request that was started, once the reactor has brought it."""
        self._flush(started)
        while not started.called:
            await deferLater(reactor, LOOK_S)
            self._flush(started)
        return await started

    def _flush(self, started: Deferred[Answer]) -> None:
        self._treq.flush()
        if self._clock is not None and not started.called:
            self._clock.advance(0)
            self._treq.flush()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Send a request whose answer is there at once; the arguments are those of ``start``."""
        return self.answer(self.start(method, path, body, **more))

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, {} if body is None else body, **more)

    def register(self, query: str = "", **body: Any) -> Answer:
        """POST /register with these keys as its body."""
        return self.post(f"{V3}/register{query}", body)
