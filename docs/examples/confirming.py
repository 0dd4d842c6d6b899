"""Endpoints that a user must confirm, so that a stolen access token is not enough.

docs/embedding.md quotes it.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Optional

import regsys
from regsys.errors import MissingToken, UnknownToken
from regsys.http import Call, Endpoint, Reply
from regsys.model import Challenge, Requester, UserID


def paths(name: str) -> tuple[str, ...]:
    """The paths of a client-server endpoint."""
    return tuple(f"/_matrix/client/{version}/{name}" for version in ("v3", "r0"))


async def requester_of(registration: regsys.Subsystem, call: Call) -> Requester:
    """Whose request it is."""
    if call.access_token is None:
        raise MissingToken()
    requester = await registration.auth.whose(call.access_token)
    if requester is None:
        raise UnknownToken()
    return requester


async def challenge(
    registration: regsys.Subsystem, requester: Requester, call: Call
) -> Optional[Reply]:
    """The 401 with which to answer; None once the user has confirmed this request."""
    reauthentication = registration.reauthentication
    assert reauthentication is not None  # there is a stage: the password
    request = regsys.ReauthenticationRequest(
        requester=requester,
        method=call.method,
        uri=call.uri,
        body=call.object(),
        client=call.client,
        gone=call.gone,
    )
    answer = await reauthentication.confirm(request)
    if isinstance(answer, Challenge):
        return Reply(regsys.challenge_json(answer), status=401)
    return None


def deactivation(
    registration: regsys.Subsystem, deactivate: Callable[[UserID], Awaitable[None]]
) -> Endpoint:
    """POST /account/deactivate."""

    async def post(call: Call) -> Reply:
        requester = await requester_of(registration, call)
        unconfirmed = await challenge(registration, requester, call)
        if unconfirmed is not None:
            return unconfirmed
        await deactivate(requester.user_id)
        return Reply({"id_server_unbind_result": "no-support"})

    return Endpoint("deactivate", paths("account/deactivate"), {"POST": post})
