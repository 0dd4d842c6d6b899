"""A homeserver as an application service sees it: what the client-server API of the Matrix
specification v1.18 says of accounts, aliases, rooms and profiles, and its faults.

``python -m tests.doubles.homeserver PORT`` serves it, with ``/double`` for tests: GET returns its
state, POST sets faults and adds ``accounts``.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import count
from typing import Any, Callable, Iterator, Mapping, Optional
from urllib.parse import unquote

import attr
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

SERVER = "test.example"
AS_TOKEN = "the-double's-as-token-canary"
NAMESPACE = r"@.*:test\.example"

# Answered instead of acting.
STALL, HANG_UP = "stall", "hang-up"
# Done after acting, in place of an answer.
FORGET, LIMBO = "forget", "limbo"
INSTEAD: Mapping[str, tuple[int, bytes]] = {
    "500": (500, b'{"errcode": "M_UNKNOWN", "error": "Internal server error"}'),
    "502": (502, b"<html>Bad Gateway</html>"),
    "429": (
        429,
        b'{"errcode": "M_LIMIT_EXCEEDED", "error": "Too many", "retry_after_ms": 2000}',
    ),
    "consent": (403, b'{"errcode": "M_CONSENT_NOT_GIVEN", "error": "Agree", "consent_uri": "x"}'),
    "echo": (403, b'{"errcode": "M_FORBIDDEN", "error": "%s"}' % AS_TOKEN.encode()),
    "deactivated": (403, b'{"errcode": "M_USER_DEACTIVATED", "error": "Gone"}'),
    "garbage": (200, b"<html>It works!</html>"),
    "list": (200, b"[]"),
    "null": (200, b"null"),
    "huge": (200, b'{"room_id": "!a:b", "more": "' + b"x" * 1_100_000 + b'"}'),
    "redirect": (302, b"{}"),
    "odd-refusal": (403, b'{"errcode": 7, "error": ["\\u0000"]}'),
}
FAULTS = (*INSTEAD, HANG_UP)
# Answers that name no room.
NO_ROOM: Mapping[str, tuple[int, bytes]] = {
    "no-room": (200, b"{}"),
    "odd-room": (200, b'{"room_id": "lobby"}'),
    "number-room": (200, b'{"room_id": 7}'),
}


class Refused(Exception):
    """An error of the specification."""

    def __init__(self, status: int, errcode: str) -> None:
        super().__init__(errcode)
        self.status, self.errcode = status, errcode


@attr.define(eq=False, kw_only=True)
class Room:
    """``members`` has each user's membership; ``history`` every change of one, in order.
    ``servers``: others that are in it. ``events``: sender, type and content of what was sent, by
    its transaction."""

    room_id: str
    join_rule: str = "public"
    creator: Optional[str] = None
    federated: bool = True
    invite_power: int = 0
    servers: list[str] = attr.field(factory=list)
    members: dict[str, str] = attr.field(factory=dict)
    history: list[tuple[str, str]] = attr.field(factory=list)
    events: dict[str, tuple[str, str, Any]] = attr.field(factory=dict)

    def change(self, user_id: str, membership: str) -> None:
        self.members[user_id] = membership
        self.history.append((user_id, membership))

    def all_with(self, membership: str) -> set[str]:
        return {user_id for user_id, theirs in self.members.items() if theirs == membership}


class HomeserverDouble(Resource):
    """``profiles`` maps its accounts to their display names. ``calls`` has the name and the acting
    user of each call; ``faults`` the faults of the next calls of a name, in order."""

    isLeaf = True

    def __init__(
        self,
        server: str = SERVER,
        namespace: str = NAMESPACE,
        as_token: str = AS_TOKEN,
        sender_localpart: str = "regsys",
    ) -> None:
        super().__init__()
        self.server, self.namespace, self.as_token = server, namespace, as_token
        self.sender = f"@{sender_localpart}:{server}"
        self.profiles: dict[str, Optional[str]] = {}
        self.account_data: dict[tuple[str, str], Any] = {}
        self.rooms: dict[str, Room] = {}
        self.aliases: dict[str, str] = {}
        self.calls: list[tuple[str, Optional[str]]] = []
        self.faults: dict[str, list[str]] = {}
        self._numbers: Iterator[int] = count(1)

    def called(self, name: str) -> int:
        """How often this was called."""
        return sum(call == name for call, _ in self.calls)

    def add_room(self, alias: str, **more: Any) -> Room:
        room = Room(room_id=f"!{next(self._numbers)}:{alias.partition(':')[2]}", **more)
        self.rooms[room.room_id] = room
        self.aliases[alias] = room.room_id
        return room

    def room(self, alias: str) -> Room:
        return self.rooms[self.aliases[alias]]

    # --- HTTP ----------------------------------------------------------------------------

    def render(self, request: Request) -> Any:
        path = request.uri.decode("ascii").partition("?")[0]
        body = json.loads(request.content.read() or b"null")
        if path == "/double":
            return self._test_api(request, body)
        segments = [unquote(part, errors="strict") for part in path.split("/")[3:]]
        name, act = self._route(request.method.decode(), segments)
        acting = request.args.get(b"user_id", [None])[0]
        self.calls.append((name, acting and acting.decode()))
        waiting = self.faults.get(name)
        fault = waiting.pop(0) if waiting else None
        if fault == STALL:
            return NOT_DONE_YET
        instead = {**INSTEAD, **NO_ROOM}.get(fault or "")
        if instead is not None:
            status, content = instead
            request.setResponseCode(status)
            request.setHeader(b"Location", b"/elsewhere")
            return content
        if fault == HANG_UP:
            return self._hang_up(request)
        answer = self._answer(request, act, acting, body)
        if fault == LIMBO:
            return NOT_DONE_YET
        return self._hang_up(request) if fault == FORGET else answer

    def _answer(
        self, request: Request, act: Callable[..., Any], acting: Optional[bytes], body: Any
    ) -> bytes:
        try:
            answer = act(self._who(request, acting), body, request.args)
        except Refused as refused:
            request.setResponseCode(refused.status)
            answer = {"errcode": refused.errcode, "error": f"No: {refused.errcode}"}
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(answer).encode()

    def _hang_up(self, request: Request) -> Any:
        request.transport.abortConnection()
        return NOT_DONE_YET

    def _who(self, request: Request, acting: Optional[bytes]) -> str:
        if request.getHeader("authorization") != f"Bearer {self.as_token}":
            raise Refused(401, "M_UNKNOWN_TOKEN")
        if acting is None:
            return self.sender
        user_id = acting.decode("utf-8")
        if user_id == self.sender:
            return user_id
        if not re.match(self.namespace, user_id) or user_id not in self.profiles:
            raise Refused(403, "M_FORBIDDEN")
        return user_id

    def _route(self, method: str, path: list[str]) -> tuple[str, Callable[..., Any]]:
        match [method, *path]:
            case ["POST", "v3", "register"]:
                return "register", self._register
            case ["GET", "v3", "account", "whoami"]:
                return "whoami", lambda who, *call: {"user_id": who}
            case ["GET", "v3", "directory", "room", alias]:
                return "find", lambda *call: self._find(alias)
            case ["POST", "v3", "createRoom"]:
                return "create", self._create
            case ["GET", "v1", "rooms", room_id, "hierarchy"]:
                return "hierarchy", lambda who, *call: self._hierarchy(room_id, who)
            case ["POST", "v3", "rooms", room_id, "invite"]:
                return "invite", lambda who, body, _: self._invite(room_id, who, body["user_id"])
            case ["GET", "v3", "rooms", room_id, "state", "m.room.member", user_id]:
                return "member", lambda who, *call: self._member(room_id, who, user_id)
            case ["PUT", "v3", "rooms", room_id, "send", kind, key]:
                return "send", lambda who, body, _: self._send(room_id, who, kind, key, body)
            case ["POST", "v3", "join", room_id]:
                return "join", lambda who, body, args: self._join(room_id, who, args)
            case ["GET", "v3", "profile", user_id]:
                return "whole_profile", lambda *call: self._profile(user_id)
            case ["GET", "v3", "profile", user_id, "displayname"]:
                return "profile", lambda *call: self._profile(user_id)
            case ["PUT", "v3", "profile", user_id, "displayname"]:
                return "name", lambda who, body, _: self._name(user_id, who, body["displayname"])
            case ["PUT", "v3", "user", user_id, "account_data", kind]:
                return "data", lambda who, body, _: self._keep(user_id, who, kind, body)
        raise AssertionError(f"unknown: {method} {path}")

    # --- The specification ---------------------------------------------------------------

    def _register(self, who: str, body: Any, args: Any) -> Any:
        if body["type"] != "m.login.application_service" or who != self.sender:
            raise Refused(400, "M_UNKNOWN")
        if body.get("inhibit_login") is not True:
            raise Refused(400, "M_APPSERVICE_LOGIN_UNSUPPORTED")
        user_id = f"@{body['username']}:{self.server}"
        if not re.match(self.namespace, user_id):
            raise Refused(400, "M_EXCLUSIVE")
        if user_id in self.profiles:
            raise Refused(400, "M_USER_IN_USE")
        self.profiles[user_id] = body["username"]
        return {"user_id": user_id, "home_server": self.server}

    def _find(self, alias: str) -> Any:
        if alias not in self.aliases:
            raise Refused(404, "M_NOT_FOUND")
        room = self.room(alias)
        ours = [self.server] if room.all_with("join") else []
        return {"room_id": room.room_id, "servers": [*room.servers, *ours]}

    def _create(self, who: str, body: Any, args: Any) -> Any:
        alias = f"#{body['room_alias_name']}:{self.server}"
        if alias in self.aliases:
            raise Refused(400, "M_ROOM_IN_USE")
        rules = {"public_chat": "public", "private_chat": "invite"}
        room = self.add_room(
            alias,
            creator=who,
            join_rule=rules.get(body["preset"], "invite"),
            federated=body.get("creation_content", {}).get("m.federate", True),
        )
        room.change(who, "join")
        for user_id in body["invite"]:
            room.change(user_id, "invite")
        return {"room_id": room.room_id}

    def _hierarchy(self, room_id: str, who: str) -> Any:
        room = self._known(room_id)
        if room.join_rule != "public" and room.members.get(who) not in ("join", "invite"):
            raise Refused(403, "M_FORBIDDEN")
        room_json = {"room_id": room_id, "join_rule": room.join_rule, "children_state": []}
        return {"rooms": [{**room_json, "guest_can_join": False, "world_readable": False}]}

    def _invite(self, room_id: str, who: str, user_id: str) -> Any:
        room = self._known(room_id)
        power = 100 if who == room.creator else 0
        theirs = room.members.get(user_id)
        if (
            room.members.get(who) != "join"
            or power < room.invite_power
            or theirs in ("join", "ban")
        ):
            raise Refused(403, "M_FORBIDDEN")
        room.change(user_id, "invite")
        return {}

    def _member(self, room_id: str, who: str, user_id: str) -> Any:
        room = self._known(room_id)
        if room.members.get(who) != "join":
            raise Refused(403, "M_FORBIDDEN")
        if user_id not in room.members:
            raise Refused(404, "M_NOT_FOUND")
        return {"membership": room.members[user_id]}

    def _join(self, room_id: str, who: str, args: Any) -> Any:
        room = self._known(room_id)
        ways = {*args.get(b"via", []), *args.get(b"server_name", [])}
        if not room.all_with("join") and not ways & {name.encode() for name in room.servers}:
            raise Refused(404, "M_NOT_FOUND")
        theirs = room.members.get(who)
        if theirs == "ban" or (room.join_rule != "public" and theirs not in ("join", "invite")):
            raise Refused(403, "M_FORBIDDEN")
        if theirs != "join":
            room.change(who, "join")
        return {"room_id": room_id}

    def _send(self, room_id: str, who: str, kind: str, key: str, body: Any) -> Any:
        room = self._known(room_id)
        if room.members.get(who) != "join":
            raise Refused(403, "M_FORBIDDEN")
        room.events.setdefault(key, (who, kind, body))
        return {"event_id": f"${key}"}

    def _profile(self, user_id: str) -> Any:
        name = self.profiles.get(user_id)
        if name is None:
            raise Refused(404, "M_NOT_FOUND")
        return {"displayname": name}

    def _name(self, user_id: str, who: str, name: str) -> Any:
        if who != user_id:
            raise Refused(403, "M_FORBIDDEN")
        self.profiles[user_id] = name
        return {}

    def _keep(self, user_id: str, who: str, kind: str, body: Any) -> Any:
        if who != user_id:
            raise Refused(403, "M_FORBIDDEN")
        self.account_data[user_id, kind] = body
        return {}

    def _known(self, room_id: str) -> Room:
        if room_id not in self.rooms:
            raise Refused(404, "M_NOT_FOUND")
        return self.rooms[room_id]

    def _test_api(self, request: Request, body: Any) -> bytes:
        if request.method == b"POST":
            self.profiles.update(dict.fromkeys(body.pop("accounts", ())))
            self.faults.update(body)
        rooms = {alias: attr.asdict(self.room(alias)) for alias in self.aliases}
        state = {"calls": self.calls, "profiles": self.profiles, "rooms": rooms}
        return json.dumps(state).encode()


def main(port: int) -> None:
    from twisted.internet import reactor

    chosen: Any = reactor
    chosen.listenTCP(port, Site(HomeserverDouble()), interface="127.0.0.1")
    chosen.callWhenRunning(print, "ready", flush=True)
    chosen.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
