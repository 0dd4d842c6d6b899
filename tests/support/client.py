"""A client of the real resource tree, without sockets: treq's calls, answered at once."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

import attr
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

V3 = "/_matrix/client/v3"


@attr.frozen
class Answer:
    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def errcode(self) -> Optional[str]:
        return self.json.get("errcode") if isinstance(self.json, dict) else None


class Client:
    """``case`` is a SynchronousTestCase; ``resource`` is what a site would have at its root."""

    def __init__(self, case: SynchronousTestCase, resource: Any) -> None:
        self._case = case
        self._treq = StubTreq(resource)

    def start(
        self, method: str, path: str, body: Any = None, token: Optional[str] = None, **headers: str
    ) -> Deferred[Answer]:
        """Send a request whose answer may take a while. ``body``: bytes, or JSON."""
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

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Send a request whose answer is there at once."""
        return self.answer(self.start(method, path, body, **more))

    def answer(self, started: Deferred[Answer]) -> Answer:
        """The answer to a request that was started; it must have come by now."""
        self._treq.flush()
        return self._case.successResultOf(started)

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, {} if body is None else body, **more)

    def register(self, query: str = "", **body: Any) -> Answer:
        """POST /register with these keys as its body."""
        return self.post(f"{V3}/register{query}", body)
