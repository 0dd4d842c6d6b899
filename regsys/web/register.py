"""POST /register."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from regsys import clocks
from regsys.appservices.requests import AppserviceRequests, is_from_service
from regsys.http import Call, Endpoint, Reply
from regsys.signup import Registered, Signup, SignupRequest
from regsys.web.answers import challenged, client_paths, registered


def register(signup: Signup, appservices: AppserviceRequests, clock: IReactorTime) -> Endpoint:
    async def post(call: Call) -> Reply:
        kind, body = call.query("kind") or "user", call.object()
        if is_from_service(kind, body):
            created = await appservices.register(body, call.access_token)
            return Reply(registered(created, clocks.now_ms(clock)))
        request = SignupRequest(
            kind=kind,
            body=body,
            uri=call.uri,
            client=call.client,
            access_token=call.access_token,
            gone=call.gone,
        )
        outcome = await signup.attempt(request)
        if isinstance(outcome, Registered):
            return Reply(registered(outcome.created, clocks.now_ms(clock)))
        return Reply(challenged(outcome), status=401)

    return Endpoint("register", client_paths("register"), {"POST": post})
