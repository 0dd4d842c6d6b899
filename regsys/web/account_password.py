"""POST /account/password, its requestToken endpoints, and GET /capabilities."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional

from regsys.client_api.account_password import PasswordChanges
from regsys.errors import PasswordChangeDisabled
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.metrics import Metrics
from regsys.model import Client, Secret, UserID
from regsys.uia.confirmation import ConfirmationRequest
from regsys.web.actors import challenge_reply, reauthentication_request
from regsys.web.login import requester
from regsys.web.responses import client_paths


def password(changes: PasswordChanges, auth: IAuth) -> Endpoint:
    async def post(call: Call) -> Reply:
        if call.access_token is not None:
            who = await requester(call, auth)
            body = call.object()
            challenge = await changes.change(reauthentication_request(call, who, body))
        else:
            challenge = await changes.reset(
                ConfirmationRequest(
                    user_id=None,
                    method=call.method,
                    uri=call.uri,
                    body=call.object(),
                    client=call.client,
                    gone=call.gone,
                )
            )
        return Reply() if challenge is None else challenge_reply(challenge)

    return Endpoint("password", client_paths("account/password"), {"POST": post})


def request_token(
    medium: str,
    ask: Callable[[Mapping[str, Any], Call, Optional[UserID]], Awaitable[Mapping[str, Any]]],
    changes: PasswordChanges,
    metrics: Metrics,
) -> Endpoint:
    """An access token is not looked at: whoever asks has forgotten the password."""

    async def post(call: Call) -> Reply:
        if not changes.enabled:
            raise PasswordChangeDisabled()
        body = call.object()
        answer = await ask(body, call, None)
        metrics.validation_requested(medium, "password_reset", body["send_attempt"])
        return Reply(answer)

    paths = client_paths(f"account/password/{medium}/requestToken")
    return Endpoint(f"password_{medium}_request_token", paths, {"POST": post})


def capabilities(
    changes: PasswordChanges,
    auth: IAuth,
    may_change_threepids: bool,
    of_homeserver: Optional[Callable[[Secret, Client], Awaitable[Mapping[str, Any]]]],
) -> Endpoint:
    """What clients ask before they offer to change the password or an address. ``of_homeserver``:
    what the homeserver whose auth service this is says of the rest, asked with the client's own
    token; None if there is none, and the rest is left out."""

    async def get(call: Call) -> Reply:
        await requester(call, auth)
        token = call.access_token
        rest: Mapping[str, Any] = {}
        if of_homeserver is not None and token is not None:
            rest = await of_homeserver(token, call.client)
        known = {
            "m.change_password": {"enabled": changes.enabled},
            "m.3pid_changes": {"enabled": may_change_threepids},
        }
        return Reply({"capabilities": {**rest, **known}})

    return Endpoint("capabilities", client_paths("capabilities"), {"GET": get})
