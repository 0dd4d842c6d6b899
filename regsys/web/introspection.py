"""Token introspection (RFC 7662), by which a homeserver in another process learns whose a token is,
and what else it asks its auth service."""

from __future__ import annotations

import hmac
from typing import Any, Awaitable, Callable, Mapping, Optional
from urllib.parse import parse_qs

from regsys.errors import MissingParam, MissingToken, UnknownToken
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model import Requester, Secret

# The homeserver does not ask again if the connection that it has kept was closed just when it
# asked, by a restart or for being idle: it answers 503 to its client.
_NOT_KEPT = {"Connection": "close"}


def introspect(auth: IAuth, secret: Secret) -> Endpoint:
    """For a homeserver that asks it whose tokens it is shown. ``secret``: its bearer token."""

    async def post(call: Call) -> Reply:
        _check_secret(call, secret)
        token = _token(call)
        try:
            owner = await auth.whose(token)
        except UnknownToken:
            owner = None
        return Reply(_introspection_json(owner))

    return Endpoint("introspect", ("/_regsys/v1/introspect",), {"POST": post})


def delegated_introspection(
    introspect: Callable[[Secret], Awaitable[Mapping[str, Any]]], secret: Secret
) -> Endpoint:
    """For the homeserver whose auth service this is (contract B17.2)."""

    async def post(call: Call) -> Reply:
        _check_secret(call, secret)
        return Reply(await introspect(_token(call)), headers=_NOT_KEPT)

    return Endpoint("delegated_introspection", ("/oauth2/introspect",), {"POST": post})


def discovery(public_baseurl: str, account_page: str) -> Endpoint:
    """The document in which the homeserver looks up its auth service. It names no OAuth endpoint:
    clients that look for one fall back to /login and /register. ``account_page``: the path of the
    page to which the homeserver sends its users."""
    management = public_baseurl + account_page.lstrip("/")

    async def get(call: Call) -> Reply:
        about = {"issuer": public_baseurl, "account_management_uri": management}
        return Reply(about, headers=_NOT_KEPT)

    return Endpoint("openid_configuration", ("/.well-known/openid-configuration",), {"GET": get})


def _check_secret(call: Call, secret: Secret) -> None:
    if call.access_token is None:
        raise MissingToken()
    given = call.access_token.reveal().encode("utf-8")
    if not hmac.compare_digest(given, secret.reveal().encode("utf-8")):
        raise UnknownToken()


def _token(call: Call) -> Secret:
    form = parse_qs(call.body.decode("latin-1"))
    if "token" not in form:
        raise MissingParam("'token' is missing from the form.")
    return Secret(form["token"][0])


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
