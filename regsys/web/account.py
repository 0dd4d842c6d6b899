"""GET /account/whoami, /pushers and /versions."""

from __future__ import annotations

from typing import Any

from regsys.client_api.appservice import AppserviceRequests
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model import Pusher
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
        return Reply({"pushers": [pusher_json(item) for item in await store.of_user(who.user_id)]})

    return Endpoint("pushers", client_paths("pushers"), {"GET": get})


def pusher_json(item: Pusher) -> dict[str, Any]:
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
