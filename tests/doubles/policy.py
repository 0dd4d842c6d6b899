"""A server that says which addresses and registrations are allowed, with every fault that it may
have.

Its answer depends on the user name, or on the address without its domain: see ANSWERS, RAW and
STATUSES. ``python -m tests.doubles.policy PORT`` serves it.
"""

from __future__ import annotations

import json
from typing import Any, Mapping

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.doubles.process import DoubleProcess, serve

SERVER = "test.example"
# What is allowed, by both of the modules that ask.
YES: Mapping[str, Any] = {"hs": SERVER, "decision": "allow"}
STALL, HANG_UP = "stall", "hang-up"
STATUSES: Mapping[str, int] = {
    "status-204": 204,
    "status-302": 302,
    "status-307": 307,
    "status-403": 403,
    "status-500": 500,
}
RAW: Mapping[str, bytes] = {
    "empty": b"",
    "html": b"<html>It works!</html>",
    "list": b"[]",
    "null": b"null",
    "cut-off": json.dumps(YES).encode()[:-4],
    "deep": b"[" * 100_000,
    "oversize": json.dumps({**YES, "more": "x" * 70_000}).encode(),
}
# By module, the answers of a wrong type.
WRONG: Mapping[str, Mapping[str, Any]] = {
    "threepids": {
        "hs-number": {"hs": 7},
        "hs-list": {"hs": [SERVER]},
        "requires-text": {"hs": SERVER, "requires_invite": "no"},
        "invited-number": {"hs": SERVER, "requires_invite": True, "invited": 1},
    },
    "registrations": {
        "no-decision": {},
        "null-decision": {"decision": None},
        "odd-decision": {"decision": "perhaps"},
        "list-decision": {"decision": ["allow"]},
    },
}
# By module, the answers that are well-formed and no plain yes.
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "threepids": {
        "nobodys": {},
        "nulls": {"hs": None},
        "others": {"hs": "other.example"},
        "uninvited": {"hs": SERVER, "requires_invite": True},
        "not-invited": {"hs": SERVER, "requires_invite": True, "invited": False},
        "invited": {"hs": SERVER, "requires_invite": True, "invited": True, "more": [1]},
    },
    "registrations": {
        "denied": {"decision": "deny"},
        "ghost": {"decision": "shadow_ban"},
        "newcomer": {"decision": "needs_approval"},
    },
}
# The faults of any server.
FAULTS = (*STATUSES, *RAW, HANG_UP)


class PolicyDouble(Resource):
    """``asked`` has the parameters of each GET, and the body of each POST."""

    isLeaf = True

    def __init__(self, clock: object = None) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def render_GET(self, request: Request) -> Any:
        asked = {name.decode(): values[-1].decode() for name, values in request.args.items()}
        self.asked.append(asked)
        return self._answer(request, "threepids", asked["address"].partition("@")[0])

    def render_POST(self, request: Request) -> Any:
        asked = json.loads(request.content.read())
        self.asked.append(asked)
        return self._answer(request, "registrations", asked["username"])

    def _answer(self, request: Request, module: str, chosen: str) -> Any:
        if chosen == STALL:
            return NOT_DONE_YET
        if chosen == HANG_UP:
            request.transport.abortConnection()
            return NOT_DONE_YET
        if chosen in STATUSES:
            request.setResponseCode(STATUSES[chosen])
            request.setHeader(b"Location", b"/elsewhere?address=alice@mail.example")
        if chosen in RAW:
            return RAW[chosen]
        return json.dumps({**ANSWERS[module], **WRONG[module]}.get(chosen, YES)).encode()


class PolicyProcess(DoubleProcess):
    module = "tests.doubles.policy"


if __name__ == "__main__":
    serve(PolicyDouble)
