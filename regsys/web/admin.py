"""The administrators' endpoints: registration by the shared secret, and whether a name is free."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from regsys import json_body
from regsys.accounts.allowed import SHARED_SECRET
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.usernames import ascii_lower
from regsys.client_api.shared_secret import SharedSecret
from regsys.clock import now_ms
from regsys.credentials.access_tokens import parse_login_request
from regsys.errors import BadJSON, NoSharedSecret
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model import Registration, Secret
from regsys.web.login import administrator
from regsys.web.responses import registration_json


def shared_secret_registration(
    handler: RegistrationHandler, shared: Optional[SharedSecret], clock: IReactorTime
) -> Endpoint:
    """If ``shared`` is None, no secret is configured."""

    async def get(call: Call) -> Reply:
        if shared is None:
            raise NoSharedSecret()
        return Reply({"nonce": shared.new_nonce()})

    async def post(call: Call) -> Reply:
        if shared is None:
            raise NoSharedSecret()
        body = call.object()
        password = Secret(_text(body, "password", json_body.MAX_PASSWORD))
        username = _text(body, "username", json_body.MAX_NAME)
        nonce, mac = _text(body, "nonce"), _text(body, "mac")
        admin = json_body.boolean(body, "admin")
        user_type = json_body.string(body, "user_type")
        registration = Registration(
            localpart=ascii_lower(username),
            password=password,
            admin=admin,
            user_type=user_type,
            display_name=json_body.string(body, "displayname"),
            by_admin=True,
            made_by=SHARED_SECRET,
            device=parse_login_request(body),
        )
        await shared.check(
            nonce=nonce,
            mac=mac,
            username=username,
            password=password,
            admin=admin,
            user_type=user_type,
        )
        created = await handler.register_user(registration)
        return Reply(registration_json(created, now_ms(clock)))

    path = "/_synapse/admin/v1/register"
    return Endpoint("shared_secret", (path,), {"GET": get, "POST": post})


def username_available(handler: RegistrationHandler, auth: IAuth) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, auth)
        await handler.check_username(call.required_query("username"), by_admin=True)
        return Reply({"available": True})

    path = "/_synapse/admin/v1/username_available"
    return Endpoint("username_available", (path,), {"GET": get})


def _text(body: Mapping[str, Any], key: str, limit: Optional[int] = None) -> str:
    """A required string; M_BAD_JSON if it is missing (B16.14)."""
    value = json_body.string(body, key, limit=limit)
    if not value:
        raise BadJSON(f"'{key}' is missing or empty.")
    return value
