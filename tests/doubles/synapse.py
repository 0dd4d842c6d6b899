"""A Synapse as the auth service that its accounts are left to sees it, and its faults. What it
answers was measured; ``tests/outbound/test_synapse.py`` runs the same tests at it and at a
Synapse."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, Optional
from urllib.parse import unquote

import attr
from twisted.web.http import datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

SECRET = "the-double's-shared-secret-canary"
# That of the application service "bridge".
AS_TOKEN = "a-bridge's"
# Done after acting, in place of an answer.
FORGET = "forget"
# Answered instead of acting.
STALL, HANG_UP = "stall", "hang-up"
INSTEAD: Mapping[str, tuple[int, bytes]] = {
    "500": (500, b'{"errcode": "M_UNKNOWN", "error": "Internal server error"}'),
    "502": (502, b"<html>Bad Gateway</html>"),
    "garbage": (200, b"<html>It works!</html>"),
    "list": (200, b"[]"),
    "404": (404, b'{"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}'),
    "nginx-404": (404, b"<html>404 Not Found</html>"),
    "echo": (400, b'{"errcode": "M_FORBIDDEN", "error": "%s"}' % SECRET.encode()),
}
GRAMMAR = re.compile(r"[a-z0-9=_./+-]+")

Answer = tuple[int, Any]
Introspect = Callable[[str], Mapping[str, Any]]


@attr.define(eq=False, kw_only=True)
class User:
    created_s: int = 0
    appservice_id: Optional[str] = None
    display_name: Optional[str] = None
    emails: list[str] = attr.field(factory=list)
    devices: dict[str, Optional[str]] = attr.field(factory=dict)
    deactivated: bool = False
    erased: bool = False
    shadow_banned: bool = False
    suspended: bool = False
    user_type: Optional[str] = None
    may_reset: bool = False
    data: dict[str, Any] = attr.field(factory=dict)


class SynapseDouble(Resource):
    """``users`` by localpart. ``exclusive`` matches the names of application services. ``calls``
    has the name and the localpart of each call, ``faults`` those of the next calls of a name, in
    order; ``now_s`` is its clock; ``clients`` has the address and the user agent of each client
    whose request was passed on. ``introspect`` answers for a token. ``on_call`` is told of each
    call before it acts. ``stalled`` are the requests that it has not answered."""

    isLeaf = True

    def __init__(self, server: str = "test.example", secret: str = SECRET) -> None:
        super().__init__()
        self.server, self.secret = server, secret
        self.users: dict[str, User] = {}
        self.exclusive = re.compile("_none_")
        self.calls: list[tuple[str, Optional[str]]] = []
        self.faults: dict[str, list[str]] = {}
        self.clients: list[tuple[Optional[list[str]], Optional[str]]] = []
        self.stalled: list[Request] = []
        self.now_s: Callable[[], float] = lambda: 0
        self.introspect: Introspect = lambda token: {"active": False}
        self.on_call: Callable[[str], None] = lambda call: None

    def called(self, name: str) -> int:
        return sum(call == name for call, _ in self.calls)

    def render(self, request: Request) -> Any:
        path = [unquote(part) for part in request.path.decode().split("/")[1:]]
        content = request.content.read()
        body = json.loads(content) if content else {}
        if path[:2] == ["_synapse", "mas"]:
            name, act = path[2], self._mas
        elif path[:2] == ["_synapse", "admin"]:
            name, act = "/".join((*path[2:4], *path[5:])), self._admin
        elif path == ["_matrix", "client", "v3", "register"]:
            name, act = "register", self._register
        elif path == ["_matrix", "client", "v3", "capabilities"]:
            name, act = "capabilities", self._capabilities
        elif path[:4] == ["_matrix", "client", "v3", "user"]:
            name, act = "account_data", self._account_data
        else:
            raise AssertionError(f"unknown: {request.uri!r}")
        localpart = body.get("localpart") or (request.args or {}).get(b"localpart", [b""])[0]
        if isinstance(localpart, bytes):
            localpart = localpart.decode()
        self.calls.append((name, localpart or (path[4] if len(path) > 4 else None)))
        if name in ("register", "capabilities"):
            addresses = request.requestHeaders.getRawHeaders("X-Forwarded-For")
            self.clients.append((addresses, request.getHeader("User-Agent")))
        self.on_call(name)
        fault = self.faults[name].pop(0) if self.faults.get(name) else None
        if fault == STALL:
            self.stalled.append(request)
            return NOT_DONE_YET
        if fault == HANG_UP:
            request.transport.abortConnection()
            return NOT_DONE_YET
        if fault in INSTEAD:
            status, text = INSTEAD[fault]
            request.setResponseCode(status)
            return text
        token = (request.getHeader("authorization") or "").removeprefix("Bearer ")
        status, answer = act(request.method.decode(), path[2:], token, localpart, body)
        if fault == FORGET:
            request.transport.abortConnection()
            return NOT_DONE_YET
        request.setResponseCode(status)
        request.setHeader(b"Date", datetimeToString(self.now_s()))
        if status == 204:
            return b""
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(answer).encode()

    # --- The calls -------------------------------------------------------------------------

    def _mas(self, method: str, path: list[str], token: str, name: str, body: Any) -> Answer:
        if token != self.secret:
            return _error(403, "M_UNKNOWN")
        call = path[0]
        if call == "is_localpart_available":
            return self._refusal(name, self.exclusive) or (200, {})
        if call == "provision_user":
            return self._provision(name, body)
        if name not in self.users:
            return _error(404, "M_NOT_FOUND")
        return self._of_user(call, self.users[name], name, body)

    def _refusal(self, name: str, exclusive: re.Pattern[str]) -> Optional[Answer]:
        if len(f"@{name}:{self.server}") > 255:
            return _error(400, "M_INVALID_USERNAME")
        if not GRAMMAR.fullmatch(name) or name[0] == "_" or name.isdigit():
            return _error(400, "M_INVALID_USERNAME")
        if exclusive.fullmatch(name):
            return _error(400, "M_EXCLUSIVE")
        if name in {there.lower() for there in self.users}:
            return _error(400, "M_USER_IN_USE")
        return None

    def _provision(self, name: str, body: Any) -> Answer:
        status = 200
        if name not in self.users:
            refusal = self._refusal(name, self.exclusive)
            if refusal is not None:
                return refusal
            self.users[name] = User(created_s=int(self.now_s()), display_name=name)
            status = 201
        if "set_emails" in body:
            for user in self.users.values():
                user.emails = [mail for mail in user.emails if mail not in body["set_emails"]]
            self.users[name].emails = list(body["set_emails"])
        return status, {}

    def _of_user(self, call: str, user: User, name: str, body: Any) -> Answer:
        match call:
            case "query_user":
                return 200, {
                    "user_id": f"@{name}:{self.server}",
                    "display_name": user.display_name,
                    "avatar_url": None,
                    "is_suspended": user.suspended,
                    "is_deactivated": user.deactivated,
                }
            case "set_displayname":
                user.display_name = body["displayname"]
            case "unset_displayname":
                user.display_name = None
            case "delete_user":
                user.deactivated, user.erased = True, body["erase"]
                user.devices.clear()
            case "allow_cross_signing_reset":
                user.may_reset = True
            case "upsert_device":
                is_new = body["device_id"] not in user.devices
                shown = body.get("display_name")
                if len(shown or "") > 100:
                    return _error(400, "M_TOO_LARGE")
                if is_new or shown is not None:
                    user.devices[body["device_id"]] = shown
                return (201 if is_new else 200), {}
            case "delete_device":
                user.devices.pop(body["device_id"], None)
                return 204, None
            case "sync_devices":
                user.devices = {name: user.devices.get(name) for name in body["devices"]}
            case _:
                raise AssertionError(f"unknown: {call}")
        return 200, {}

    # --- The admin API ---------------------------------------------------------------------

    def _admin(self, method: str, path: list[str], token: str, _: str, body: Any) -> Answer:
        who = self.introspect(token)
        if not who.get("active"):
            return _error(401, "M_UNKNOWN_TOKEN")
        scopes = who.get("scope", "").split()
        if "urn:matrix:client:api:*" not in scopes:
            return _error(401, "M_UNKNOWN_TOKEN")
        if who.get("username") not in self.users:
            return _error(500, "M_FORBIDDEN")
        if "urn:synapse:admin:*" not in scopes:
            return _error(403, "M_FORBIDDEN")
        if path[:2] == ["v1", "threepid"]:
            owners = [name for name, user in self.users.items() if path[4] in user.emails]
            if not owners:
                return _error(404, "M_NOT_FOUND")
            return 200, {"user_id": f"@{owners[0]}:{self.server}"}
        name = path[2][1:].partition(":")[0]
        user = self.users.get(name)
        if path[1] == "suspend":
            if user is None:
                return _error(404, "M_NOT_FOUND")
            user.suspended = body["suspend"]
            return 200, {f"user_{path[2]}_suspended": user.suspended}
        if user is None:
            return _error(403 if method == "PUT" else 404, "M_NOT_FOUND")
        if path[-1] == "shadow_ban":
            user.shadow_banned = True
            return 200, {}
        if method == "PUT" and body.get("user_type") not in (None, "bot", "support"):
            return _error(400, "M_UNKNOWN")
        if method == "PUT":
            user.user_type = body["user_type"]
        return 200, {
            "name": path[2],
            "appservice_id": user.appservice_id,
            "creation_ts": user.created_s,
            "deactivated": user.deactivated,
            "shadow_banned": user.shadow_banned,
            "user_type": user.user_type,
            "threepids": [{"medium": "email", "address": mail} for mail in user.emails],
        }

    # --- The client-server API -------------------------------------------------------------

    def _register(self, _: str, path: list[str], token: str, name: str, body: Any) -> Answer:
        if token != AS_TOKEN:
            return _error(401, "M_UNKNOWN_TOKEN")
        if body.get("inhibit_login") is not True:
            return _error(400, "M_APPSERVICE_LOGIN_UNSUPPORTED")
        if not self.exclusive.fullmatch(body["username"]):
            return _error(400, "M_EXCLUSIVE")
        if body["username"] in self.users:
            return _error(400, "M_USER_IN_USE")
        self.users[body["username"]] = User(appservice_id="bridge", display_name=body["username"])
        return 200, {"user_id": f"@{body['username']}:{self.server}"}

    def _capabilities(self, _: str, path: list[str], token: str, name: str, body: Any) -> Answer:
        if not self.introspect(token).get("active"):
            return _error(401, "M_UNKNOWN_TOKEN")
        off = {"enabled": False}
        rest = {"m.set_displayname": {"enabled": True}}
        return 200, {
            "capabilities": {"m.change_password": off, "m.3pid_changes": off, **rest},
        }

    def _account_data(self, _: str, path: list[str], token: str, name: str, body: Any) -> Answer:
        who = self.introspect(token)
        if who.get("sub") != path[2]:
            return _error(403, "M_FORBIDDEN")
        self.users[who["username"]].data[path[4]] = body
        return 200, {}


def _error(status: int, errcode: str) -> Answer:
    return status, {"errcode": errcode, "error": f"No: {errcode}"}
