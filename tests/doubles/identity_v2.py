"""An identity server's v2 API: validations, bindings and unbindings, with every fault.

A sid is ``ok..<address>``, a session that has validated this address, or
``<step>=<fault>..<address>``: there the ``step`` (``proven``, ``bind`` or ``unbind``) has this
fault. ``python -m tests.doubles.identity_v2 PORT`` serves it.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from tests.doubles.identity import REFUSALS, VALIDATED_MS, misbehave
from tests.doubles.process import DoubleProcess, serve

API = "/_matrix/identity/v2"
STEPS = {"getValidated3pid": "proven", "bind": "bind", "unbind": "unbind"}
# Fails the first time, with a 500.
ONCE = "once"
TOKEN, UNSIGNED = "id-token-canary", "id-token-of-one-who-signed-nothing"
NO_TOKEN = {"errcode": "M_UNKNOWN_TOKEN", "error": "Who are you?"}
NO_TERMS = {"errcode": "M_TERMS_NOT_SIGNED", "error": "Sign first."}
NO_RIGHT = {"errcode": "M_FORBIDDEN", "error": "Not yours."}

# Answers about a validation that validate nothing.
LIES: Mapping[str, Any] = {
    "pigeon": {"medium": "pigeon"},
    "no-address": {"address": "alice"},
    "injected": {"address": "alice@mail.example\r\nBcc: bob@mail.example"},
    "list": {"address": ["alice@mail.example"]},
    "null": {"medium": None},
}
# Values of the time, which regsys does not use.
MOMENTS: Mapping[str, Any] = {
    "moment-zero": {"validated_at": 0},
    "moment-words": {"validated_at": "now"},
    "moment-huge": {"validated_at": 2**70},
    "moment-never": {"validated_at": None},
}
ODD = {**LIES, **MOMENTS}
# Answers to a binding that name something else than the request.
OTHER_BINDINGS: Mapping[str, Any] = {
    "other-address": {"address": "mallory@mail.example"},
    "other-user": {"mxid": "@mallory:test.example"},
    "other-medium": {"medium": "msisdn"},
}
# Final refusals to unbind: those of old servers, and those without an errcode.
NEVER: Mapping[str, tuple[int, bytes]] = {
    "404-html": (404, b"<html>Not found</html>"),
    "501": (501, b""),
    "400-unsigned": (400, b'{"errcode": "M_UNKNOWN", "error": "No signature."}'),
    "405": (405, b""),
    "200-no": (200, b'{"errcode": "M_FORBIDDEN"}'),
}


class IdentityV2Double(Resource):
    """``asked`` has step, fields and the header Authorization of each request; ``bound`` maps each
    address to its user, and to what it was bound with. ``clock`` drives DRIP."""

    isLeaf = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self.clock = clock
        self.asked: list[tuple[str, dict[str, Any], Optional[str]]] = []
        self.bound: dict[str, tuple[str, tuple[str, str]]] = {}
        self.failed: set[str] = set()
        self.meanwhile: Mapping[str, Callable[[], object]] = {}
        self.away = False

    def render_POST(self, request: Request) -> Any:
        return self._answer(request, json.loads(request.content.read()))

    def render_GET(self, request: Request) -> Any:
        if request.path == b"/bound":
            bound = {address: mxid for address, (mxid, _) in self.bound.items()}
            return json.dumps(bound).encode()
        fields = {name.decode(): values[-1].decode() for name, values in request.args.items()}
        return self._answer(request, fields)

    def _answer(self, request: Request, fields: dict[str, Any]) -> Any:
        step = STEPS[request.path.decode().partition(f"{API}/3pid/")[2]]
        authorization = request.getHeader("authorization")
        self.asked.append((step, fields, authorization))
        self.meanwhile.get(step, lambda: None)()
        if self.away:
            request.setResponseCode(502)
            return b""
        wrong, _, address = fields.get("sid", "").rpartition("..")
        at, _, fault = wrong.partition("=")
        if (at, fault) == (step, ONCE) and wrong not in self.failed:
            self.failed.add(wrong)
            fault = "500"
        if at == step:
            odd = misbehave(request, fault, self.clock)
            if odd is not None:
                return odd
            if step == "unbind" and fault in NEVER:
                status, body = NEVER[fault]
                request.setResponseCode(status)
                return body
        else:
            fault = ""
        answer = REFUSALS.get(fault) or self._answer_json(
            step, fault, address, fields, authorization
        )
        request.setResponseCode(answer[0])
        return json.dumps(answer[1]).encode()

    def _answer_json(
        self,
        step: str,
        fault: str,
        address: str,
        fields: Mapping[str, Any],
        authorization: Optional[str],
    ) -> tuple[int, Any]:
        if step == "unbind":
            return self._unbind(fields, authorization)
        if authorization != f"Bearer {TOKEN}":
            return (403, NO_TERMS) if authorization == f"Bearer {UNSIGNED}" else (401, NO_TOKEN)
        address_json = {"medium": "email", "address": address}
        if step == "proven":
            return 200, {**address_json, "validated_at": VALIDATED_MS, **ODD.get(fault, {})}
        self.bound[address] = (fields["mxid"], (fields["sid"], fields["client_secret"]))
        more = {"mxid": fields["mxid"], "signatures": {}, **OTHER_BINDINGS.get(fault, {})}
        return 200, {**address_json, **more} if fault != "silent-yes" else {}

    def _unbind(self, fields: Mapping[str, Any], authorization: Optional[str]) -> tuple[int, Any]:
        address = fields["threepid"]["address"]
        mxid, session = self.bound.get(address, (None, None))
        if mxid is None:
            return 404, {"errcode": "M_NOT_FOUND", "error": "Not bound."}
        is_signed = authorization is not None and authorization.startswith("X-Matrix ")
        is_proven = session == (fields.get("sid"), fields.get("client_secret"))
        if mxid != fields["mxid"] or not (is_signed or is_proven):
            return 403, NO_RIGHT
        del self.bound[address]
        return 200, {}


class IdentityV2Process(DoubleProcess):
    module = "tests.doubles.identity_v2"


if __name__ == "__main__":
    serve(IdentityV2Double)
