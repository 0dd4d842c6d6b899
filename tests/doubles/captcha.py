"""A captcha service's ``siteverify``, with every fault that it may have.

Its answer depends on the ``response`` alone (see ANSWERS): a client of regsys chooses a fault by
the response that it sends. ``python -m tests.doubles.captcha PORT`` serves it.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.doubles.process import DoubleProcess, serve
from tests.support.patience import PATIENCE_S, until

SECRET = "the-double's-private-key-canary"
GOOD, BAD, STALL, DRIP = "good", "bad", "stall", "drip"
NO = {"success": False, "error-codes": ["invalid-input-response"]}

# The bodies with which it answers 200; a response not named here is refused.
ANSWERS: Mapping[str, Any] = {
    GOOD: {"success": True, "hostname": "test.example", "error-codes": []},
    BAD: NO,
    "used": {"success": False, "error-codes": ["timeout-or-duplicate"]},
    "silent-no": {"success": False},
    "odd-codes": {"success": False, "error-codes": {"x": [None]}},
    # Invalid answers:
    "our-secret": {"success": False, "error-codes": ["invalid-input-secret"]},
    "its-error": {"success": False, "error-codes": [None, "internal-error"]},
    "empty-object": {},
    "null": None,
    "list": [{"success": True}],
    "word": "success",
    "number-yes": {"success": 1},
    "word-yes": {"success": "true"},
    "null-yes": {"success": None},
}
RAW: Mapping[str, bytes] = {
    "garbage": b"<html>It works!</html>",
    "empty": b"",
    "binary": b"\xff\xfe\x00{",
    "half": b'{"success": true',
    "deep": b"[" * 60_000,
    "huge": b'{"success": true, "more": "' + b"x" * 70_000 + b'"}',
}
STATUSES: Mapping[str, int] = {"500": 500, "404": 404, "201": 201, "redirect": 302, "kept": 307}
# The faults: neither yes nor no, and an immediate end.
FAULTS = (
    *(name for name in list(ANSWERS)[list(ANSWERS).index("our-secret") :]),
    *RAW,
    *STATUSES,
    "hang-up",
)


class CaptchaDouble(Resource):
    """``asked`` has the form of each request. ``clock`` drives DRIP, a byte a second."""

    isLeaf = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self.clock = clock
        self.asked: list[dict[str, str]] = []
        self.paths: list[bytes] = []

    def render_GET(self, request: Request) -> bytes:
        """For tests with the double in a process: the responses that it was asked about."""
        return json.dumps([fields.get("response") for fields in self.asked]).encode()

    def render_POST(self, request: Request) -> Any:
        self.paths.append(request.uri)
        given = request.args.items()
        fields = {name.decode(): values[-1].decode() for name, values in given if name != b"kept"}
        self.asked.append(fields)
        if fields.get("secret") != SECRET:
            return json.dumps(ANSWERS["our-secret"]).encode()
        # The part behind a # makes a response another one with the same answer.
        chosen = fields.get("response", "").partition("#")[0]
        if chosen == STALL:
            return NOT_DONE_YET
        if chosen == "hang-up":
            request.transport.abortConnection()
            return NOT_DONE_YET
        if chosen == DRIP:
            self._drip(request)
            return NOT_DONE_YET
        if chosen in STATUSES:
            request.setResponseCode(STATUSES[chosen])
            if STATUSES[chosen] in (302, 307):
                request.setHeader(b"Location", b"/elsewhere")
            return json.dumps(ANSWERS[GOOD]).encode()
        if chosen in RAW:
            return RAW[chosen]
        return json.dumps(ANSWERS.get(chosen, NO)).encode()

    def _drip(self, request: Request) -> None:
        request.write(b" ")
        self.clock.callLater(1, self._drip, request)


class CaptchaProcess(DoubleProcess):
    module = "tests.doubles.captcha"

    @property
    def url(self) -> str:
        """Its siteverify address."""
        return f"http://127.0.0.1:{self.port}/siteverify?kept=yes"

    def wait_for(self, response: str) -> None:
        """Return once it is asked about this response."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def is_asked() -> bool:
            with opener.open(self.url, timeout=PATIENCE_S) as answer:
                return response in json.load(answer)

        until(is_asked, lambda: f"no request about {response!r}")


if __name__ == "__main__":
    serve(CaptchaDouble)
