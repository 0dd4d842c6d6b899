"""An endpoint that its user must confirm, so that a stolen access token is not enough.

docs/embedding.md quotes it.
"""

from __future__ import annotations

from typing import Awaitable, Callable

import regsys
from regsys.errors import MissingToken, UnknownToken
from regsys.http import Call, Endpoint, Reply
from regsys.model import Challenge, UserID


def deactivation(
    registration: regsys.Subsystem, deactivate: Callable[[UserID], Awaitable[None]]
) -> Endpoint:
    """POST /account/deactivate."""
    reauthentication = registration.reauthentication
    assert reauthentication is not None

    async def post(call: Call) -> Reply:
        if call.access_token is None:
            raise MissingToken()
        requester = await registration.auth.whose(call.access_token)
        if requester is None:
            raise UnknownToken()
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
        await deactivate(requester.user_id)
        return Reply()

    versions = ("v3", "r0")
    paths = tuple(f"/_matrix/client/{version}/account/deactivate" for version in versions)
    return Endpoint("deactivate", paths, {"POST": post})
