"""GET /account/whoami, /pushers and /versions, and token introspection for homeservers."""

from __future__ import annotations

import hmac
from typing import Any, Optional
from urllib.parse import parse_qs

from regsys.client_api.appservice import AppserviceRequests
from regsys.errors import MissingParam, MissingToken, UnknownToken
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model import Pusher, Requester, Secret
from regsys.storage.pushers import PusherStore
from regsys.web.login import requester
from regsys.web.responses import client_paths

# A version stands for a whole homeserver, which this is not: only those are listed that clients
# require before they register. matrix-js-sdk wants one of v1.1 to v1.5, depending on its version,
# older clients one of r0.6.
VERSIONS = ("r0.6.0", "r0.6.1", *(f"v1.{minor}" for minor in range(1, 6)))


def whoami(auth: IAuth, appservices: AppserviceRequests) -> Endpoint:
    async def get(call: Call) -> Reply:
        service = call.access_token and appservices.services.by_token(call.access_token)
        if service:
            asked = call.query("user_id"), call.query("device_id")
            who = await appservices.acts_as(service, *asked)
        else:
            who = await requester(call, auth)
        answer: dict[str, Any] = {"user_id": str(who.user_id), "is_guest": who.is_guest}
        if who.device_id is not None:
            answer["device_id"] = who.device_id
        return Reply(answer)

    return Endpoint("whoami", client_paths("account/whoami"), {"GET": get})


def pushers(auth: IAuth, store: PusherStore) -> Endpoint:
    async def get(call: Call) -> Reply:
        who = await requester(call, auth)
        return Reply({"pushers": [_pusher_json(item) for item in await store.of_user(who.user_id)]})

    return Endpoint("pushers", client_paths("pushers"), {"GET": get})


def _pusher_json(item: Pusher) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "app_id": item.app_id,
        "app_display_name": item.app_display_name,
        "device_display_name": item.device_display_name,
        "pushkey": item.pushkey,
        "lang": item.lang,
        "data": dict(item.data),
    }


def versions() -> Endpoint:
    async def get(call: Call) -> Reply:
        return Reply({"versions": list(VERSIONS), "unstable_features": {}})

    return Endpoint("versions", ("/_matrix/client/versions",), {"GET": get})


def introspect(auth: IAuth, secret: Secret) -> Endpoint:
    """OAuth 2.0 token introspection (RFC 7662), by which a homeserver in another process learns
    whose a token is. ``secret``: the homeserver's bearer token."""

    async def post(call: Call) -> Reply:
        if call.access_token is None:
            raise MissingToken()
        given = call.access_token.reveal().encode("utf-8")
        if not hmac.compare_digest(given, secret.reveal().encode("utf-8")):
            raise UnknownToken()
        form = parse_qs(call.body.decode("latin-1"))
        if "token" not in form:
            raise MissingParam("'token' is missing from the form.")
        try:
            owner = await auth.whose(Secret(form["token"][0]))
        except UnknownToken:
            owner = None
        return Reply(_introspection_json(owner))

    return Endpoint("introspect", ("/_regsys/v1/introspect",), {"POST": post})


def _introspection_json(owner: Optional[Requester]) -> dict[str, Any]:
    if owner is None:
        return {"active": False}
    answer: dict[str, Any] = {
        "active": True,
        "sub": str(owner.user_id),
        "username": owner.user_id.localpart,
        "device_id": owner.device_id,
        "is_guest": owner.is_guest,
        "token_type": "access_token",
    }
    if owner.valid_until_ms is not None:
        answer["exp"] = owner.valid_until_ms // 1000
    return answer
