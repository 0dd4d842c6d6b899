"""An identity server that validates phone numbers, with every fault that it may have.

The ``sid`` of a request, or else its ``client_secret``, begins with the name of the fault; a suffix
behind ``..`` makes it another one. ``python -m tests.doubles.identity PORT`` serves it.
"""

from __future__ import annotations

import json
from typing import Any, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.doubles.process import DoubleProcess, serve

API = "/_matrix/identity/api/v1"
CODE = "123456"
VALIDATED_MS = 1_700_000_000_000
STALL, DRIP, HANG_UP = "stall", "drip", "hang-up"
VALIDATION = {"medium": "msisdn", "address": "4915112345678", "validated_at": VALIDATED_MS}

# Plain refusals of any request: status and body.
REFUSALS: Mapping[str, tuple[int, Any]] = {
    "no-session": (404, {"errcode": "M_NO_VALID_SESSION", "error": "No such session."}),
    "not-validated": (400, {"errcode": "M_SESSION_NOT_VALIDATED", "error": "Not yet."}),
    "limited": (429, {"errcode": "M_LIMIT_EXCEEDED", "error": "Slow.", "retry_after_ms": 1500}),
    "silent": (403, {"errcode": "ORG.EXAMPLE_NO", "error": "a\u202eb\n"}),
}
# Meaningless answers to any request.
NONSENSE: Mapping[str, tuple[int, bytes]] = {
    "empty-object": (200, b"{}"),
    "list": (200, b'[{"sid": "1", "success": true}]'),
    "null": (200, b"null"),
    "html": (200, b"<html>It works!</html>"),
    "nothing": (200, b""),
    "binary": (200, b"\xff\xfe\x00{"),
    "deep": (200, b"[" * 60_000),
    "huge": (200, b'{"sid": "1", "success": true, "more": "' + b"x" * 70_000 + b'"}'),
    "500": (500, b'{"errcode": "M_UNKNOWN", "sid": "1", "success": true}'),
    "301": (301, b'{"sid": "1", "success": true}'),
    "201": (201, b'{"sid": "1", "success": true}'),
    "401": (401, b'{"errcode": "M_UNKNOWN_TOKEN"}'),
    "400-html": (400, b"<html>Bad</html>"),
    "400-empty": (400, b"{}"),
    "400-code": (400, b'{"errcode": 5}'),
    "400-long": (400, b'{"errcode": "' + b"M" * 200 + b'"}'),
}
# Answers to getValidated3pid that validate nothing, though they look as if they did ...
NOT_VALIDATED: Mapping[str, Any] = {
    "email": {**VALIDATION, "medium": "email"},
    "no-medium": {key: VALIDATION[key] for key in ("address", "validated_at")},
    "never": {**VALIDATION, "validated_at": None},
    "no-moment": {key: VALIDATION[key] for key in ("address", "medium")},
    "both": {**VALIDATION, "errcode": "M_SESSION_EXPIRED", "error": "Too late."},
    "old-style-no": {"errcode": "M_SESSION_NOT_VALIDATED", "error": "Not yet."},
    "no-number": {**VALIDATION, "address": "111111111111111"},
}
# ... and meaningless ones.
ODD_VALIDATIONS: Mapping[str, Any] = {
    "number-number": {**VALIDATION, "address": 4915112345678},
    "words": {**VALIDATION, "address": "zero"},
    "injected": {**VALIDATION, "address": "4915112345678\n"},
    "true-moment": {**VALIDATION, "validated_at": True},
    "text-moment": {**VALIDATION, "validated_at": "1700000000000"},
    "float-moment": {**VALIDATION, "validated_at": 1.5},
    "no-such-moment": {**VALIDATION, "validated_at": 2**63},
    "last-moment": {**VALIDATION, "validated_at": 2**63 - 1},
    "far-future": {**VALIDATION, "validated_at": 9_000_000_000_000},
    "negative": {**VALIDATION, "validated_at": -1},
    "zero": {**VALIDATION, "validated_at": 0},
    "list-address": {**VALIDATION, "address": ["4915112345678"]},
}
MEANINGLESS = (*NONSENSE, HANG_UP)


class IdentityDouble(Resource):
    """``asked`` has path and fields of each request. ``clock`` drives DRIP, a byte a second.

    A sid ``good`` (or ``good..…``) has been validated for the number of VALIDATION; one that this
    server gave out for a number, once CODE has been submitted.
    """

    isLeaf = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self.clock = clock
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        # In a process of its own the time of VALIDATION is long ago.
        self._validated_ms = max(VALIDATED_MS, int(clock.seconds() * 1000))

    def render_POST(self, request: Request) -> Any:
        return self._answer(request, json.loads(request.content.read()))

    def render_GET(self, request: Request) -> Any:
        fields = {name.decode(): values[-1].decode() for name, values in request.args.items()}
        return self._answer(request, fields)

    def _answer(self, request: Request, fields: dict[str, Any]) -> Any:
        path = request.path.decode().partition(API)[2]
        self.asked.append((request.uri.decode(), fields))
        fault = fields.get("sid", fields.get("client_secret", "")).partition("..")[0]
        odd = misbehave(request, fault, self.clock)
        if odd is not None:
            return odd
        status, answer = REFUSALS.get(fault) or self._answer_json(path, fault, fields)
        request.setResponseCode(status)
        return json.dumps(answer).encode()

    def _answer_json(self, path: str, fault: str, fields: Mapping[str, Any]) -> tuple[int, Any]:
        if path == "/validate/msisdn/requestToken":
            sid = f"given{len(self.sessions)}"
            self.sessions[sid] = {**fields, "since": self._validated_ms + len(self.sessions)}
            more = {"success": True, "msisdn": "x", "intl_fmt": "+49 …", "nested": {"a": 1}}
            return 200, {"sid": sid, "submit_url": "https://elsewhere.example/", **more}
        session = self.sessions.get(fields["sid"], {})
        if path == "/validate/msisdn/submitToken":
            success = fields["token"] == CODE
            session["validated"] = session.get("validated", False) or success
            return 200, {"success": success}
        if fault == "good":
            return 200, {**VALIDATION, "validated_at": self._validated_ms}
        if session.get("validated") and session["client_secret"] == fields["client_secret"]:
            return 200, {
                "medium": "msisdn",
                "address": _german(session["phone_number"]),
                "validated_at": session["since"],
            }
        answer = NOT_VALIDATED.get(fault) or ODD_VALIDATIONS.get(fault)
        return REFUSALS["no-session"] if answer is None else (200, answer)


def misbehave(request: Request, fault: str, clock: IReactorTime) -> Any:
    """What a resource returns for this fault; None if ``fault`` names none. ``clock`` drives
    DRIP."""
    if fault in (STALL, DRIP):
        if fault == DRIP:
            _drip(request, clock)
        return NOT_DONE_YET
    if fault == HANG_UP:
        request.transport.abortConnection()
        return NOT_DONE_YET
    if fault not in NONSENSE:
        return None
    status, body = NONSENSE[fault]
    request.setResponseCode(status)
    request.setHeader(b"Location", b"/elsewhere")
    return body


def _drip(request: Request, clock: IReactorTime) -> None:
    request.write(b" ")
    clock.callLater(1, _drip, request, clock)


class IdentityProcess(DoubleProcess):
    module = "tests.doubles.identity"


def _german(number: str) -> str:
    """The digits of a number as it is dialled in Germany, the country of all test requests."""
    digits = "".join(sign for sign in number if sign.isdigit())
    return f"49{digits[1:]}" if digits.startswith("0") else digits


if __name__ == "__main__":
    serve(IdentityDouble)
