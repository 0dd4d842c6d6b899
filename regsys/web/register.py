"""POST /register."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from regsys.http import Call, Endpoint, Reply
from regsys.model import Challenge
from regsys.signup import Registered, Signup, SignupRequest
from regsys.web.answers import client_paths, registered


def register(signup: Signup, clock: IReactorTime) -> Endpoint:
    async def post(call: Call) -> Reply:
        request = SignupRequest(
            kind=call.query("kind") or "user",
            body=call.object(),
            uri=call.uri,
            client=call.client,
            access_token=call.access_token,
        )
        outcome = await signup.attempt(request)
        if isinstance(outcome, Registered):
            return Reply(registered(outcome.created, int(clock.seconds() * 1000)))
        return Reply(_challenge(outcome), status=401)

    return Endpoint("register", client_paths("register"), {"POST": post})


def _challenge(challenge: Challenge) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "session": challenge.session_id,
        "flows": [{"stages": list(flow)} for flow in challenge.flows],
        "params": dict(challenge.params),
    }
    if challenge.completed is not None:
        answer["completed"] = list(challenge.completed)
    if challenge.errcode is not None:
        answer.update(errcode=challenge.errcode, error=challenge.error)
    return answer
